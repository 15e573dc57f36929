"""Which videos belong to which class: readers of every published format, and one format of our own.

=================================================  ==============================================================
line                                               where
=================================================  ==============================================================
``train0//videos/wave/Some_Clip_0.avi``            CLIP-FSAR, HyRSM, MoLo: split and class id, then a path
``train8/100001``, ``train8//100001``              the same for Something-Something: split and class id, then the video
``wave/Some_Clip_0``                               TRX, STRM, TEAM, TA2N, CMN, Xian: class, then the video
``hmdb51,train,30,wave,Some_Clip_0``               ours: CSV with a header naming benchmark,split,class_id,class,video;
                                                   split, class (or class_name) and video (or path) are enough
=================================================  ==============================================================

Class ids start at 0 in each split, so train10 and test10 are two classes. They are turned into names here, once.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from episodes.benchmarks.definitions import SPLITS, Definition
from episodes.files import write_atomically
from episodes.listing import VIDEO_SUFFIXES
from episodes.words import pluralise

COLUMNS = ("benchmark", "split", "class_id", "class", "video")
NUMBERED = re.compile(r"(train|val|test)(\d+)/+(.+)")
YOUTUBE = re.compile(r"(?:v_)?(?P<id>[\w-]{11})(?:[_-](?P<start>\d+)(?:[_-]\d+)?)?")


@dataclass(frozen=True)
class Lists:
    """The lists of one benchmark as they were read.

    Args:
        definition: of the benchmark.
        classes: per split; the class id of a video is a place in it.
        videos: per split ``(class id, video)``, by class id and name: the order does not depend on the file's.
        changes: how the lists differ from the published ones; empty when they do not.
    """

    definition: Definition
    classes: Mapping[str, tuple[str, ...]]
    videos: Mapping[str, tuple[tuple[int, str], ...]]
    changes: tuple[str, ...] = ()

    def sha256(self) -> str:
        """Hash over split, class and video of every entry: the same for every format of the same lists."""
        digest = hashlib.sha256()
        for split in SPLITS:
            for label, video in self.videos[split]:
                digest.update(f"{split}\t{self.classes[split][label]}\t{video}\n".encode())
        return digest.hexdigest()

    def per_class(self, split: str) -> Counter[str]:
        """Number of videos by class."""
        return Counter(self.classes[split][label] for label, _ in self.videos[split])


class Entry(NamedTuple):
    """One line of a list; ``place`` is the file and line for messages."""

    split: str
    class_id: int | None
    class_name: str | None
    video: str
    place: str


def read_lists(paths: Path | Sequence[Path], definition: Definition, allow_changed: bool = False) -> Lists:
    """The lists of a benchmark, checked against what was published.

    Args:
        paths: our CSV; a folder that holds ``<benchmark>.csv`` or the three published files; or those files.
        definition: of the benchmark.
        allow_changed: accept lists that differ from the published ones, and note how in ``changes``.

    Raises:
        FileNotFoundError: when there are no lists.
        ValueError: for a line that makes no sense, a class or video in two splits, or lists that are not the
            published ones.
    """
    entries = [entry for file, split in find_lists(paths, definition) for entry in _entries(file, split, definition)]
    spellings = {split: {plain_name(name): name for name in definition.classes[split]} for split in SPLITS}
    named = [(entry, _class_of(entry, definition, spellings, allow_changed)) for entry in entries]
    classes: dict[str, tuple[str, ...]] = {}
    videos: dict[str, tuple[tuple[int, str], ...]] = {}
    for split in SPLITS:
        present = dict.fromkeys(name for entry, name in named if entry.split == split)
        published = [name for name in definition.classes[split] if name in present]
        classes[split] = (*published, *(name for name in present if name not in published))
        number = {name: label for label, name in enumerate(classes[split])}
        videos[split] = tuple(sorted((number[name], e.video) for e, name in named if e.split == split))
    lists = Lists(definition, classes, videos)
    refuse_leaks(lists)
    changes = differences(lists)
    if changes and not allow_changed:
        raise ValueError(
            f"the lists of {definition.name} are not the published ones: {'; '.join(changes)}. Get those with "
            f"`fsar splits --benchmark {definition.name}`, or accept these with allow_changed "
            "(--allow-changed), which results will record."
        )
    return Lists(definition, classes, videos, tuple(changes))


def differences(lists: Lists) -> list[str]:
    """How lists differ from the published ones, in words with both numbers."""
    definition, found = lists.definition, []
    for split in SPLITS:
        moved = sorted(set(lists.classes[split]) - set(definition.classes[split]))
        pairs = {
            "class": (len(lists.classes[split]), len(definition.classes[split])),
            "video": (len(lists.videos[split]), definition.videos[split]),
        }
        found += [
            f"{split} has {pluralise(here, what)}, published {there:,}"
            for what, (here, there) in pairs.items()
            if here != there
        ]
        if moved:
            found.append(
                f"{split} has {pluralise(len(moved), 'class')} more than its published list, such as '{moved[0]}'"
            )
    if lists.sha256() != definition.sha256:
        found.append(f"sha256 {lists.sha256()}, published {definition.sha256}")
    return found


def refuse_leaks(lists: Lists) -> None:
    """Refuses a video that is listed twice, and a class or video (in Kinetics a YouTube id) that is in two splits.

    Raises:
        ValueError: naming what is shared.
    """
    name, youtube = lists.definition.name, lists.definition.dataset == "kinetics"
    ids = {split: [video for _, video in lists.videos[split]] for split in SPLITS}
    for split in SPLITS:
        twice, times = next(iter(Counter(ids[split]).most_common(1)), ("", 1))
        if times > 1:
            raise ValueError(f"{name}: the video '{twice}' is listed {times} times in {split}; expected once.")
    kinds = {"class": lists.classes, "video": ids}
    if youtube:
        kinds["YouTube id"] = {split: [youtube_id(video)[0] for video in ids[split]] for split in SPLITS}
    for what, members in kinds.items():
        for one, other in combinations(SPLITS, 2):
            if shared := sorted(set(members[one]) & set(members[other])):
                raise ValueError(
                    f"{name}: {what} '{shared[0]}'{f' and {len(shared) - 1} more' * (len(shared) > 1)} stands in {one} "
                    f"and in {other}. Few-shot splits must share no {what}; take it out of one of them."
                )


def youtube_id(video: str) -> tuple[str, int | None]:
    """YouTube id and start in seconds (None when the name does not tell) of a Kinetics clip's name."""
    match = YOUTUBE.fullmatch(video)
    if match is None:
        return video, None
    return match["id"], None if match["start"] is None else int(match["start"])


