"""Further published lists: every one by its hash, in every form; their faults are said; cleaned ones have own names."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from episodes.benchmarks import Listed
from episodes.benchmarks.further import further, further_lists, read_part
from episodes.benchmarks.further.definitions import Further, Part, hash_groups
from episodes.benchmarks.further.reading import keep_positives

NAMES = [name for name, known in further_lists().items() if not known.cleaned]


@pytest.mark.parametrize("name", NAMES)
def test_every_part_is_what_was_published(name: str, shared: Path) -> None:
    known = further(name)
    for part, facts in known.parts.items():
        read = read_part(known, part, shared / "splits" / "more")
        assert (len(read.classes), sum(map(len, read.classes.values()))) == (facts.classes, facts.videos)
        assert read.changes == ()


@pytest.mark.parametrize(
    ("name", "part", "file"),
    [
        ("diving48_tamt", "novel", "tamt/diving48_novel.json"),
        ("rareact_tamt", "val", "tamt/rareact_cut_val.json"),
        ("ucf101_tamt", "novel", "tamt/ucf101-molo_novel.json"),
        ("epic_kitchens_hyrsm", "test", "epic_kitchens/epic_kitchens_test_few_shot.txt"),
        ("kinetics100_xian_generalized", "base_test", "generalized/kinetics100_test_base_videos.txt"),
        ("ssv2_xian_generalized", "base_test", "generalized/somethingv2_test_base_videos.txt"),
        ("hmdb51_vifi_base_to_novel", "novel_val", "vifi/base2novel_splits_hmdb_splits_novel_val.txt"),
        ("ucf101_vifi_k_shot", "train_4", "vifi/datasets_splits_ucf_splits_train1_few_shot_4.txt"),
    ],
)
def test_released_files_are_read_as_they_are(name: str, part: str, file: str, shared: Path, tmp_path: Path) -> None:
    known = further(name)
    content = (shared / "splits" / "published_more" / f"{file}.gz").read_bytes()
    (tmp_path / f"{known.files[part]}.gz").write_bytes(content)
    assert read_part(known, part, tmp_path).changes == ()
    (tmp_path / f"{known.files[part]}.gz").write_bytes(gzip.compress(gzip.decompress(content)[:-40]))
    with pytest.raises(ValueError, match=r"."):
        read_part(known, part, tmp_path)


def write(root: Path, lists: dict[str, Any]) -> Path:
    """Videos of a list, which are not opened, and the list."""
    for classes in (part for part in lists.values() if "segments" not in part):
        for videos in classes.values():
            for video in videos if isinstance(videos, list) else []:
                (root / "videos").mkdir(exist_ok=True)
                (root / "videos" / f"{video}.mp4").write_bytes(b"x")
    (root / "lists.json").write_text(json.dumps(lists))
    return root / "lists.json"


def test_numbered_classes_have_the_names_that_the_file_gives(tmp_path: Path) -> None:
    names = [f"Back {i} PIKE" for i in range(48)]
    parts = {"train": {"0": ["a_1"], "2": ["a_2"]}, "val": {"4": ["b_1"]}, "test": {"47": ["c_1"], "5": ["c_2"]}}
    file = write(tmp_path, parts)
    file.write_text(json.dumps({**parts, "meta": {"v2_class_names": names}}))
    benchmark = Listed("diving48_vba", tmp_path / "videos", file, allow_changed=True).load()
    assert benchmark.train.class_names == ("Back 0 PIKE", "Back 2 PIKE")
    assert benchmark.test.class_names == ("Back 47 PIKE", "Back 5 PIKE")
    assert [Path(path).stem for path in benchmark.test.paths] == ["c_1", "c_2"]
    assert not any("numbered" in note for note in benchmark.notes)
    file.write_text(json.dumps({**parts, "meta": {"v2_class_names": names[:40]}}))
    with_numbers = Listed("diving48_vba", tmp_path / "videos", file, allow_changed=True).load()
    assert with_numbers.test.class_names == ("class 47", "class 5")
    file.write_text(json.dumps({**parts, "meta": {"v2_class_names": [*names[:47], "Back 5 PIKE"]}}))
    with pytest.raises(ValueError, match=r"lists\.json: .* gives the name 'Back 5 PIKE' to several classes"):
        Listed("diving48_vba", tmp_path / "videos", file, allow_changed=True).load()


def test_faults_and_versions_stand_in_facts_and_notes(tmp_path: Path) -> None:
    lists = {
        "base": {"3": ["aaaaaaaaaaa_00001", "bbbbbbbbbbb_00001"]},
        "val": {"1": ["ccccccccccc_00001"]},
        "novel": {"7": ["aaaaaaaaaaa_00002", "ddddddddddd_00001"]},
    }
    file = write(tmp_path, lists)
    with pytest.raises(ValueError, match="is not the base list of diving48_tamt that was published: 1 class"):
        Listed("diving48_tamt", tmp_path / "videos", file).load()
    benchmark = Listed("diving48_tamt", tmp_path / "videos", file, allow_changed=True).load()
    assert benchmark.facts["label_version"] == "Diving48 V1 (inferred)"
    assert benchmark.test.class_names == ("class 7",)
    assert any(note.startswith("classes are numbered and their names are not in the lists") for note in benchmark.notes)
    assert "1 of 2 recordings of the test are in training too" in benchmark.notes
    assert any("labels from before V2" in note for note in benchmark.facts["list_faults"])
    assert len(benchmark.facts["list_changes"]) == 6
    (tmp_path / "videos" / "ddddddddddd_00001.mp4").unlink()
    with pytest.raises(FileNotFoundError, match="1 of the 5 videos of diving48_tamt"):
        Listed("diving48_tamt", tmp_path / "videos", file, allow_changed=True).load()
    part = Listed("diving48_tamt", tmp_path / "videos", file, allow_changed=True, allow_missing=True).load()
    assert part.facts["coverage"]["test"] == {"listed": 2, "found": 1}
    assert "found 1 of 2 videos of split test" in part.notes
    assert further("diving48_vba").version == "Diving48 V2"


def test_lists_that_are_no_benchmark_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no few-shot benchmark"):
        Listed("kinetics100_xian_generalized", tmp_path, tmp_path)
    with pytest.raises(ValueError, match="has no part base_s9"):
        Listed("ucf101_vifi_base_to_novel", tmp_path, tmp_path, train="base_s9")
    with pytest.raises(ValueError, match="known are diving48_fsosar"):
        Listed("diving49", tmp_path, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there is no diving48_vba\.json or train\.txt"):
        Listed("diving48_vba", tmp_path, tmp_path).load()
    shares = {"train": {"a": ["x"]}, "val": {}, "test": {"A": ["y"]}}
    with pytest.raises(ValueError, match="Few-shot splits must share no class"):
        Listed("diving48_vba", tmp_path / "videos", write(tmp_path, shares), allow_changed=True).load()
    (tmp_path / "lists.json").write_text(json.dumps({"train": {"a": ["x", "x"]}}))
    with pytest.raises(ValueError, match="'x' is listed 2 times in train"):
        Listed("diving48_vba", tmp_path / "videos", tmp_path / "lists.json", allow_changed=True).load()


def test_cleaned_lists_have_names_of_their_own(tmp_path: Path) -> None:
    classes = {"cut phone": ["1", "2", "3"], "eat shoe": ["4"]}
    segments = {"1": ["y", 0, 10, 1], "2": ["y", 0, 10, 1], "3": ["z", 0, 10, 3], "4": ["z", 10, 20, 0]}
    known = further("rareact_tamt_positives")
    assert (known.published, known.parts) == ("rareact_tamt", further("rareact_tamt").parts)
    assert keep_positives(classes, segments, tmp_path, known) == {"cut phone": ["1"]}
    with pytest.raises(ValueError, match="has no 'segments'"):
        keep_positives(classes, None, tmp_path, known)
    groups = {"sword": ["a"], "sword_exercise": ["b"], "wave": ["c"]}
    parts = {"base_s1": Part(3, 3, hash_groups(groups.values()))}
    (tmp_path / "hmdb51_vifi_base_to_novel.json").write_text(json.dumps({"base_s1": groups}))
    clean = further("hmdb51_vifi_base_to_novel_names")
    read = read_part(Further(**{**vars(clean), "parts": parts}), "base_s1", tmp_path)
    assert read.classes == {"sword exercise": ["a"], "sword": ["b"], "wave": ["c"]}
    (tmp_path / "numbers.json").write_text(json.dumps({"base_s1": {"0": ["a"], "1": ["b"], "2": ["c"]}}))
    with pytest.raises(ValueError, match="numbers its classes"):
        read_part(Further(**{**vars(clean), "parts": parts}), "base_s1", tmp_path / "numbers.json")


def test_positives_are_as_many_as_were_counted(shared: Path) -> None:
    known = further("rareact_tamt_positives")
    counted = {part: read_part(known, part, shared / "splits" / "more").classes for part in known.parts}
    assert {part: len(classes) for part, classes in counted.items()} == {"base": 44, "val": 7, "novel": 8}
