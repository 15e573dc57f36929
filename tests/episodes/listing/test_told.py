"""What the data module says before work begins, and what results record."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from episodes.datamodule import EpisodicDataModule
from episodes.dataset import reading
from episodes.splits import Folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for label in range(6):
        for clip in range(3):
            path = tmp_path / "clips" / f"class_{label}" / f"{clip}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"class {label}, clip {clip}".encode())
    (tmp_path / "clips" / "class_0" / "notes.txt").touch()
    (tmp_path / "clips" / "class_1" / "copy.mp4").write_bytes(b"class 1, clip 1")
    return tmp_path / "clips"


def test_what_is_left_out_or_there_twice_is_said_once_and_recorded(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"class_{label}" for label in range(6)]
    data = EpisodicDataModule(Folder(root, names[:2], names[2:4], names[4:]), ways=2, queries=1, check_videos=False)
    with caplog.at_level(logging.INFO):
        data.prepare_data()
        data.setup("fit")
        data.setup("test")
    said = [record.message for record in caplog.records if record.message.startswith("clips: ")]
    assert len(said) == 2
    assert said[0] == "clips: left out: 1 entry that is no clip (class_0/notes.txt)"
    assert "class_1/1.mp4 and class_1/copy.mp4 have the same content" in said[1]
    record = json.loads(json.dumps(data.record("test")))
    assert record["files_left_out"] == {"class_0": 1}
    assert record["clips_twice"] == {"class_1/copy.mp4": "class_1/1.mp4"}


def test_too_few_classes_are_told_before_a_video_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_unreadable(*_: object) -> dict[str, str]:
        raise AssertionError("a video was read")

    monkeypatch.setattr(reading, "find_unreadable", find_unreadable)
    data = EpisodicDataModule(Folder(root, seed=0), ways=2, queries=1)
    with pytest.raises(ValueError, match=r"split val of benchmark clips: .*need 2 classes.*this split has 1 class"):
        data.setup("fit")
