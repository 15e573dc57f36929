"""The picture of how a metric aligns two clips."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from torch import nn

import fsar
from episodes.clips import Features
from episodes.datamodule import EpisodicDataModule
from episodes.frames import UniformLinspace, uniform_linspace
from fsar.alignment import OTAM
from fsar.drawing import draw
from fsar.encoders import FrameEncoder
from fsar.methods import Prototype
from fsar.playing import play as film
from fsar.training.learner import Learner


def write_clip(path: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(12):
            pixels = generator.integers(0, 255, (64, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        container.mux(stream.encode())


@pytest.mark.parametrize("metric", ["OTAM", "DTW"])
def test_a_path_is_drawn(metric: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsar.commands.look import plot_alignment

    for name in ("a.mp4", "b.mp4"):
        write_clip(tmp_path / name, len(name))
    arguments = [str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4"), "--out", str(tmp_path / "path.png"), "--frames", "4"]
    args = [*arguments, "--metric", f"fsar.alignment.{metric}"]
    plot_alignment.main(args)
    assert (tmp_path / "path.png").read_bytes().startswith(b"\x89PNG")


def test_a_metric_without_frame_costs_has_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fsar.commands.look import plot_alignment

    arguments = ["a.mp4", "b.mp4", "--out", str(tmp_path / "x.png"), "--metric", "fsar.alignment.FrameMean"]
    args = [*arguments]
    with pytest.raises(SystemExit):
        plot_alignment.main(args)
    assert "has no frame costs" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["plot_alignment", "play"])
def test_what_a_run_settles_is_not_asked_beside_it(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    main = importlib.import_module(f"fsar.commands.look.{command}").main
    given = ["a.mp4", "b.mp4", "--out", "x.gif", "--run", "r", "--frames", "4", "--metric", "fsar.alignment.DTW"]
    with pytest.raises(SystemExit):
        main(given)
    assert "--metric and --frames and --run: a run has its own" in capsys.readouterr().err


class Halved(FrameEncoder):
    """Makes one step of two frames, as a network of videos does."""

    def __init__(self) -> None:
        net = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
        super().__init__(net, channels=12, image_size=32, mean=(0.5,) * 3, std=(0.5,) * 3)

    def steps(self, frames: int) -> int:
        return frames // 2

    def features(self, clips: Any, needs: Any = ("frames",), text: Any = None) -> Any:
        found = super().features(clips, needs, text)
        return Features(frames=found["frames"].unflatten(-2, (-1, 2)).mean(-2))


def test_a_runs_own_frames_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number of them and its sampler, also where the encoder makes fewer steps of them."""
    from fsar.commands.look import play, plot_alignment

    names = [str(tmp_path / name) for name in ("a.mp4", "b.mp4")]
    for number, name in enumerate(names):
        write_clip(Path(name), number)
    data = EpisodicDataModule(frames=6, test_sampler=UniformLinspace())
    model = fsar.Predictor(Learner(Prototype(Halved(), OTAM())), data)
    monkeypatch.setattr(fsar, "load", lambda run: model)
    seen: list[Any] = []
    monkeypatch.setattr(plot_alignment, "draw", lambda *given: seen.append(given) or draw(*given))
    plot_alignment.main([*names, "--out", str(tmp_path / "x.png"), "--run", "r"])
    assert [len(clip) for clip in seen[0][:2]] == [6, 6]
    assert seen[0][2].shape == (3, 3)
    monkeypatch.setattr(play, "play", lambda *given: seen.append(given) or film(*given))
    play.main([*names, "--out", str(tmp_path / "x.gif"), "--run", "r"])
    wanted = uniform_linspace(12, 6)[1::2].tolist()
    assert seen[1][2] == (wanted, wanted)
