"""The packs that ship: every class is spoken of, shortly, in order, and no two classes alike."""

from __future__ import annotations

import hashlib
import re

import open_clip
import pytest
import yaml

from episodes.benchmarks import SPLITS, definition
from episodes.shapes import appearance, motion
from fsar.text import TextBank
from fsar.text.packs import FOLDER, SHA256, find_texts

MIRRORS = (("left to right", "right to left"), ("opening", "closing"), ("upwards", "downwards"), ("up", "down"))
MIRRORS += (("turning the camera left", "turning the camera right"), ("towards the camera", "away from the camera"))
MIRRORS += (("clockwise", "anticlockwise"), ("folding", "unfolding"), ("covering", "uncovering"))


def classes_of(pack: str) -> set[str]:
    """Names as each benchmark spells them, clean and as published."""
    if pack == "shapes":
        return {name for flavour in (motion, appearance) for names in flavour.CLASSES.values() for name in names}
    if pack == "diving48":  # no list of its names ships
        return set(TextBank(descriptions=pack).given)
    benchmarks = {"ssv2": ("ssv2_full", "ssv2_small"), "ucf101": ("ucf101", "ucf101_xian")}
    found = set()
    for benchmark in benchmarks.get(pack, (pack,)):
        known = definition(benchmark)
        for split in SPLITS:
            for name in known.classes[split]:
                found |= {name, known.text(name, "clean"), known.text(name, "published")}
    return found


@pytest.fixture(params=SHA256)
def pack(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_class_of_the_benchmark_has_texts_of_both_kinds(pack: str) -> None:
    bank = TextBank(descriptions=pack)
    for name in classes_of(pack):
        assert 2 <= len(bank.texts(name, ["description"])) <= 3, name
        assert 3 <= len(bank.texts(name, ["step"])) <= 5, name


def test_how_many_there_are() -> None:
    counts = {pack: len(TextBank(descriptions=pack).given) for pack in SHA256}
    assert counts == {"diving48": 48, "hmdb51": 51, "kinetics100": 100, "shapes": 88, "ssv2": 174, "ucf101": 101}


def test_texts_are_short_plain_and_their_own(pack: str) -> None:
    counted = open_clip.get_tokenizer("ViT-B-16")
    for name, said in TextBank(descriptions=pack).given.items():
        texts = [each.text for each in said]
        assert all(len(counted.encode(text)) < 40 for text in texts), name
        assert len(set(texts)) == len(texts), name
        assert all(text == text.strip() and text.isascii() and len(text.split()) > 1 for text in texts), name


def test_no_two_classes_are_spoken_of_alike(pack: str) -> None:
    said = list(TextBank(descriptions=pack).given.values())
    for kind in ("description", "step"):
        texts = [tuple(each.text for each in some if each.kind == kind) for some in said]
        assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("name", ["ssv2", "shapes"])
def test_mirrored_classes_differ_in_every_description(name: str) -> None:
    bank, found = TextBank(descriptions=name), 0
    by_name = {each.lower(): each for each in bank.given}
    for one, other in MIRRORS:
        for key, spelt in by_name.items():
            mirrored = re.sub(rf"\b{one}\b", other, key)
            if mirrored == key or mirrored not in by_name:
                continue
            found += 1
            ours, theirs = (set(bank.texts(each, ["description"])) for each in (spelt, by_name[mirrored]))
            assert not ours & theirs, spelt
            assert bank.texts(spelt, ["step"]) != bank.texts(by_name[mirrored], ["step"]), spelt
    assert found >= 4


def test_dives_are_spoken_of_by_the_parts_of_their_names() -> None:
    bank = TextBank(descriptions="diving48")
    for name in bank.given:
        start, turns, twists, _ = name.split()
        told = " ".join(bank.texts(name, ["step"]))
        assert ("with the back to the water" in told) == (start in ("Back", "Inward")), name
        assert ("towards the board" in told) == (start in ("Reverse", "Inward")), name
        assert ("half" in bank.texts(name, ["step"])[2]) == (turns == "Dive" or turns.endswith("5som")), name
        assert ("twist" in told) == (twists != "NoTwis"), name
        assert told.endswith("feet enter the water first") == (turns in ("1som", "2som", "3som")), name
    assert bank.texts("back_15som_NoTwis_PIKE", ["step"]) == bank.texts("Back 15som NoTwis PIKE", ["step"])


def test_files_say_how_they_were_written_and_are_those_of_the_hashes(pack: str) -> None:
    content = find_texts(pack).read_bytes()
    assert content.decode().startswith("# What is said about ")
    assert "name of each class alone" in content.decode()
    assert hashlib.sha256(content).hexdigest() == SHA256[pack]
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(SHA256)
    assert all(set(entry) == {"description", "step"} for entry in yaml.safe_load(content).values())


def test_a_wrong_pack_is_told_and_a_near_name_suggested() -> None:
    with pytest.raises(FileNotFoundError, match=r"those are diving48, .* Did you mean 'ssv2'\?"):
        TextBank(descriptions="ssv2_full")
    with pytest.raises(ValueError, match="about the class 'ApplyLipstick' in ssv2; the pack 'ucf101' speaks of it"):
        TextBank(descriptions="ssv2").texts("ApplyLipstick", ["step"])


def test_the_hash_is_of_all_that_may_be_said() -> None:
    plain, pack = TextBank(), TextBank(descriptions="hmdb51")
    assert plain.sha256 == TextBank().sha256
    assert len({plain.sha256, pack.sha256, TextBank("names").sha256, TextBank(kinds=["name"]).sha256}) == 4
