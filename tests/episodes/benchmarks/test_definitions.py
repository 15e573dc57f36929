"""The facts about the published benchmarks, against the published lists themselves."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from itertools import combinations
from pathlib import Path

import pytest

from episodes.benchmarks import SPLITS, clean_text, definition, definitions, overlap, read_lists, shared_sources

COUNTS = {  # classes and videos of train, val, test, as the papers and their lists have them
    "ssv2_full": ((64, 67013), (12, 1926), (24, 2857)),
    "ssv2_full_77500": ((64, 77500), (12, 1926), (24, 2857)),
    "ssv2_small": ((64, 6400), (12, 1200), (24, 2400)),
    "kinetics100": ((64, 6400), (12, 1200), (24, 2400)),
    "kinetics100_clipfsar": ((64, 6400), (12, 1200), (24, 2400)),
    "ucf101": ((70, 9154), (10, 1421), (21, 2745)),
    "ucf101_xian": ((64, 5891), (12, 443), (24, 971)),
    "hmdb51": ((31, 4280), (10, 1194), (10, 1292)),
}
FOLDERS = {
    "ssv2_full": ("clip_fsar/ssv2_full", "trx/ssv2_OTAM"),
    "ssv2_full_77500": ("ta2n/ssv2_full",),
    "ssv2_small": ("cmn/smsm-100", "clip_fsar/ssv2_small", "trx/ssv2_CMN"),
    "kinetics100": ("cmn/kinetics-100", "trx/kinetics_CMN"),
    "kinetics100_clipfsar": ("clip_fsar/kinetics100",),
    "ucf101": ("trx/ucf_ARN", "clip_fsar/ucf101"),
    "hmdb51": ("trx/hmdb_ARN", "clip_fsar/hmdb51"),
}


def test_counts_are_the_published_ones() -> None:
    assert set(definitions()) == set(COUNTS)
    for name, counts in COUNTS.items():
        known = definition(name)
        assert tuple((len(known.classes[s]), known.videos[s]) for s in SPLITS) == counts


def test_no_class_stands_in_two_splits_or_twice() -> None:
    for known in definitions().values():
        plain = {s: [re.sub(r"\W", "", c).casefold() for c in known.classes[s]] for s in SPLITS}
        assert all(len(set(names)) == len(names) for names in plain.values())
        assert not any(set(plain[a]) & set(plain[b]) for a, b in combinations(SPLITS, 2))


@pytest.mark.parametrize(("name", "folder"), [(name, folder) for name in FOLDERS for folder in FOLDERS[name]])
def test_published_lists_in_every_format_are_read(shared: Path, name: str, folder: str) -> None:
    """Counts, fewest and most videos of a class, content and files agree with the definition."""
    known, place = definition(name), shared / "splits" / "published" / folder
    lists = read_lists(place, known)  # refuses other counts and another sha256
    assert lists.classes == known.classes
    for split in SPLITS:
        numbers = lists.per_class(split).values()
        assert (min(numbers), max(numbers)) == known.per_class[split]
    files = {sha256(file.read_bytes()).hexdigest() for file in place.iterdir()}
    assert any(set(source.sha256.values()) <= files for source in known.sources)


def test_converted_lists_have_the_same_content(shared: Path, tmp_path: Path) -> None:
    """The Xian lists, which are not there as published: rebuilt from the converted ones, their files' sha256 fits."""
    known = definition("ucf101_xian")
    converted = json.loads((shared / "splits" / "ucf101_xian.json").read_text())
    for split in SPLITS:
        text = "".join(f"{name}/{video}\n" for name, videos in converted[split].items() for video in videos)
        assert sha256(text.encode()).hexdigest() == known.sources[0].sha256[split]
        (tmp_path / f"meta_{split}.txt").write_text(text)
    assert read_lists(tmp_path, known).sha256() == known.sha256


def test_the_longer_training_list_contains_the_shorter(shared: Path) -> None:
    folder = shared / "splits" / "published"
    short = read_lists(folder / "clip_fsar/ssv2_full", definition("ssv2_full"))
    long = read_lists(folder / "ta2n/ssv2_full", definition("ssv2_full_77500"))
    assert set(short.videos["train"]) < set(long.videos["train"])
    assert short.videos["test"] == long.videos["test"]


def test_ssv2_small_overlaps_with_the_training_of_ssv2_full(shared: Path) -> None:
    folder = shared / "splits" / "published" / "clip_fsar"
    full = read_lists(folder / "ssv2_full", definition("ssv2_full"))
    small = read_lists(folder / "ssv2_small", definition("ssv2_small"))
    found = overlap(full, small)
    assert (len(found.classes), found.videos) == (7, 568)
    assert "7 of the 24 test classes and 568 of the 2,400 test videos were trained on" in str(found)
    assert overlap(small, full).videos == 0
    assert len(overlap(small, full).classes) == 9
    assert "no class and no video" in str(overlap(full, full))


def test_hmdb51_splits_share_films_and_kinetics_shares_nothing(shared: Path) -> None:
    folder = shared / "splits" / "published" / "clip_fsar"
    films = shared_sources(read_lists(folder / "hmdb51", definition("hmdb51")))
    assert {entry.splits for entry in films} == set(combinations(SPLITS, 2))
    assert shared_sources(read_lists(folder / "kinetics100", definition("kinetics100_clipfsar"))) == []


@pytest.mark.parametrize(
    ("benchmark", "name", "clean", "published"),
    [
        ("ucf101", "BlowDryHair", "Blow Dry Hair", "Blow DryHair"),
        ("ucf101", "YoYo", "Yo Yo", "Yo Yo"),
        ("hmdb51", "draw_sword", "draw sword", "draw_sword"),
        ("hmdb51", "brush_hair", "brush hair", "brush hair"),
        ("kinetics100", "hurling (sport)", "hurling (sport)", "hurling (sport)"),
        ("ssv2_full", "Poking a hole into something soft", "Poking a hole into something soft",
         "Poking a hole into [something soft]"),
        ("ssv2_full_77500", "Closing something", "Closing something", "Closing [something]"),
        ("ssv2_small", "Something falling like a feather or paper", "Something falling like a feather or paper",
         "[Something] falling like a feather or paper"),
    ],
)  # fmt: skip
def test_texts(benchmark: str, name: str, clean: str, published: str) -> None:
    known = definition(benchmark)
    assert any(name in known.classes[split] for split in SPLITS)
    assert (known.text(name), known.text(name, "published")) == (clean, published)


def test_clean_texts_are_words() -> None:
    for known in definitions().values():
        for name in (name for split in SPLITS for name in known.classes[split]):
            assert re.fullmatch(r"[A-Z]?[a-z']+([ ,(]+[A-Z]?[a-z']+\)?)*", known.text(name)), name
    assert (
        clean_text("Putting [number of] [something] onto [something]") == "Putting number of something onto something"
    )


def test_opposites_are_classes_of_one_split() -> None:
    pairs = [(d, s, pair) for d in definitions().values() for s, found in d.opposites.items() for pair in found]
    assert len(pairs) == 7  # three in SSv2-Full, by both of its names, and one in SSv2-Small
    assert all(set(pair) <= set(known.classes[split]) for known, split, pair in pairs)


def test_an_unknown_benchmark_lists_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"no published benchmark 'ssv2'; known are ssv2_full, ssv2_full_77500, .*hmdb51"
    ):
        definition("ssv2")
