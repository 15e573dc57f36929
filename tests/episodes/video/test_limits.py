"""What a small file cannot do: pass for a video, open other files, take gigabytes or hours."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import burnt
import numpy as np
import pytest
from PIL import Image

from episodes.video import VideoError, check_videos, limits, probe, pyav, read_clip, read_frames, time_limit, verify
from episodes.video.limits import TooManyPixels

DASH = b'<MPD profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><BaseURL>/etc/hostname</BaseURL></MPD>'
OTHERS = {
    "concat": b"ffconcat version 1.0\nfile other.mp4\n",
    "concat with a control character": b"ffconcat version 1.0\n# \x01\nfile other.mp4\n",
    "playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n",
    "page": "<!DOCTYPE html><title>Vidéo supprimée</title>".encode(),
    "UTF-16": "a text".encode("utf-16"),
    "dash": DASH,
    "dash behind the head of an mp4": struct.pack(">I4s4s4s", 16, b"ftyp", b"isom", bytes(4)) + DASH,
    "dash behind free": b"<!--free-->\n" + DASH,
    "wave": b"RIFF\x24\0\0\0WAVEfmt ",
}


def _refused_by_all(path: Path, cause: str) -> None:
    acts: list[Callable[[Path], object]] = [
        probe,
        verify,
        lambda p: read_frames(p, [0]),
        lambda p: read_frames(p, [0], "pyav"),
        lambda p: read_frames(p, [0], "decord"),
        lambda p: read_frames(p, [0], "torchcodec"),
    ]
    for act in acts:
        with pytest.raises(VideoError, match=cause):
            act(path)


@pytest.mark.parametrize("content", OTHERS.values(), ids=OTHERS)
def test_texts_and_lists_are_no_videos(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    _refused_by_all(path, "not a video")
    (check,) = check_videos([path])
    assert "not a video" in check.cause


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "JPEG2000", "AVIF"])
def test_pictures_are_no_videos(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "clip.mp4"
    Image.new("RGB", (64, 64)).save(path, format=kind)
    _refused_by_all(path, r"not a video, whatever its name says, but a picture.*give the video, or the folder")


@pytest.mark.parametrize("name", ["h264.mp4", "gif.gif", "mpeg4_b.avi"])
def test_claimed_pixels(
    clips: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for path, what in ((clips(name), "its header"), (folder, "1.png")):
        Image.new("RGB", (burnt.WIDTH, burnt.HEIGHT)).save(folder / "1.png")
        monkeypatch.setenv(limits.VARIABLE, str(burnt.WIDTH * burnt.HEIGHT - 1))
        for act in (probe, lambda p: read_frames(p, [0])):
            with pytest.raises(TooManyPixels, match=rf"{what} claims 160 x 96 pixels, and at most 15,359 .* FSAR_MAX"):
                act(path)
        monkeypatch.setenv(limits.VARIABLE, str(burnt.WIDTH * burnt.HEIGHT))
        assert read_frames(path, [0]).shape == (1, burnt.HEIGHT, burnt.WIDTH, 3)
    monkeypatch.setenv(limits.VARIABLE, "many")
    with pytest.raises(ValueError, match="FSAR_MAX_PIXELS must be a number of pixels, more than 0; found 'many'"):
        probe(clips(name))


def test_a_picture_larger_than_pillow_warns_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (9500, 9500)).save(tmp_path / "1.png")
    with pytest.raises(TooManyPixels, match=r"1\.png claims 9,500 x 9,500 pixels"):
        probe(tmp_path)
    Image.new("1", (14000, 13000)).save(tmp_path / "1.png")
    monkeypatch.setenv(limits.VARIABLE, str(2**31))
    with pytest.raises(VideoError, match=r"1\.png claims more than 178,956,970 pixels"):
        probe(tmp_path)


def test_packets_without_frames(clips: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyav, "PATIENCE", 0)  # a stream with B-frames gives its first frame late
    with pytest.raises(VideoError, match="0 packets in a row give no frame"):
        read_frames(clips("h264_b.mp4"), [0], "pyav")


def test_more_packets_than_are_held(clips: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyav, "PACKETS", 10)
    assert probe(clips("h264_b.mp4")).frames == burnt.N
    assert burnt.numbers_in(read_frames(clips("h264_b.mp4"), [40, 2])) == [40, 2]
    assert burnt.numbers_in(read_clip(clips("h264_b.mp4"), lambda frames, fps: [frames - 1])) == [burnt.N - 1]


def test_time_limit(clips: Callable[[str], Path], tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    for path in (clips("h264_b.mp4"), clips("gif.gif"), tmp_path):
        with time_limit(0), pytest.raises(VideoError, match=rf"{path.name}: not read within 0 seconds"):
            read_frames(path, [0])
        with time_limit(None):
            assert len(read_frames(path, [0])) == 1
        assert len(read_frames(path, [0])) == 1


def test_found_by_attack(shared: Path, tmp_path: Path) -> None:
    folder = shared / "faults" / "media"
    many = tmp_path / "3M_packets.mp4"
    many.write_bytes(gzip.decompress((folder / "3M_packets.mp4.gz").read_bytes()))
    for path in (many, folder / "11_png.mp4", folder / "30_concat.mp4", folder / "dash_polyglot.mp4"):
        with pytest.raises(VideoError):
            probe(path)
    with pytest.raises(TooManyPixels, match="65,535 x 65,535"):
        probe(folder / "40_huge_gif.gif")
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "1.png").symlink_to(folder / "png_bomb_13000.png")
    with pytest.raises(TooManyPixels, match="13,000 x 13,000"):
        probe(tmp_path / "frames")
    np.testing.assert_equal(read_frames(folder / "08_timescale0.mp4", [0]).shape, (1, 64, 64, 3))
