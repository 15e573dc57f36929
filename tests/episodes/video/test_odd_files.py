"""Odd files that FFmpeg reads: the same frames as its decoding from the start, and what is said of them."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import burnt
import numpy as np
import pytest

from episodes.video import VideoError, probe, read_frames, verify


def _encode(
    path: Path, codec: str, tags: dict[str, int] | None = None, aspect: Fraction | None = None, **options: Any
) -> Path:
    """60 frames of the burnt-in numbers; ``tags`` are set on stream and frames."""
    pixel_format = options.pop("pix_fmt", "yuv420p")
    if codec not in av.codecs_available:
        pytest.skip(f"PyAV has no {codec} here")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(25), options=options)
        stream.width, stream.height, stream.pix_fmt = burnt.WIDTH, burnt.HEIGHT, pixel_format
        if aspect:
            stream.sample_aspect_ratio = aspect
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        for number in range(60):
            frame = av.VideoFrame.from_ndarray(burnt.burn(number), format="rgb24").reformat(format=pixel_format)
            for name, value in (tags or {}).items():
                setattr(frame, name, value)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _sequential(path: Path) -> np.ndarray:
    """What FFmpeg gives, with none of our options."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_count = 1
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def _reads_the_same(path: Path) -> str:
    expected, info = _sequential(path), probe(path)
    assert info.frames == len(expected) == verify(path).frames
    for reader in ("auto", "pyav"):
        np.testing.assert_array_equal(read_frames(path, range(info.frames), reader), expected)  # type: ignore[arg-type]
    return info.note


