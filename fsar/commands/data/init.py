"""Look at a folder of clips, one folder per class, and write a commented configuration for it.

    fsar init my_clips                    writes my_clips.yaml
    fsar init my_clips -o mine.yaml

Its classes are divided into training, validation and test by a seed where there are enough; edit the lists to your own.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from episodes.files import write_atomically
from episodes.listing import class_folders, list_clips, tell_left_out
from episodes.splits.dividing import divide
from episodes.video import VideoError, probe
from episodes.words import pluralise
from fsar.terminal.failure import Options, one_message
from fsar.terminal.outputs import output_file
from fsar.terminal.shown import shown

FEW, SOME = 4, 10
"""Classes from which on some are trained on and some tested; and from which on some of them choose the checkpoint."""
TOY = ("tiny", "fsar-tiny")
"""An encoder that comes with the package, so that there is nothing to get."""


@one_message(program="fsar init")
def main(args: list[str]) -> None:
    """Look, write, and say what to do next."""
    parser = Options(__doc__, prog="fsar init")
    parser.add_argument("folder", type=Path, help="holds one folder of clips per class")
    parser.add_argument("-o", "--out", type=output_file, help="the file to write (FOLDER's name with .yaml)")
    parser.add_argument("--seed", type=int, default=0, help="of the division of classes (0)")
    parser.add_argument("--encoder", help="of the commands that are printed: small, base, vision, timm:NAME, ...")
    own = parser.parse_args(args)
    out = own.out or output_file(f"{own.folder.resolve().name}.yaml")
    if out.exists():
        raise FileExistsError(f"{out} is there already: name another file with -o, or delete it.")
    found = {name: list_clips(own.folder / name) for name in class_folders(own.folder)}
    clips = {name: listing.clips for name, listing in found.items()}
    notes = tell_left_out({name: listing.others for name, listing in found.items() if listing.others})
    text = write_configuration(own.folder, clips, notes, own.seed)
    with write_atomically(out) as part:
        part.write_text(text, encoding="utf-8")
    usable = [name for name, some in clips.items() if len(some) > 1]
    print(
        shown(
            f"{out}: {pluralise(len(usable), 'class')}, {pluralise(sum(len(clips[name]) for name in usable), 'clip')}"
        )
    )
    print(shown(next_commands(own.folder, out, len(usable), own.encoder)))


def write_configuration(folder: Path, clips: Mapping[str, Sequence[str]], notes: Sequence[str], seed: int) -> str:
    """The configuration as YAML, with what was found as comments.

    Raises:
        ValueError: when fewer than two classes have two clips, or one has a name that no YAML can hold.
    """
    if odd := [name for name in clips if re.search("[\ud800-\udfff]", name)]:
        raise ValueError(f"the name of {folder / odd[0]} is no UTF-8, so that no configuration can list it: rename it.")
    usable = {name: len(some) for name, some in clips.items() if len(some) > 1}
    small = [name for name in clips if name not in usable]
    if len(usable) < 2:
        raise ValueError(
            f"{folder} has {pluralise(len(usable), 'class')} of two clips or more; an episode needs two, each with "
            "a clip to learn from and one to name."
        )
    splits, why = draw(list(usable), seed)
    ways = min(5, *(len(names) for names in splits.values() if names))
    fewest, most = min(usable.values()), max(usable.values())
    lines = [
        f"# {pluralise(len(usable), 'class')}, {pluralise(sum(usable.values()), 'clip')}, "
        + (f"{fewest} of each." if fewest == most else f"{fewest} to {most} of a class.")
    ]
    lines += [f"# {shown(note)}" for note in notes]
    if small:
        lines.append(f"# Not listed, since they have fewer than two clips: {', '.join(map(_quote, small))}.")
    lines += [f"# {why}", "data:", "  benchmark:", "    class_path: episodes.splits.Folder", "    init_args:"]
    lines.append(f"      root: {_quote(os.fspath(folder))}   # from the folder that fsar is called in")
    for split, names in splits.items():
        listed = [f"        - {_quote(name)}   # {pluralise(usable[name], 'clip')}" for name in names]
        lines += [f"      {split}:", *listed] if listed else [f"      {split}: []"]
    lines += [
        "      class_names: {}   # folder: text, where the folder's name is not what a text encoder should read",
        f"  ways: {ways}   # classes in an episode",
        "  shots: 1   # labelled clips of each",
        f"  queries: {min(5, fewest - 1)}   # clips to name of each in training, where the smallest class has {fewest}",
        f"  frames: 8   # read of each clip. {measure(folder, {name: clips[name] for name in usable})}",
        "  # size is the encoder's own: 224 for ViT-B/16, 64 for the toy CLIP",
    ]
    return "\n".join(lines) + "\n"


def draw(names: Sequence[str], seed: int) -> tuple[dict[str, list[str]], str]:
    """Classes of train, val and test, and why so."""
    if len(names) < FEW:
        why = f"{len(names)} classes are too few to train on some and test on others; with {FEW} a division is drawn."
        return {"train": [], "val": [], "test": list(names)}, f"{why} All are for testing."
    fractions = (0.6, 0.2, 0.2) if len(names) >= SOME else (0.6, 0.0, 0.4)
    why = f"Drawn by seed {seed}: training, validation (chooses the checkpoint) and test share no class."
    if len(names) < SOME:
        why = f"Drawn by seed {seed}; below {SOME} classes none are spared for validation: the last checkpoint is kept."
    return divide(names, seed, fractions, f"{len(names)} classes"), why


def measure(folder: Path, clips: Mapping[str, Sequence[str]]) -> str:
    """A sentence on the lengths of the first clips of all classes."""
    lengths, broken = [], []
    for name, some in clips.items():
        try:
            lengths.append(probe(folder / name / some[0]).frames)
        except VideoError:
            broken.append(f"{name}/{some[0]}")
    told = (
        f"Of {pluralise(len(lengths), 'clip')} looked at, one a class, the shortest has {min(lengths)}."
        if lengths
        else ""
    )
    return f"{told}{f' Cannot be read: {_quote(broken[0])}.' if broken else ''}".strip()


def next_commands(folder: Path, out: Path, classes: int, encoder: str | None = None) -> str:
    """What to type now."""
    lines = [f"fsar check-videos {shlex.quote(os.fspath(folder))} --quick"]
    toy = encoder and encoder.partition(":")[0] in TOY
    if encoder and not toy and not Path(encoder.rpartition(":")[2]).is_file():
        lines.append(f"fsar weights get {encoder}")
    with_encoder = f" --encoder {shlex.quote(encoder)}" if encoder else ""
    reads_names = not encoder or not (encoder == "vision" or encoder.startswith(("timm:", "torchvision:")))
    if classes >= FEW and reads_names:
        fit = f"fsar fit --run runs/mine -c trainer -c method/clip_fsar -c {shlex.quote(os.fspath(out))}{with_encoder}"
        lines += [fit, "fsar test --run runs/mine"]
    else:
        lines.append(
            f"fsar test --run runs/mine -c trainer -c method/prototype -c {shlex.quote(os.fspath(out))}{with_encoder}"
        )
    return "\n".join(["next:", *(f"  {line}" for line in lines)])


def _quote(text: str) -> str:
    """Text as YAML reads it, whatever it holds."""
    return shown(json.dumps(text, ensure_ascii=False))
