"""Files with several video streams: every reader reads the same one, and says which."""

from __future__ import annotations

import importlib.util
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
from av.stream import Disposition

from episodes.video import Reader, VideoError, find_unreadable, probe, read_frames, verify

READERS: list[Reader] = ["auto", "pyav"]
if importlib.util.find_spec("decord"):
    READERS.append("decord")


class Stream(NamedTuple):
    """What a stream of a test file is like."""

    codec: str = "libx264"
    width: int = 64
    height: int = 48
    frames: int = 12
    default: bool = False
    value: int = 128


def _write(path: Path, *streams: Stream) -> Path:
    with av.open(str(path), "w") as container:
        outs = []
        for kind in streams:
            out = container.add_stream(kind.codec, rate=Fraction(10))
            out.width, out.height = kind.width, kind.height
            out.pix_fmt = "yuvj420p" if kind.codec == "mjpeg" else "yuv420p"
            marked = kind.default or not any(one.default for one in streams)
            out.disposition = Disposition.default if marked else Disposition(0)
            outs.append(out)
        for number in range(max(kind.frames for kind in streams)):
            for kind, out in zip(streams, outs, strict=True):
                if number < kind.frames:
                    image = np.full((kind.height, kind.width, 3), kind.value, dtype=np.uint8)
                    container.mux(out.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        for out in outs:
            container.mux(out.encode())
    return path


MAIN = Stream(value=200, width=96)
CASES = {
    "cover first": (1, [Stream("mjpeg", frames=1), MAIN]),
    "large cover first": (1, [Stream("mjpeg", 320, 240, 1), MAIN]),
    "cover of a few frames": (1, [Stream("mjpeg", 320, 240, 4), MAIN]),
    "cover by default": (1, [Stream("mjpeg", 320, 240, 1, default=True), MAIN]),
    "cover last": (0, [MAIN, Stream("mjpeg", 320, 240, 1)]),
    "one frame of H.264": (1, [Stream(frames=1, width=160), MAIN]),
    "side stream first": (1, [Stream(), MAIN]),
    "side stream last": (0, [MAIN, Stream()]),
    "small one by default": (0, [Stream(default=True), MAIN]),
    "small one longer": (1, [Stream(frames=20), MAIN]),
    "three": (2, [Stream(), Stream("mjpeg", 320, 240, 1), MAIN]),
}


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize(("right", "streams"), CASES.values(), ids=CASES)
def test_the_stream_that_is_read(tmp_path: Path, ending: str, right: int, streams: list[Stream]) -> None:
    path = _write(tmp_path / f"clip.{ending}", *streams)
    wanted, info = streams[right], probe(path)
    assert (info.frames, info.height, info.width) == (wanted.frames, wanted.height, wanted.width)
    assert info.note.startswith(f"of its video streams, stream {right} ({wanted.width} x {wanted.height}) is read, not")
    assert verify(path) == info
    assert find_unreadable([path], quick=False) == {}
    for reader in READERS:
        pixels = _read(path, wanted.frames, reader)
        if pixels is not None:
            assert np.abs(pixels.astype(int) - wanted.value).max() < 8
            assert pixels.shape == (wanted.frames, wanted.height, wanted.width, 3)


def _read(path: Path, frames: int, reader: Reader) -> np.ndarray | None:
    """The frames; or None where decord, which has a rule of its own, reads another stream and is refused for it."""
    try:
        return read_frames(path, range(frames), reader)
    except VideoError as error:
        if reader == "decord" and "another of its video streams" in str(error):
            return None
        raise


def test_one_stream_has_no_note(tmp_path: Path) -> None:
    assert probe(_write(tmp_path / "clip.mp4", MAIN)).note == ""
    assert probe(_write(tmp_path / "still.mp4", Stream(frames=1))).frames == 1


def test_streams_that_decord_cannot_tell_apart(tmp_path: Path) -> None:
    pytest.importorskip("decord", reason="decord has no wheel for this machine")
    path = _write(tmp_path / "stereo.mp4", Stream(value=50), Stream(value=90))
    assert np.abs(read_frames(path, [3]).astype(int) - 50).max() < 8
    with pytest.raises(VideoError, match="another of its video streams: use reader 'auto'"):
        read_frames(path, [3], "decord")


def test_decord_refuses_where_it_reads_another(tmp_path: Path) -> None:
    pytest.importorskip("decord", reason="decord has no wheel for this machine")
    path = _write(tmp_path / "clip.mkv", Stream(default=True), MAIN._replace(height=2000, width=4000, frames=2))
    assert read_frames(path, [1]).shape == (1, 2000, 4000, 3)
    with pytest.raises(VideoError, match=r"clip\.mkv: decord may read another of its video streams"):
        read_frames(path, [1], "decord")


def test_real_files(shared: Path) -> None:
    folder = shared / "faults" / "several_video_streams"
    base = read_frames(folder / "base.mp4", range(40))
    for name in ("s_coverfirst_noflag.mp4", "s_cover.mkv"):
        assert probe(folder / name).frames == 40
        for reader in READERS:
            np.testing.assert_array_equal(read_frames(folder / name, range(40), reader), base)
    info = probe(folder / "nasa_13013.mp4")
    assert (info.frames, info.height, info.width) == (390, 270, 480)
    expected = read_frames(folder / "nasa_13013.mp4", [0, 200, 389], "pyav")
    for reader in READERS:
        np.testing.assert_array_equal(read_frames(folder / "nasa_13013.mp4", [0, 200, 389], reader), expected)
