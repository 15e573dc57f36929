"""What is a video: by its suffix, and by its first bytes where the suffix says nothing."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from episodes.listing import VIDEO_SUFFIXES, is_passed_over, is_video, looks_like_video

FTYP = b"\0\0\0\x20ftypisom\0\0\2\0"
PACKETS = b"".join(b"\x47" + bytes(187) for _ in range(6))
FORMATS = {
    "mp4": "mpeg4", "matroska": "mpeg4", "avi": "mpeg4", "flv": "flv", "asf": "wmv2", "mpeg": "mpeg1video",
    "mpegts": "mpeg2video", "mpeg2video": "mpeg2video", "m4v": "mpeg4", "h264": "libx264", "yuv4mpegpipe": "rawvideo",
    "gif": "gif", "ivf": "libvpx", "nut": "mpeg4", "hevc": "libx265", "webm": "libvpx", "mxf": "mpeg2video",
}  # fmt: skip


@pytest.mark.parametrize("container", FORMATS)
def test_a_video_of_every_container_is_known_without_its_suffix(tmp_path: Path, container: str) -> None:
    if FORMATS[container] not in av.codecs_available:
        pytest.skip(f"PyAV has no {FORMATS[container]} here")
    path = tmp_path / "clip"
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(FORMATS[container], rate=25)
        stream.width, stream.height = 64, 64
        stream.pix_fmt = "rgb8" if container == "gif" else "yuv420p"
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    assert looks_like_video(path.read_bytes()[:4096])
    for name in ("clip.unknown", "clip.VOB", "clip.mts", "clip.TS", "clip.mp4.1", "no_suffix"):
        assert is_video(path.rename(tmp_path / name)), name
        (tmp_path / name).rename(path)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("empty.mp4", b"", True),  # the reader says what is wrong with it
        ("empty", b"", False),
        ("a.ts", PACKETS, True),
        ("late.ts", bytes(70) + PACKETS, True),
        ("late", b"\1" * 70 + PACKETS, True),
        ("recorder.m2t", b"\0\0\0\1" + PACKETS, True),
        ("program.ts", b"export const answer: number = 42;\n" * 200, False),
        ("program.mts", "const größe = 1;".encode() * 400, False),
        ("damaged.ts", bytes(range(256)) * 4, True),
        ("picture.heic", FTYP, False),
        ("picture", b"\0\0\0\x20ftypheic", False),
        ("sound", b"\0\0\0\x20ftypM4A ", False),
        ("sound.m4a", FTYP, False),
        ("sound2", b"RIFF\0\0\0\0WAVEfmt ", False),
        ("sound3", b"OggS" + bytes(24) + b"\x01vorbis", False),
        ("theora", b"OggS" + bytes(24) + b"\x80theora", True),
        ("a.mp4.part", FTYP, False),
        ("a.mp4.bak", FTYP, False),
        ("phone.clip", FTYP, True),
        ("list", b"#EXTM3U\n", False),
        ("list2", b"ffconcat version 1.0\n", False),
        ("notes", b"a shopping list", False),
        ("image.jpg", FTYP, False),
    ],
)
def test_by_suffix_or_content(tmp_path: Path, name: str, content: bytes, expected: bool) -> None:
    (tmp_path / name).write_bytes(content)
    assert is_video(tmp_path / name) is expected


def test_suffixes_are_in_small_letters_and_asked_without_case(tmp_path: Path) -> None:
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in VIDEO_SUFFIXES)
    assert {".mts", ".m2ts", ".ts", ".h264", ".vob", ".divx", ".hevc"} <= VIDEO_SUFFIXES
    assert is_video(tmp_path / "missing.MOV")
    assert not is_video(tmp_path / "missing")


@pytest.mark.parametrize(
    "name", ["__MACOSX", "@eaDir", "lost+found", ".DS_Store", "Thumbs.db", "thumbs.db", ".hidden", "$RECYCLE.BIN"]
)
def test_what_systems_leave_is_passed_over(name: str) -> None:
    assert is_passed_over(name)
    assert not is_passed_over(f"a{name}")
