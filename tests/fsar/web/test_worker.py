"""A clip that is too slow, too large or deadly costs a process, and the page says so."""

from __future__ import annotations

import importlib
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from episodes.shapes.source import write_video
from episodes.video import VideoError
from fsar.web.uploads import Limits, Refused
from fsar.web.worker import Reader, Worker, check_header

FAKE = """
import os, time
from pathlib import Path
from episodes.video import VideoError
from fsar.web.worker import limit_memory

class Fake:
    def frames(self, path):
        name = Path(path).stem
        if name == "slow":
            time.sleep(60)
        if name == "deadly":
            os._exit(11)
        if name == "broken":
            raise VideoError(path, "not one frame decodes: replace it")
        if name == "bomb":
            bytearray(2 ** 36)

    def predict(self, support, queries):
        raise ValueError("nothing to choose between: give two classes")

def make():
    limit_memory(2 ** 30)
    return Fake()

def fail():
    raise FileNotFoundError("runs/mine does not exist: name the folder of a fit")

def echo(made, text):
    return f"{type(made).__name__} says {text}"
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module that processes of their own can import: a model with clips of every bad kind."""
    (tmp_path / "fake_model.py").write_text(FAKE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("fake_model")
    del sys.modules["fake_model"]


@pytest.fixture
def worker(fake: Any, tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(fake.make, tmp_path / "uploads")
    yield worker
    worker.close()


def test_a_slow_clip_is_given_up_and_the_next_question_is_answered(worker: Worker, fake: Any) -> None:
    worker.ready()
    before = worker._process.pid
    with pytest.raises(Refused, match=r"Reading slow.mp4 was given up after 0\.3 seconds: give a shorter clip"):
        Reader(worker, Limits(seconds=0.3)).answer({"a": ["/up/fine.mp4"], "b": ["/up/slow.mp4"]}, "/up/fine.mp4")
    assert worker.ask(fake.echo, "hello", seconds=20) == "Fake says hello"
    assert worker._process.pid != before  # the one that hung is gone


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        ("broken", r"^broken.mp4: not one frame decodes: replace it$"),
        ("deadly", r"Reading deadly.mp4 failed: .* crashed or ran out of memory"),
        pytest.param(
            "bomb",
            "Reading bomb.mp4 failed: MemoryError",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux alone"),
        ),
        ("fine", r"^nothing to choose between: give two classes$"),
    ],
)
def test_whatever_goes_wrong_is_one_message(worker: Worker, fake: Any, clip: str, message: str) -> None:
    with pytest.raises(Refused, match=message):
        Reader(worker, Limits()).answer({"a": [f"/up/{clip}.mp4"]}, "/up/fine.mp4")
    assert worker.ask(fake.echo, "hello", seconds=20) == "Fake says hello"


def test_what_cannot_be_loaded_is_said_and_tried_again(fake: Any, tmp_path: Path) -> None:
    worker = Worker(fake.fail, tmp_path)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"FileNotFoundError: runs/mine does not exist"):
            worker.ask(fake.echo, "hello", seconds=20)
        worker._process.join(10)
    worker.close()


def test_a_process_left_alone_deletes_the_uploads(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "uploads").mkdir()
    worker.ready()
    worker._connection.close()  # as when the page's process is killed
    worker._process.join(10)
    assert worker._process.exitcode == 0
    assert not (tmp_path / "uploads").exists()


def test_frames_too_large_or_too_many_are_refused_by_the_header(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, np.zeros((12, 64, 96, 3), np.uint8))
    check_header(str(path), Limits(pixels=64 * 96, frames=12))
    with pytest.raises(VideoError, match=r"frames of 96 x 64 pixels, and at most 6,143 are taken"):
        check_header(str(path), Limits(pixels=64 * 96 - 1))
    with pytest.raises(VideoError, match="more than 11 frames"):
        check_header(str(path), Limits(frames=11))


def test_a_few_bytes_that_unpack_to_gigabytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gif"
    screen = struct.pack("<HHBBB", 16000, 16000, 0x80, 0, 0) + bytes(6)
    path.write_bytes(b"GIF89a" + screen + b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02D\x01\0;")
    with pytest.raises(VideoError, match="frames of 16000 x 16000 pixels"):
        check_header(str(path), Limits())


def test_what_is_damaged_is_left_for_the_reader_to_name(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"\0\0\0\x20ftypisom" + bytes(200))
    check_header(str(path), Limits())
