"""A small benchmark of our own making, for the readers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from episodes.benchmarks import SPLITS, Definition, Lists
from episodes.benchmarks.definitions import Dataset, ListSource

CLASSES = {"train": ("wave flag", "juggle (balls)"), "val": ("blow kiss",), "test": ("sit", "stand up")}
VIDEOS = {"train": 4, "val": 2, "test": 4}


def videos_of(split: str, dataset: Dataset = "hmdb51") -> list[tuple[int, str]]:
    """``(class id, video)`` of a split, two videos per class."""
    found = []
    for label, name in enumerate(CLASSES[split]):
        for i in range(2):
            plain = name.replace(" ", "_")
            youtube = f"{split[:2]}_{label}-{i}abcde"[:11].ljust(11, "x")
            video = {
                "ssv2": f"{SPLITS.index(split) + 1}{label}{i}",
                "kinetics": f"{youtube}_{10 * i:06}_{10 * i + 10:06}",
                "ucf101": f"v_{plain}_g01_c0{i + 1}",
                "hmdb51": f"Clip_{plain}_u_cm_np1_fr_med_{i}",
            }[dataset]
            found.append((label, video))
    return found


def make_definition(dataset: Dataset = "hmdb51", name: str = "made_up") -> Definition:
    """The definition, with the right sha256 and two sources."""
    address = {split: f"https://raw.githubusercontent.com/someone/lists/{split}_few_shot.txt" for split in SPLITS}
    other = {split: f"https://raw.githubusercontent.com/other/lists/{split}list03.txt" for split in SPLITS}
    definition = Definition(
        name=name,
        dataset=dataset,
        paper="",
        note="",
        classes=CLASSES,
        texts={},
        videos=VIDEOS,
        per_class=dict.fromkeys(SPLITS, (2, 2)),
        sha256="",
        sources=(ListSource("one", address, {}), ListSource("other", other, {})),
        opposites={"test": (("sit", "stand up"),)},
    )
    lists = Lists(definition, CLASSES, {split: tuple(videos_of(split, dataset)) for split in SPLITS})
    return replace(definition, sha256=lists.sha256())


def write(folder: Path, form: str, dataset: Dataset = "hmdb51") -> Path:
    """The lists in one of the published formats, in their files."""
    lines: dict[str, list[str]] = {split: [] for split in SPLITS}
    for split in SPLITS:
        for label, video in reversed(videos_of(split, dataset)):
            name = CLASSES[split][label]
            lines[split].append(
                {
                    "numbered": f"{split}{label}//videos/{name.replace(' ', '_')}/{video}.avi",
                    "bare": f"{split}{label}/{video}",
                    "bare, two slashes": f"{split}{label}//{video}",
                    "class": f"{name}/{video}",
                }[form]
            )
    folder.mkdir(parents=True, exist_ok=True)
    pattern = "{}list03.txt" if form == "class" else "{}_few_shot.txt"
    for split in SPLITS:
        (folder / pattern.format(split)).write_text("\n".join(lines[split]) + "\n")
    return folder
