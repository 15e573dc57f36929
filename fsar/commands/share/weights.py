"""Weights that can be had: list them, get them, look at a file.

    fsar weights                     three that are recommended, by use
    fsar weights PATTERN             all whose name holds the pattern, such as dinov3, ViT-B-16: or mobileclip
    fsar weights get NAME            fetch one (small, base, vision, or a name from the list), and say how to use it
    fsar weights check FILE          what a file is, and which architecture and activation fit

Names are those that ``predict --encoder`` takes. Nothing is fetched by anything but ``get``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from fsar.encoders.video.encoder import VideoEncoder
from fsar.encoders.weights.architecture import RECOMMENDED, shapes_suggest
from fsar.encoders.weights.available import Offer, fetch, find_offer, list_folders, list_offers
from fsar.encoders.weights.by_name import encoder_by_name, split_name
from fsar.encoders.weights.fitting import fitting_networks
from fsar.encoders.weights.state import read_state
from fsar.encoders.weights.variants import recognise
from fsar.terminal.failure import Options, one_message
from fsar.terminal.shown import shown

MOST = 40
"""Rows of a list; a narrower pattern shows the rest."""
FEW = 24
"""Networks of a list that are built, without memory for their weights, to say how many these are."""


@one_message(program="fsar weights")
def main(args: list[str]) -> None:
    """List, get or check."""
    parser = Options(__doc__, prog="fsar weights")
    parser.add_argument("what", nargs="*", metavar="PATTERN | get NAME | check FILE")
    words = parser.parse_args(args).what
    if not words:
        recommend()
    elif words[0] in ("get", "check") and len(words) == 2:
        get(words[1]) if words[0] == "get" else check(Path(words[1]))
    elif len(words) == 1 and words[0] not in ("get", "check"):
        show(list(list_offers(words[0])), words[0])
    else:
        parser.error(f"expected a pattern, get NAME or check FILE, found {' '.join(words)!r}")


def recommend() -> None:
    """The recommended weights, and how to see others."""
    for use, (name, why) in RECOMMENDED.items():
        offer = find_offer(name)
        print(f"{use:7}  {describe(offer)}\n{'':7}  {why}")
    others = "`fsar weights PATTERN` lists others, such as dinov3, siglip2 or videomae"
    print(f"\n`fsar weights get small` fetches one; {others}")


def describe(offer: Offer) -> str:
    """An offer in a line."""
    side = f"{offer.side} px" if offer.side else "size unknown"
    here = "here" if offer.cached else "to be fetched"
    return f"{offer.name}: {offer.weigh() / 1e6:.0f} M weights see {side}, {offer.licence}, {here}"


def show(offers: Sequence[Offer], pattern: str) -> None:
    """Rows of a list; of a few networks with their size.

    Raises:
        ValueError: nothing has such a name.
    """
    folders = list_folders(pattern)
    if not offers and not folders:
        raise ValueError(
            f"no weights of open_clip, timm or torchvision have {pattern!r} in their name, nor have video networks of "
            "transformers. `fsar weights` alone says which are recommended."
        )
    few = len({_network(offer) for offer in offers}) <= FEW
    width = max((len(offer.name) for offer in offers[:MOST]), default=0)
    sizes: dict[str, int] = {}
    for offer in offers[:MOST]:
        if few and _network(offer) not in sizes:
            sizes[_network(offer)] = offer.weigh()
        size = f"{sizes[_network(offer)] / 1e6:4.0f} M  " if few else ""
        row = (
            f"{offer.name:{width}}  {size}{offer.side or '?':>4} px  {'text' if offer.text else '':4}  {offer.licence}"
        )
        print(shown(f"{row}{'  (here)' if offer.cached else ''}"))
    if len(offers) > MOST:
        print(f"and {len(offers) - MOST} more: give a longer pattern")
    print(*folders, sep="\n", end="\n" * bool(folders))


def _network(offer: Offer) -> str:
    """Of which other weights may be of the same size: the name without its tag."""
    library, _, name = offer.name.partition(":")
    return offer.name if library == "torchvision" else f"timm:{name.split('.')[0]}" if library == "timm" else library


def get(name: str) -> None:
    """Fetch weights, check them, and print the line to use."""
    offer = find_offer(name)
    print(describe(offer))
    path = fetch(offer)
    state, _ = read_state(path)
    size = os.path.getsize(path) / 1e6
    print(f"{path}: {size:.0f} MB, {sum(x.numel() for x in state.values()) / 1e6:.0f} M weights, all finite")
    use = name if name in RECOMMENDED else offer.name
    print(f"use it: fsar predict --encoder {use} --support FOLDER --query CLIP")
    try_frame(split_name(offer.name))


def check(path: Path) -> None:
    """Say what a file of weights is.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it cannot be read, or holds no network that is known.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: name a file of weights.")
    state, openai = read_state(path)
    variant = recognise(state, str(path))
    count = sum(x.numel() for x in state.values())
    kinds = sorted({str(x.dtype).removeprefix("torch.") for x in state.values()})
    print(f"{path}: {len(state)} tensors, {count / 1e6:.1f} M weights, {', '.join(kinds)}, all finite")
    maker = "OpenAI" if openai else variant.name
    quick = True if openai else variant.quick_gelu
    if maker:
        print(f"made by {maker}{f'; left out: {chr(44).join(variant.dropped)}' if variant.dropped else ''}")
    hint = shapes_suggest(variant.state)
    networks = [] if hint else fitting_networks(variant.state)
    networks.sort(key=lambda name: -len(name) * (name.partition(":")[2] in path.name))
    print(hint or name_networks(networks, path))
    if quick is not None:
        print(f"activation: {'QuickGELU' if quick else 'GELU'}")
    elif " are those of " in hint:
        print("it does not say its activation: quick_gelu true for what descends from OpenAI's, else false")
    if networks:
        try_frame((networks[0], str(path)))


def name_networks(networks: Sequence[str], path: Path) -> str:
    """What is said of the networks that a file's tensors fit, of which the first is the likeliest."""
    if not networks:
        return "no network of open_clip, torchvision or timm has tensors of these names and shapes"
    first, said = networks[0], f"its names and shapes are those of {', '.join(networks)}"
    if len(networks) > 1:
        said += "\nthey do not tell these apart: take the one that it was trained as"
    return f"{said}\nuse it: --encoder {first}:{path}"


def try_frame(name: tuple[str, str | None]) -> None:
    """Send a frame through, so that a file that loads and gives nonsense is seen now.

    Raises:
        ValueError: features that are not finite.
    """
    encoder = encoder_by_name(*name)
    side = encoder.image_size
    frames = encoder.frames or encoder.time_stride if isinstance(encoder, VideoEncoder) else 1
    features = encoder(torch.full((1, frames, 3, side, side), 127, dtype=torch.uint8))
    if not bool(features.isfinite().all()):
        raise ValueError(f"{name[0]} gives features that are not finite: fetch it again.")
    print(f"a grey {'frame' if frames == 1 else 'clip'} gives {features.shape[-1]} finite numbers")
    mean, std = (", ".join(f"{value:.3g}" for value in values) for values in (encoder.mean, encoder.std))
    print(f"its pixels are red, green, blue in 0..1, less {mean}, over {std}: of other ones say mean and std")
