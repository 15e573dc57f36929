"""Every reader gives the right frames or refuses: burnt-in numbers tell."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import av
import burnt
import numpy as np
import pytest

from episodes.video import (
    decord_exact,
    probe,
    pyav,
    read_clip,
    read_frames,
    verify,
)
from episodes.video.opening import open_stream

EVERY = pytest.mark.parametrize("name", [*burnt.KINDS, *burnt.CUTS])


@EVERY
def test_every_frame_is_right(clips: Callable[[str], Path], name: str) -> None:
    path, expected = clips(name), burnt.expected(name)
    info = probe(path)
    assert (info.frames, info.height, info.width) == (len(expected), burnt.HEIGHT, burnt.WIDTH)
    assert info.fps == pytest.approx(25, rel=0.01) or name == "vfr.mp4"
    assert verify(path) == info
    everything = read_frames(path, range(info.frames), "pyav")
    assert everything.dtype == np.uint8
    assert everything.flags["C_CONTIGUOUS"]
    assert burnt.numbers_in(everything) == expected


@EVERY
def test_planner_is_bit_identical(clips: Callable[[str], Path], name: str) -> None:
    path, frames = clips(name), len(burnt.expected(name))
    everything = read_frames(path, range(frames), "pyav")
    generator = np.random.default_rng(len(name))
    for t in (1, 1, 2, 3, 8, 8, 16, frames):
        indices = generator.integers(0, frames, t)  # unsorted, with repeats
        np.testing.assert_array_equal(read_frames(path, indices), everything[indices])
        drawn = read_clip(path, lambda frames, fps, indices=indices: indices)
        np.testing.assert_array_equal(drawn, everything[indices])


@pytest.mark.parametrize("name", sorted(burnt.KINDS.keys() & burnt.PLANNED))
def test_planner_plans(clips: Callable[[str], Path], name: str) -> None:
    with open_stream(clips(name)) as stream:
        packets = pyav._held(clips(name), stream)
        assert packets is not None
        found = pyav._plan(stream, packets)
    assert found is not None
    last = list(found.runs([burnt.N - 1]))
    assert len(last) == 1
    if name in burnt.DECORD:  # closed groups of at most 12
        assert len(found.starts) >= 2
        assert len(last[0]) <= 12
    assert found.unused.any() == (
        name in ("h264_b.mp4", "h264_b.mkv", "h264_open.mp4", "vfr.mp4", "h264_interlaced.mp4")
        or name.startswith(("turned", "mirrored"))
    )


def test_time_stamps_of_decoding(clips: Callable[[str], Path], tmp_path: Path) -> None:
    """A file with B-frames whose writer lost the order of display: the decoder knows it, the time stamps do not."""
    path = tmp_path / "lost.mp4"
    with av.open(str(clips("h264_b.mp4"))) as source, av.open(str(path), "w") as target:
        copy = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(source.streams.video[0]) if packet.size]
        first = packets[0].dts
        for packet in packets:
            packet.pts = packet.dts = packet.dts - first
            packet.stream = copy
            target.mux(packet)
    assert probe(path).frames == burnt.N
    for indices in ([5], [20, 21], [47, 0, 9]):
        assert burnt.numbers_in(read_frames(path, indices)) == indices
    assert not decord_exact(path)


@EVERY
def test_decord_is_called_exact_where_it_is(clips: Callable[[str], Path], name: str) -> None:
    pytest.importorskip("decord", reason="decord has no wheel for this machine")
    path, frames = clips(name), len(burnt.expected(name))
    assert decord_exact(path) == (name in burnt.DECORD)
    if name in burnt.DECORD:
        generator = np.random.default_rng(0)
        for _ in range(5):
            indices = generator.integers(0, frames, 8)
            np.testing.assert_array_equal(read_frames(path, indices, "decord"), read_frames(path, indices))


def test_decord_is_wrong_on_cut_files(clips: Callable[[str], Path]) -> None:
    """Why ``auto`` is the default; should this fail one day, decord has been mended."""
    pytest.importorskip("decord", reason="decord has no wheel for this machine")
    path = clips("cut_h264.mp4")
    indices = np.random.default_rng(0).permutation(burnt.N - burnt.CUT_AT)[:8]
    right = [burnt.CUT_AT + index for index in indices]
    assert burnt.numbers_in(read_frames(path, indices)) == right
    assert burnt.numbers_in(read_frames(path, indices, "decord")) != right


@pytest.mark.parametrize("name", sorted(burnt.DECORD))
def test_torchcodec(clips: Callable[[str], Path], name: str) -> None:
    pytest.importorskip("torchcodec.decoders", reason="the extra torchcodec is not installed", exc_type=ImportError)
    indices = np.random.default_rng(0).integers(0, burnt.N, 8)
    np.testing.assert_array_equal(
        read_frames(clips(name), indices, "torchcodec"), read_frames(clips(name), indices, "pyav")
    )


def test_torchcodec_missing(clips: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchcodec.decoders", None)
    with pytest.raises(ImportError, match=r"fsar\[torchcodec\]"):
        read_frames(clips("h264.mp4"), [0], "torchcodec")


def test_phone_video_is_upright(shared: Path) -> None:
    pytest.importorskip("decord", reason="decord has no wheel for this machine")
    for name, size in (("decord_video_90.mov", (568, 320)), ("decord_video_180.mov", (320, 568))):
        path = shared / "videos" / "torture" / name
        assert (probe(path).height, probe(path).width) == size
        np.testing.assert_array_equal(read_frames(path, [0, 2]), read_frames(path, [0, 2], "decord"))


@pytest.mark.parametrize(("folder", "step"), [("ucf13", 16), ("ssv2toy15", 12), ("handlm17", 60)])
def test_real_clips(shared: Path, folder: str, step: int) -> None:
    files = sorted((shared / "videos" / folder).glob("*/*.mp4"))[::step]
    assert files
    for path in files:
        frames = probe(path).frames
        everything = read_frames(path, range(frames), "pyav")
        indices = np.random.default_rng(frames).integers(0, frames, 8)
        np.testing.assert_array_equal(read_frames(path, indices), everything[indices])
        if decord_exact(path) and importlib.util.find_spec("decord"):
            np.testing.assert_array_equal(read_frames(path, indices, "decord"), everything[indices])
