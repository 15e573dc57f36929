"""Weights that can be had: which there are, what they weigh, under which licence, what is here already; and fetching.

What is listed is what open_clip, timm and torchvision themselves list; licences are timm's own where it states one,
else what the model's card said when this was written: look there before you ship anything.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import open_clip
import timm
import torch
import torchvision
from huggingface_hub import hf_hub_download
from huggingface_hub.constants import ENDPOINT
from huggingface_hub.errors import HfHubHTTPError
from open_clip.pretrained import get_pretrained_cfg as clip_config
from torch import nn

from fsar.encoders.image_networks import cached_weights
from fsar.encoders.weights.architecture import RECOMMENDED, close_names, config_of
from fsar.encoders.weights.load import cached_tag, load_clip

CLIP_LICENCES = {
    "openai": "MIT",
    "laion": "MIT",
    "datacomp": "MIT",
    "commonpool": "MIT",
    "dfn": "Apple's research licence",
    "dfndr": "Apple's research licence",
    "datacompdr": "Apple's research licence",
    "metaclip": "CC-BY-NC-4.0",
    "webli": "Apache-2.0",
    "meta": "Apache-2.0",
    "merged2b": "MIT",
    "mscoco": "MIT",
}
"""By how a tag of open_clip begins; the longest that fits counts."""
FOLDERS = (
    "MCG-NJU/videomae-base",
    "facebook/vjepa2-vitl-fpc64-256",
    "facebook/timesformer-base-finetuned-k400",
    "google/vivit-b-16x2-kinetics400",
    "microsoft/xclip-base-patch32",
)
"""Of each kind of video network of transformers one that its authors released; they come as folders."""


@dataclass(frozen=True)
class Offer:
    """Weights that can be had.

    Args:
        name: what ``--encoder`` takes.
        side: of the square frames, pixels; 0 where it is not said.
        licence: as said, or "see its card".
        place: where they come from.
        cached: they are here.
        text: there is a text tower.
    """

    name: str
    side: int
    licence: str
    place: str
    cached: bool
    text: bool

    def weigh(self) -> int:
        """Weights of the image tower, counted without any memory for them."""
        library, _, model = self.name.partition(":")
        with torch.device("meta"):
            if library == "timm":
                network: nn.Module = timm.create_model(model, num_classes=0)
            elif library == "torchvision":
                network = torchvision.models.get_model(model)
            else:
                network = _clip_on_paper(library)
        return sum(weight.numel() for weight in network.parameters())


def _clip_on_paper(name: str) -> nn.Module:
    config = config_of(name)
    config.pop("custom_text", None)
    config["vision_cfg"].update({"timm_model_pretrained": False} if "timm_model_name" in config["vision_cfg"] else {})
    config["text_cfg"] = {"context_length": 8, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}
    network: nn.Module = open_clip.CustomTextCLIP(**{k: x for k, x in config.items() if k != "multimodal_cfg"}).visual
    return network


def list_offers(pattern: str) -> Iterator[Offer]:
    """What open_clip, timm and torchvision have whose name holds ``pattern``, in capitals or not."""
    wanted = re.compile(re.escape(pattern), re.IGNORECASE)
    for model, tag in open_clip.list_pretrained():
        if wanted.search(f"{model}:{tag}"):
            yield describe_clip(model, tag)
    for name in timm.list_pretrained():
        if wanted.search(f"timm:{name}"):
            yield describe_timm(name)
    for name in torchvision_networks():
        if wanted.search(f"torchvision:{name}"):
            yield describe_torchvision(name)


def list_folders(pattern: str) -> list[str]:
    """How to get the video networks of transformers whose name holds ``pattern``, in capitals or not."""
    found = [name for name in FOLDERS if pattern.lower() in f"transformers:{name}".lower()]
    return [f"hf download {name} --local-dir FOLDER, then --encoder transformers:FOLDER" for name in found]


def torchvision_networks() -> list[str]:
    """Of images, and of videos."""
    modules = (torchvision.models, torchvision.models.video)
    return [name for module in modules for name in torchvision.models.list_models(module=module)]


def describe_clip(model: str, tag: str) -> Offer:
    """An image-text model of open_clip."""
    config = clip_config(model, tag)
    side = config_of(model)["vision_cfg"].get("image_size", 224)
    begins = [key for key in CLIP_LICENCES if tag.startswith(key)]
    licence = CLIP_LICENCES[max(begins, key=len)] if begins else "see its card"
    cached = cached_tag(config) is not None
    place = config.get("hf_hub", "").rstrip("/") or config.get("url", "")
    return Offer(f"{model}:{tag}", side if isinstance(side, int) else side[0], licence, place, cached, True)


def describe_timm(name: str) -> Offer:
    """An image network of timm."""
    config = timm.get_pretrained_cfg(name)
    side = config.input_size[-1] if config else 0
    licence = (config.license if config else None) or "see its card"
    place = (config.hf_hub_id if config else None) or ""
    return Offer(f"timm:{name}", side, licence, place, _is_cached("timm", name), False)


def describe_torchvision(name: str) -> Offer:
    """An image or video network of torchvision."""
    weights = next(iter(torchvision.models.get_model_weights(name)))
    side = weights.transforms().crop_size[0]
    return Offer(f"torchvision:{name}", side, "BSD-3-Clause", weights.url, _is_cached("torchvision", name), False)


def _is_cached(library: str, name: str) -> bool:
    try:
        cached_weights(library, name)  # type: ignore[arg-type]
    except FileNotFoundError:
        return False
    return True


def find_offer(name: str) -> Offer:
    """The offer of exactly this name, or of one of :data:`RECOMMENDED`.

    Raises:
        ValueError: there is none; names close by are said.
    """
    name = RECOMMENDED[name][0] if name in RECOMMENDED else name
    library, _, model = name.partition(":")
    if library == "timm" and model in timm.list_pretrained():
        return describe_timm(model)
    if library == "torchvision" and model in torchvision_networks():
        return describe_torchvision(model)
    if (library, model) in open_clip.list_pretrained():
        return describe_clip(library, model)
    known = [*RECOMMENDED, *(f"{m}:{tag}" for m, tag in open_clip.list_pretrained())]
    known += [f"timm:{each}" for each in timm.list_pretrained()] if library == "timm" else []
    close = close_names(name, known)
    if name.startswith("transformers:"):
        close = " Video networks of transformers come as folders: `hf download NAME --local-dir FOLDER`."
    raise ValueError(
        f"{name!r} is not among the weights that open_clip, timm or torchvision list.{close} `fsar weights PATTERN` "
        "lists those whose name holds the pattern."
    )


def fetch(offer: Offer) -> Path:
    """Get weights through the library's own downloader, with its progress bar; the file.

    Raises:
        ConnectionError: says what to copy where instead.
    """
    library, _, model = offer.name.partition(":")
    try:
        if not offer.cached:
            find_host(offer.place)
        if library == "torchvision":
            url = next(iter(torchvision.models.get_model_weights(model))).url
            torch.hub.load_state_dict_from_url(url, map_location="cpu")
            return Path(cached_weights("torchvision", model))
        if library == "timm":
            config = timm.get_pretrained_cfg(model)
            assert config is not None  # it is listed
            names = [config.hf_hub_filename] if config.hf_hub_filename else ["model.safetensors", "pytorch_model.bin"]
            return _first_of(str(config.hf_hub_id), names)
        load_clip(library, model, download=True)
        found = cached_tag(clip_config(library, model))
        if found is None:
            raise OSError("nothing was fetched")
        return found
    except (OSError, HfHubHTTPError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].split(". ")[0]
        file = "FILE" if library in ("timm", "torchvision") else "weights.pt"
        raise ConnectionError(
            f"{offer.name} could not be fetched from {offer.place} ({reason}). On a machine with a network, `fsar "
            f"weights get {offer.name}` (or a browser) gets it; copy the file here and give it as "
            f"{offer.name if library in ('timm', 'torchvision') else library}:{file}, or copy the Hugging Face cache "
            "(~/.cache/huggingface/hub) as a whole."
        ) from error


def find_host(place: str) -> None:
    """Ask for the host's address once, since Hugging Face asks for twenty seconds and more; a proxy may know it alone.

    Raises:
        OSError: it has none, as without a network.
    """
    if not getproxies():
        socket.getaddrinfo(urlsplit(place).hostname or urlsplit(ENDPOINT).hostname, None)


def _first_of(repository: str, names: list[str]) -> Path:
    for name in names[:-1]:
        try:
            return Path(hf_hub_download(repository, name))
        except HfHubHTTPError:
            continue  # the other name
    return Path(hf_hub_download(repository, names[-1]))
