"""The benchmark measures the right thing, and the picture can be drawn."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch

os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # before tslearn brings numba in
TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture(autouse=True)
def _tools_importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(TOOLS)
    yield
    torch.set_num_threads(1)  # numba, inside tslearn, sets the number of OpenMP threads, which are torch's too


def test_the_double_loop_computes_otam() -> None:
    import bench_alignment

    cost = torch.rand(2, 3, 5, 4)
    found = bench_alignment.candidates(compiled=False)
    torch.testing.assert_close(found["double loop"](cost), found["OTAM"](cost))
    torch.testing.assert_close(
        found["tslearn soft-DTW"](cost[..., :4, :]).flatten(), found["soft-DTW"](cost[..., :4, :]).flatten()
    )


def test_a_row_of_the_benchmark_has_a_cell_for_every_heading() -> None:
    import bench_alignment

    shape = (2, 2, 3, 3)
    found = bench_alignment.candidates(compiled=False)
    times = bench_alignment.interleaved(found, torch.rand(shape), backward=True, rounds=1, seconds=1.0)
    line = bench_alignment.row(shape, True, times, "cpu, 1 thread")
    assert line.count("|") == bench_alignment.header(compiled=False).splitlines()[0].count("|")


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
    import plot_alignment

    for name in ("a.mp4", "b.mp4"):
        write_clip(tmp_path / name, len(name))
    arguments = [str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4"), "--out", str(tmp_path / "path.png"), "--frames", "4"]
    monkeypatch.setattr(sys, "argv", ["plot_alignment.py", *arguments, "--metric", f"fsar.alignment.{metric}"])
    plot_alignment.main()
    assert (tmp_path / "path.png").read_bytes().startswith(b"\x89PNG")


def test_a_metric_without_frame_costs_has_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import plot_alignment

    arguments = ["a.mp4", "b.mp4", "--out", str(tmp_path / "x.png"), "--metric", "fsar.alignment.FrameMean"]
    monkeypatch.setattr(sys, "argv", ["plot_alignment.py", *arguments])
    with pytest.raises(SystemExit):
        plot_alignment.main()
    assert "has no frame costs" in capsys.readouterr().err