X265 = {"x265-params": "log-level=none:keyint=20:open-gop=1"}
STREAMS = {
    "h264.ts": ("libx264", {"g": "20", "bf": "2"}),
    "open.ts": ("libx264", {"x264-params": "open-gop=1:keyint=20:bframes=3"}),
    "refresh.ts": ("libx264", {"x264-params": "intra-refresh=1:keyint=20"}),
    "interlaced.ts": ("libx264", {"x264-params": "interlaced=1:keyint=20"}),
    "hevc.ts": ("libx265", X265),
    "mpeg2.ts": ("mpeg2video", {"bf": "2"}),
    "mpeg2.mpg": ("mpeg2video", {"bf": "2"}),
    "mpeg4.ts": ("mpeg4", {"bf": "2"}),
    "raw.h264": ("libx264", {"g": "20", "bf": "2"}),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_broadcast_that_starts_anywhere(tmp_path: Path, name: str) -> None:
    codec, options = STREAMS[name]
    path = _encode(tmp_path / name, codec, **options)
    data, cut = path.read_bytes(), tmp_path / f"cut_{name}"
    assert _reads_the_same(path) == ""
    for share in (0.11, 0.35, 0.6):
        at = int(share * len(data))
        cut.write_bytes(data[at - at % 188 if name.endswith("ts") else at :])
        try:
            _sequential(cut)
        except av.error.InvalidDataError:  # a bare stream may hold no keyframe that FFmpeg knows it by
            assert name == "raw.h264"  # it fails on opening or on decoding: the encoder's bytes differ between machines
            with pytest.raises(VideoError, match=r"cut_raw\.h264: (not one frame decodes|damaged, or not a video)"):
                probe(cut)
        else:
            _reads_the_same(cut)


def test_a_bare_stream_that_starts_before_a_keyframe(tmp_path: Path) -> None:
    path = _encode(tmp_path / "raw.h264", "libx264", g="20", bf="2")
    data, cut = path.read_bytes(), tmp_path / "cut.h264"
    cut.write_bytes(data[data.index(b"\0\0\1\x67", 100) - 40 :])
    assert _reads_the_same(cut) == ""


def test_damage_in_the_middle_is_still_damage(tmp_path: Path) -> None:
    path = _encode(tmp_path / "clip.ts", "mpeg2video", bf="2")
    data = bytearray(path.read_bytes())
    packets = range(len(data) // 2, len(data) * 3 // 4, 188)
    for at in packets:
        start = at - at % 188
        data[start + 60 : start + 188] = bytes(128)
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"clip\.ts"):
        verify(path)


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_hdr_is_read_as_it_is_coded_and_said(tmp_path: Path, codec: str, transfer: int, name: str) -> None:
    tags = {"color_trc": transfer, "colorspace": 9, "color_primaries": 9}
    options = X265 if codec == "libx265" else {}
    path = _encode(tmp_path / "clip.mp4", codec, tags, pix_fmt="yuv420p10le", **options)
    assert _reads_the_same(path) == f"HDR ({name}) is read as it is coded, not mapped to the usual range"


@pytest.mark.parametrize("off", [-8, -1, 1, 8, 40])
def test_a_riff_size_off_by_a_few_bytes(tmp_path: Path, off: int) -> None:
    path = _encode(tmp_path / "clip.avi", "mpeg4", bf="2")
    data = bytearray(path.read_bytes())
    data[4:8] = struct.pack("<I", struct.unpack("<I", data[4:8])[0] + off)
    path.write_bytes(data)
    assert _reads_the_same(path) == ""


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "mpeg2.mpg"])
def test_interlaced(tmp_path: Path, name: str) -> None:
    options = {"flags": "+ilme+ildct"} if "mpeg2" in name else {"x264-params": "interlaced=1:bframes=2"}
    _reads_the_same(_encode(tmp_path / name, "mpeg2video" if "mpeg2" in name else "libx264", **options))


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    path = _encode(tmp_path / "clip.mp4", "libx264", aspect=Fraction(64, 45))
    assert _reads_the_same(path) == "its pixels are not square (64:45): shown as 228 x 96, read as it is stored"
    turned = bytearray(path.read_bytes())
    at = turned.index(b"tkhd") + 44  # the matrix: a quarter turn
    turned[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(turned)
    info = probe(path)
    assert (info.height, info.width) == (burnt.WIDTH, burnt.HEIGHT)
    assert info.note.endswith("shown as 96 x 228, read as it is stored")
    assert probe(_encode(tmp_path / "square.mp4", "libx264", aspect=Fraction(1))).note == ""


def test_headers_that_claim_other_numbers(shared: Path) -> None:
    folder = shared / "faults"
    assert probe(folder / "media" / "08_timescale0.mp4").note.startswith("its header says 20 frames, 1 ")
    assert "shown as 273 x 128" in probe(folder / "misc" / "e_sar.mp4").note


def _packed(path: Path) -> Path:
    """MPEG-4 in .avi as DivX 5 wrote it: a P and the B shown before it in one chunk, then a chunk that says "the P"."""
    plain = _encode(path.with_name("plain.avi"), "mpeg4", bf="1", b_strategy="0", g="12")
    with av.open(str(plain)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        chunks = [bytes(packet) for packet in source.demux(video=0) if packet.size]
        vop = chunks[0].index(b"\0\0\1\xb6")
        chunks[0] = chunks[0][:vop] + b"\0\0\1\xb2DivX503b1393p" + chunks[0][vop:]
        kinds = [chunk[chunk.index(b"\0\0\1\xb6") + 4] >> 6 for chunk in chunks]  # 0 I, 1 P, 2 B
        out: list[bytes] = []
        for chunk, kind in zip(chunks, kinds, strict=True):
            if kind == 2:
                out[-1] += chunk
                out.append(b"\0\0\1\xb6" + bytes([0b01010000, 0b01000000]))  # a P that is not coded
            else:
                out.append(chunk)
        for number, chunk in enumerate(out):
            packet = av.Packet(chunk)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 25)
            packet.is_keyframe = number == 0
            target.mux(packet)
    return path


def test_packed_b_frames(tmp_path: Path) -> None:
    path = _packed(tmp_path / "packed.avi")
    _reads_the_same(path)
    numbers = burnt.numbers_in(read_frames(path, range(probe(path).frames)))
    assert numbers == sorted(numbers)
    assert len(set(numbers)) >= 58