def find_lists(paths: Path | Sequence[Path], definition: Definition) -> list[tuple[Path, str]]:
    """The files of a benchmark's lists, each with its split ("" for our CSV, which says it in every line).

    Raises:
        FileNotFoundError: when neither the CSV nor three published files are there.
    """
    given = [paths] if isinstance(paths, Path) else list(paths)
    files = [file for path in given for file in (sorted(path.glob("*")) if path.is_dir() else [path])]
    by_name = {file.name: file for file in files if file.is_file()}
    tables = [file for file in by_name.values() if file.suffix == ".csv"]
    own = [file for file in tables if file.stem == definition.name]
    if own or (len(given) == 1 and len(tables) == 1 and given[0] == tables[0]):
        return [((own or tables)[0], "")]
    published = [{split: os.path.basename(source.address[split]) for split in SPLITS} for source in definition.sources]
    for names in published:
        if set(names.values()) <= set(by_name):
            return [(by_name[name], split) for split, name in names.items()]
    choices = " or ".join(dict.fromkeys(", ".join(names.values()) for names in published))
    there = f"found {', '.join(sorted(by_name)[:3])}" if by_name else "found no file"
    raise FileNotFoundError(
        f"no lists of {definition.name} in {', '.join(map(str, given))}: looked for {definition.name}.csv, or for "
        f"{choices}; {there}. Get them with `fsar splits --benchmark {definition.name}`."
    )


