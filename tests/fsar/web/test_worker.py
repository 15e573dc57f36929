"""A clip that is too slow, too large or deadly costs a process, and the page says so."""

from __future__ import annotations

import importlib
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from episodes.shapes.source import write_video
from episodes.video import VideoError
from fsar.evaluation.calibration import explain
from fsar.inference import predictor
from fsar.web import questions
from fsar.web.questions import ClipQuestions, check_header, read_clip
from fsar.web.uploads import Limits, Refused
from fsar.web.worker import Worker

FAKE = """
import os, time
from pathlib import Path
from episodes.video import VideoError
from fsar.web.questions import limit_memory

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
            bytearray(3 * 2 ** 29)  # more than the limit, and less than the machine has

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


def fsar_tiny() -> predictor.Predictor:
    """A frozen CLIP that this library brings."""
    return predictor.bare("fsar-tiny", "shapes", device="cpu")


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


def ask(worker: Worker, limits: Limits, support: dict[str, list[str]], query: str) -> None:
    """All that the page asks for one answer."""
    questions = ClipQuestions(worker, limits)
    for number, said in enumerate(questions.reading(support, query), 1):
        assert said.startswith(f"Reading clip {number} of {len(support) + 1}: ")
    questions.answer(support, query)


def test_a_slow_clip_is_given_up_and_the_next_question_is_answered(worker: Worker, fake: Any) -> None:
    worker.ready()
    before = worker._process
    with pytest.raises(Refused, match=r"Reading slow.mp4 was given up after 0\.3 seconds: give a shorter clip"):
        ask(worker, Limits(seconds=0.3), {"a": ["/up/fine.mp4"], "b": ["/up/slow.mp4"]}, "/up/fine.mp4")
    assert worker.ask(fake.echo, "hello", seconds=20) == "Fake says hello"
    assert worker._process.pid != before.pid
    assert not before.is_alive()  # the one that hung is gone


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
    for shown, asked in ((clip, "fine"), ("fine", clip)):
        with pytest.raises(Refused, match=message):
            ask(worker, Limits(), {"a": [f"/up/{shown}.mp4"]}, f"/up/{asked}.mp4")
    assert worker.ask(fake.echo, "hello", seconds=20) == "Fake says hello"


def test_what_cannot_be_loaded_is_said_and_tried_again(fake: Any, tmp_path: Path) -> None:
    worker = Worker(fake.fail, tmp_path)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"FileNotFoundError: runs/mine does not exist"):
            worker.ask(fake.echo, "hello", seconds=20)
        worker._process.join(10)
    worker.close()


def test_a_closed_worker_starts_no_other_process(worker: Worker, fake: Any) -> None:
    worker.ready()
    worker.close()
    with pytest.raises(RuntimeError, match="crashed"):
        worker.ask(fake.echo, "hello", seconds=20)
    assert not worker._process.is_alive()


def test_the_method_is_the_one_that_was_named_and_its_memory_on_a_cpu_is_limited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(predictor, "load_named", lambda *args: asked.append(args) or fsar_tiny())
    monkeypatch.setattr(questions, "limit_memory", asked.append)
    questions.make_predictor("runs/mine", "last", None, ["--model.alignment", "DTW"], "cpu")
    named = ("runs/mine", (), None, "last", ["--model.alignment", "DTW"], "cpu")
    assert asked == [named, questions.MEMORY]


def test_what_the_page_shows_is_what_the_predictor_says(tmp_path: Path) -> None:
    files = [str(tmp_path / f"{number}.mp4") for number in range(4)]
    for number, file in enumerate(files):
        write_video(Path(file), np.random.default_rng(number).integers(0, 255, (8, 64, 64, 3), np.uint8))
    tiny, support, query = fsar_tiny(), {"a": files[:2], "b": files[2:3]}, files[3]
    found, (expected,) = questions.answer_query(tiny, support, query), tiny.predict(support, [query])
    assert found["ranking"] == expected.ranking
    assert (found["measure"], found["note"]) == (expected.measure, expected.note)
    assert found["unlike_all"] == expected.unlike_all
    assert found["explanation"] == f"{explain(expected.calibration)} {expected.threshold.explain()}"
    assert np.array_equal(found["query"], tiny.frames(query))
    for name, clips in support.items():
        assert np.array_equal(found["support"][name], tiny.frames(clips[0]))
        cost, path = found["maps"][name]
        assert np.array_equal(cost, expected.alignments[name].cost.numpy())
        assert np.array_equal(path, expected.alignments[name].path.numpy())


def test_a_name_of_any_length_is_taken_where_the_method_reads_no_text(tmp_path: Path) -> None:
    files = [str(tmp_path / f"{number}.mp4") for number in range(3)]
    for number, file in enumerate(files):
        write_video(Path(file), np.random.default_rng(number).integers(0, 255, (8, 64, 64, 3), np.uint8))
    long = "turning a page of a very long book " * 12
    found = questions.answer_query(fsar_tiny(), {long: files[:1], "b": files[1:2]}, files[2])
    assert {name for name, _ in found["ranking"]} == {long, "b"}


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("/tmp/fsar-demo-x1/0a/clip.mp4 stands in a and b", "clip.mp4 stands in a and b"),
        ("OSError: '/home/me/w.pt': no such file", "OSError: 'w.pt': no such file"),
        ("give a/b or 3 / 4, see https://example.org/x", "give a/b or 3 / 4, see https://example.org/x"),
        ("C:\\Users\\me\\clip.mp4 is empty", "clip.mp4 is empty"),
    ],
)
def test_where_files_lie_is_not_told(said: str, shown: str) -> None:
    assert questions.without_folders(said) == shown


def test_the_first_picture_is_that_of_the_costs() -> None:
    frames, one, other = np.zeros((2, 8, 8, 3), np.uint8), np.eye(2), np.ones((2, 2)) / 2
    pairs = [
        questions.draw_pictures(None, frames, frames, cost, path) for cost in (one, other) for path in (one, other)
    ]
    costs, paths = zip(*pairs, strict=True)
    assert costs[0] == costs[1] != costs[2] == costs[3]
    assert paths[0] == paths[2] != paths[1] == paths[3]


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
    decoded: list[str] = []
    with pytest.raises(VideoError, match="more than 11 frames"):
        read_clip(SimpleNamespace(frames=decoded.append), str(path), Limits(frames=11))
    assert decoded == []  # the header comes first
    read_clip(SimpleNamespace(frames=decoded.append), str(path), Limits())
    assert decoded == [str(path)]


def test_a_few_bytes_that_unpack_to_gigabytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gif"
    screen = struct.pack("<HHBBB", 16000, 16000, 0x80, 0, 0) + bytes(6)
    path.write_bytes(b"GIF89a" + screen + b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02D\x01\0;")
    with pytest.raises(VideoError, match="claims 16,000 x 16,000 pixels"):
        check_header(str(path), Limits())


def test_what_is_damaged_is_left_for_the_reader_to_name(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"\0\0\0\x20ftypisom" + bytes(200))
    check_header(str(path), Limits())
