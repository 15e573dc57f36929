"""The picture of how a metric aligns two clips."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest


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