def _entries(file: Path, split: str, definition: Definition) -> Iterator[Entry]:
    """The lines of one file; ``split`` is "" for a CSV."""
    with file.open(newline="", encoding="utf-8-sig") as lines:
        if not split:
            yield from _table(file, csv.DictReader(lines), definition)
            return
        for number, line in enumerate(map(str.strip, lines), 1):
            if line:
                entry = _line(line, split, f"{file}, line {number}")
                if entry.split != split:
                    raise ValueError(f"{entry.place}: '{line}' belongs to {entry.split}, but this is the {split} list.")
                yield entry


def _line(line: str, split: str, place: str) -> Entry:
    if match := NUMBERED.fullmatch(line):
        folder, _, video = match[3].rpartition("/")
        return Entry(match[1], int(match[2]), os.path.basename(folder) or None, video_id(video), place)
    name, _, video = line.rpartition("/")
    if not name or not video:
        raise ValueError(
            f"{place}: '{line}' is in no known format. Expected {split}0//folder/video.mp4, {split}0/video "
            "or class/video."
        )
    return Entry(split, None, os.path.basename(name), video_id(video), place)


def _table(file: Path, rows: csv.DictReader[str], definition: Definition) -> Iterator[Entry]:
    columns = rows.fieldnames or []
    name = next((column for column in ("class", "class_name") if column in columns), None)
    video = next((column for column in ("video", "path") if column in columns), None)
    if name is None or video is None or "split" not in columns:
        raise ValueError(f"{file}: expected a header with {','.join(COLUMNS)}; found {','.join(columns) or 'nothing'}.")
    others, count = set(), 0
    for number, row in enumerate(rows, 2):
        if row.get("benchmark", definition.name) != definition.name:
            others.add(row["benchmark"])
            continue
        if row["split"] not in SPLITS:
            raise ValueError(f"{file}, line {number}: split must be train, val or test; found '{row['split']}'.")
        count += 1
        yield Entry(row["split"], None, row[name], video_id(row[video]), f"{file}, line {number}")
    if others and not count:
        raise ValueError(f"{file} holds no line of {definition.name}, only of {', '.join(sorted(others))}.")


def _class_of(
    entry: Entry, definition: Definition, spellings: Mapping[str, Mapping[str, str]], allow_changed: bool
) -> str:
    """The class of a line under its published spelling."""
    known = definition.classes[entry.split]
    if entry.class_id is not None:
        if entry.class_id >= len(known):
            raise ValueError(
                f"{entry.place}: class {entry.class_id}, but {entry.split} of {definition.name} has classes "
                f"0..{len(known) - 1}. Ids start at 0 in each split; lists that number all splits "
                "together are not read."
            )
        name = known[entry.class_id]
        if entry.class_name is not None and plain_name(entry.class_name) != plain_name(name):
            raise ValueError(
                f"{entry.place}: class {entry.class_id} of {entry.split} is '{name}', but the path says "
                f"'{entry.class_name}'. Is it the list of another benchmark?"
            )
        return name
    assert entry.class_name is not None
    for split in (entry.split, *SPLITS):
        name = spellings[split].get(plain_name(entry.class_name), "")
        if name and (split == entry.split or allow_changed):
            return name
    if not allow_changed:
        raise ValueError(
            f"{entry.place}: '{entry.class_name}' is no {entry.split} class of {definition.name}; those are "
            f"{', '.join(known[:3])}, ... Is it the list of another benchmark? allow_changed accepts it."
        )
    return entry.class_name


def plain_name(name: str) -> str:
    """A class name without case, spaces and punctuation, in which its spellings differ."""
    return re.sub(r"[\W_]", "", name).casefold()


def video_id(path: str) -> str:
    """A video's name in a list: the last part of its path, without the ending of a video file."""
    stem, suffix = os.path.splitext(os.path.basename(path.strip()))
    return stem if suffix.lower() in VIDEO_SUFFIXES else stem + suffix


def write_lists(lists: Lists, path: Path) -> None:
    """Writes our CSV; an interruption leaves the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for split in SPLITS:
            writer.writerows(_rows(lists, split))


def _rows(lists: Lists, split: str) -> Iterable[tuple[str, str, int, str, str]]:
    for label, video in lists.videos[split]:
        yield lists.definition.name, split, label, lists.classes[split][label], video
