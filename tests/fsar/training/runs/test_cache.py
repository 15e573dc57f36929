"""What a frozen encoder gave is kept between evaluations, and believed only when whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from episodes.clips import Features, Streams
from episodes.datamodule import EpisodicDataModule
from episodes.dataset import ClipDataset
from episodes.episode import VideoBatch
from episodes.features.cache import Videos, make_room, open_cache
from episodes.listing.span import Span
from episodes.splits import Split
from fsar.commands.measure.sweep import main as sweep
from fsar.commands.train.fit import main
from fsar.evaluation.bank import VideoBank, cache_key
from fsar.inference.predictor import bare, load

FRAME_MEAN = ["--model.method", "Prototype", "--model.alignment", "FrameMean"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FSAR_RUN", raising=False)
    monkeypatch.setattr("sys.argv", ["fsar"])
    monkeypatch.setenv("FSAR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test(config: Path, name: str, *options: str) -> dict[str, Any]:
    main(["test", "--debug", "--run", name, "-c", str(config), *FRAME_MEAN, *options])
    return json.loads(next(Path(name).glob("results/*/results.json")).read_text())


test.__test__ = False  # type: ignore[attr-defined]


def rows(name: str) -> bytes:
    return next(Path(name).glob("results/*/episodes.csv.gz")).read_bytes()


def test_another_test_encodes_nothing_and_finds_the_same(
    config: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert test(config, "first")["encoder_forwards"] == 15
    assert len(list(cache.glob("*/*.npy"))) == 15
    assert test(config, "second")["encoder_forwards"] == 0
    assert "15 of 15 clips from the cache" in capsys.readouterr().err
    assert rows("first") == rows("second")
    more = test(config, "shots", "--data.test_shots", "2")
    assert more["encoder_forwards"] == 0
    off = test(config, "off", "--data.test_shots", "2", "--data.cache", "false")
    assert off["encoder_forwards"] == 15
    assert rows("off") == rows("shots")


def test_several_shots_are_tested_on_videos_that_are_encoded_once(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["test", "--debug", "-c", str(config), *FRAME_MEAN, "--data.cache", "false"]
    main([*line, "--run", "both", "--test_shots", "1", "2"])
    said = capsys.readouterr().out.splitlines()
    assert [word.split(" accuracy")[0] for word in said[-2:]] == ["test: 3-way 1-shot", "test: 3-way 2-shot"]
    for shots in (1, 2):
        main([*line, "--run", f"run{shots}", "--data.test_shots", str(shots)])
        both, alone = (Path(name, "results", f"test_3way_{shots}shot") for name in ("both", f"run{shots}"))
        assert (both / "episodes.csv.gz").read_bytes() == (alone / "episodes.csv.gz").read_bytes()
        found, wanted = (json.loads((folder / "results.json").read_text()) for folder in (both, alone))
        assert found["encoder_forwards"] == 15
        assert found["config"]["data"]["test_shots"] == found["data"]["shots"] == shots
        assert found.get("zero_shot_accuracy") == wanted.get("zero_shot_accuracy")
    with pytest.raises(ValueError, match=r"--test_shots: expected different whole numbers .* found 1 1\."):
        main([*line, "--test_shots", "1", "1"])


def test_several_views_are_kept_each(config: Path) -> None:
    views = ["--data.test_views.clips", "2", "--data.test_views.crops", "3"]
    first = test(config, "first", *views)
    assert first["encoder_forwards"] == 15 * 6
    assert first["data"]["views"] == {"clips": 2, "crops": 3, "average": "features"}
    assert test(config, "second", *views)["encoder_forwards"] == 0
    assert rows("first") == rows("second")
    scores = [*views, "--data.test_views.average", "scores"]
    assert rows("first") != rows("one" if test(config, "one") else "")
    off, kept = test(config, "off", *scores, "--data.cache", "false"), test(config, "scores", *scores)
    assert (off["encoder_forwards"], kept["encoder_forwards"]) == (
        90,
        0,
    )  # how they are averaged decides nothing of them
    assert rows("off") == rows("scores") != rows("first")


def test_other_clips_are_encoded(config: Path) -> None:
    test(config, "first")
    assert test(config, "second", "--data.frames", "3")["encoder_forwards"] == 15


def test_damaged_entries_are_encoded_again(config: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test(config, "first")
    files = sorted(cache.glob("*/*.npy"))
    files[0].write_bytes(b"")
    files[1].write_bytes(files[1].read_bytes()[:-50])
    flipped = bytearray(files[2].read_bytes())
    flipped[300] ^= 1
    files[2].write_bytes(flipped)
    assert test(config, "second")["encoder_forwards"] == 3
    assert capsys.readouterr().err.count("is damaged") == 3
    assert rows("first") == rows("second")


def test_a_folder_that_cannot_be_written_costs_nothing(config: Path, cache: Path) -> None:
    cache.write_text("a file")
    with pytest.warns(UserWarning, match="not kept"):
        assert test(config, "first")["encoder_forwards"] == 15


def test_a_fit_validates_on_what_its_frozen_encoder_gave_once(
    config: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    add = VideoBank.add

    def count(bank: VideoBank, batch: VideoBatch) -> None:
        encoded.append(len(batch.videos) if isinstance(batch.clips, Streams) else 0)
        add(bank, batch)

    monkeypatch.setattr(VideoBank, "add", count)
    main(["fit", "--debug", "--run", "run", "-c", str(config), "--trainer.max_epochs", "3"])
    count = len(list(cache.glob("*/*.npy")))
    assert count > 5
    assert [number for number in encoded if number] == [count]  # in the first of three validations


def test_every_pass_over_the_videos_has_as_many_batches_as_were_promised(tmp_path: Path) -> None:
    clips: Any = SimpleNamespace(split=Split("x", ("a",), tuple("abcdefghi"), (0,) * 9, Path()), views=None)
    for known in ([], range(9), [0, 1, 2], [0, 3, 4, 5, 8]):
        held = {video: Features(frames=torch.zeros(2, 3)) for video in known}
        cache: Any = SimpleNamespace(clips=clips, find_all=lambda videos, held=held: dict(held))
        read: Any = lambda rest: [rest[i : i + 4] for i in range(0, len(rest), 4)]  # noqa: E731
        videos = Videos(list(range(9)), 4, cache, read, lambda: True)
        passes = len(videos)
        held.clear()
        held.update({video: Features(frames=torch.zeros(2, 3)) for video in (0, 1, 2, 3, 4)})
        videos.first = False
        for batches in (list(videos), list(videos)):
            assert len(batches) <= max(passes, 3)
            found = [v for b in batches for v in (b.videos.tolist() if isinstance(b, VideoBatch) else b)]
            assert sorted(found) == list(range(9))
        videos.serves = lambda: False  # the weights have changed
        assert not any(isinstance(batch, VideoBatch) for batch in videos)


def test_sweep_and_predict_read_what_a_test_kept(
    config: Path, support: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test(config, "run")
    sweep(["--run", "run", "--ways", "2", "--shots", "1", "2", "--out", "swept"])
    assert "15 of 15 clips from the cache" in capsys.readouterr().err
    folders = {clip.parent.name: [str(clip)] for clip in sorted(support.glob("*/*.mp4"))}
    query = next(support.glob("*/*.mp4"))
    first = load("run").predict(folders, query)
    known = load("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClipDataset, "clip", lambda *_: pytest.fail("a known clip was read"))
        again = known.predict(folders, query)
    assert first[0].ranking == again[0].ranking


def test_a_method_that_encodes_in_its_own_way_is_not_kept() -> None:
    method = bare("fsar-tiny", "shapes", "cpu").learner.method
    assert cache_key(method, torch.device("cpu")) is not None
    method.__class__ = type("Own", (type(method),), {"encode": lambda self, clips, text=None: self.encoder(clips)})
    assert cache_key(method, torch.device("cpu")) is None


def test_parts_of_one_file_are_told_apart(clips: Path, tmp_path: Path) -> None:
    spans = (None, Span(0.0, 0.2), Span(0.2, 0.4))
    paths = tuple(f"class_0/0.mp4{span or ''}" for span in spans)
    split = Split("x", ("a",), paths, (0,) * 3, clips, spans=spans)
    cache = open_cache(EpisodicDataModule(), split, {"sha256": "encoder"})
    assert cache is not None
    assert len({cache.file(video) for video in range(3)}) == 3


def test_two_tests_at_once_fill_one_cache(config: Path, cache: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "fsar", "test", "-c", str(config), *FRAME_MEAN, "--trainer.accelerator", "cpu"]
    both = [subprocess.Popen([*line, "--run", name], stdout=subprocess.DEVNULL) for name in ("first", "second")]
    assert [each.wait(300) for each in both] == [0, 0]
    assert rows("first") == rows("second")
    assert len(list(cache.glob("*/*"))) == 15
    assert test(config, "third", "--trainer.accelerator", "cpu")["encoder_forwards"] == 0
    assert rows("third") == rows("first")


def test_what_training_changes_is_not_kept(config: Path, cache: Path) -> None:
    tuned = ["--model.encoder.init_args.tune", "full"]
    main(["fit", "--debug", "--run", "run", "-c", str(config), *tuned])
    assert not cache.exists()


def test_the_oldest_go(tmp_path: Path) -> None:
    for number in range(4):
        file = tmp_path / "key" / f"{number}.npy"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(bytes(100))
        os.utime(file, (number, number))
    make_room(tmp_path, 250)
    assert sorted(file.name for file in tmp_path.glob("*/*.npy")) == ["2.npy", "3.npy"]
