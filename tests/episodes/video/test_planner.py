"""The arithmetic and the header bits that decide which packets are decoded."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from episodes.video.packets.bitstream import Picture, peek_for
from episodes.video.packets.planner import plan
from episodes.video.packets.sps import Sps, is_field, read_sps, sets_of

AVCC = bytes([1, 100, 0, 10, 0xFF, 0xE0, 0])
PROGRESSIVE = bytes.fromhex("67 42c00a f42132")  # four by four blocks
INTERLACED = bytes.fromhex("67 4dc00a f421 12")  # the same with fields
HVCC = bytes([1] + [0] * 20 + [0xFF, 0])

FRESH, USED, UNUSED = Picture(True, False, b""), Picture(False, False, b""), Picture(False, True, b"")


def _naive_needed(times: list[int], pictures: list[Picture], frames: list[int]) -> list[list[int]]:
    """Straight from the words: for each wanted packet, go back to the nearest clean start."""
    order = sorted(range(len(times)), key=lambda packet: times[packet])
    clean = [
        packet
        for packet, picture in enumerate(pictures)
        if picture.fresh
        and all(times[k] < times[packet] for k in range(packet))
        and all(times[k] > times[packet] for k in range(packet + 1, len(times)))
    ]
    runs: dict[int, set[int]] = {}
    wanted = {order[frame] for frame in frames}
    for packet in wanted:
        start = max(k for k in clean if k <= packet)
        needed = {k for k in range(start, packet + 1) if not pictures[k].unused or k in wanted}
        runs.setdefault(start, set()).update(needed)
    return [sorted(runs[start]) for start in sorted(runs)]


def test_plan_against_naive() -> None:
    generator = np.random.default_rng(0)
    planned = 0
    for _ in range(300):
        times: list[int] = []
        pictures: list[Picture] = []
        for group in range(int(generator.integers(1, 5))):
            size = int(generator.integers(1, 9))
            shown = generator.permutation(size) if generator.random() < 0.5 else np.arange(size)
            times += [100 * group + int(t) for t in shown]
            pictures += [FRESH] + [(USED, UNUSED)[int(generator.integers(2))] for _ in range(size - 1)]
        found = plan(times, pictures)
        if found is None:
            assert times[0] != min(times)
            continue
        planned += 1
        frames = generator.integers(0, len(times), 4).tolist()
        assert list(found.runs(frames)) == _naive_needed(times, pictures, frames)
        assert found.order.tolist() == sorted(range(len(times)), key=lambda packet: times[packet])
    assert planned > 100


def test_open_groups_melt_into_the_one_before() -> None:
    # I P B | I(open) B B P: the two B after the second I are shown before it.
    times = [0, 2, 1, 5, 3, 4, 6]
    found = plan(times, [FRESH, USED, UNUSED, FRESH, UNUSED, UNUSED, USED])
    assert found is not None
    assert found.starts.tolist() == [0]
    assert list(found.runs([5])) == [[0, 1, 3]]
    assert found.delay == 1


@pytest.mark.parametrize(
    ("times", "pictures"),
    [
        ([], []),
        ([0, None], [FRESH, USED]),
        ([0, 0], [FRESH, USED]),
        ([0, 1], [FRESH, None]),
        ([0, 1], [USED, FRESH]),
        ([1, 0], [FRESH, USED]),
        ([0, 1], [FRESH, USED._replace(parameters=b"new")]),
        ([0, 1], [FRESH._replace(parameters=b"old"), FRESH._replace(parameters=b"new")]),
    ],
    ids=["empty", "no time", "equal times", "unclear", "no fresh start", "led", "new header", "changed header"],
)
def test_what_is_not_planned(times: list[int | None], pictures: list[Picture | None]) -> None:
    assert plan(times, pictures) is None


def _packet(*units: bytes) -> memoryview:
    return memoryview(b"".join(len(unit).to_bytes(4, "big") + unit for unit in units))


def test_h264() -> None:
    peek = peek_for("h264", AVCC)
    assert peek is not None
    assert peek(_packet(b"\x09\xf0", b"\x65\x88\x84")) == Picture(True, False, b"")  # delimiter, IDR slice
    assert peek(_packet(PROGRESSIVE, b"\x68c", b"\x65\x88\x84")) == Picture(True, False, PROGRESSIVE + b"\x68c")
    assert peek(_packet(b"\x41\x9a\x00")) == Picture(False, False, b"")
    assert peek(_packet(b"\x01\x9a\x00", b"\x01\x1a\x00")) == Picture(False, True, b"")  # two slices of one picture
    assert peek(_packet(b"\x01\x9a\x00", b"\x01\x9a\x00")) is None  # two fields
    assert peek(_packet(b"\x09\xf0")) is None  # no picture
    assert peek(memoryview(b"\x00\x00\x00\x09\x65\x88")) is None  # cut off
    assert peek_for("h264", b"\x00\x00\x00\x01\x67") is None  # start codes
    assert peek_for("h264", None) is None


def test_hevc() -> None:
    peek = peek_for("hevc", HVCC)
    assert peek is not None
    assert peek(_packet(b"\x26\x01\xaf")) == Picture(True, False, b"")  # IDR_W_RADL
    assert peek(_packet(b"\x2a\x01\xaf")) == Picture(False, False, b"")  # CRA
    assert peek(_packet(b"\x40\x01p", b"\x02\x01\xd0")) == Picture(False, False, b"\x40\x01p")
    assert peek(_packet(b"\x02\x01\xd0", b"\x02\x09\xd0")) is None  # a second layer
    assert peek(_packet(b"\x46\x01\x50")) is None  # delimiter alone


def test_vp8_and_vp9() -> None:
    vp8, vp9 = peek_for("vp8", None), peek_for("vp9", None)
    assert vp8 is not None
    assert vp9 is not None
    assert vp8(memoryview(b"\x10\x00\x00")) == Picture(True, False, b"")
    assert vp8(memoryview(b"\x11\x00\x00")) == Picture(False, False, b"")
    assert vp8(memoryview(b"\x01\x00\x00")) is None  # hidden
    assert vp9(memoryview(b"\x82\x49\x83\x00")) == Picture(True, False, b"")
    assert vp9(memoryview(b"\x86\x00\x00")) == Picture(False, False, b"")
    assert vp9(memoryview(b"\x84\x00\x00")) is None  # hidden, alone
    assert vp9(memoryview(b"\x84\x00\xc9")) == Picture(False, False, b"")  # hidden and shown in one superframe
    assert vp9(memoryview(b"\x88\x00")) == Picture(False, False, b"")  # shows an earlier one again
    assert vp9(memoryview(b"\xb2\x00")) is None  # profile 3 has another layout
    assert peek_for("mpeg4", b"") is None


@pytest.mark.parametrize("fields", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"profile": "main"},
        {"profile": "high", "x264-params": "cqm=jvt"},
        {"profile": "high", "x264-params": "bframes=0:keyint=1"},
        {"profile": "high444", "x264-params": "cqm4=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16"},
    ],
    ids=["main", "scaling lists", "intra", "4:4:4"],
)
def test_fields_are_seen_in_the_header(tmp_path: Path, fields: bool, options: dict[str, str]) -> None:
    path = tmp_path / "clip.mp4"
    parameters = f"{options.get('x264-params', 'bframes=2')}:interlaced={fields:d}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=options | {"x264-params": parameters})
        stream.width, stream.height = 64, 64
        stream.pix_fmt = "yuv444p" if options["profile"] == "high444" else "yuv420p"
        for number in range(4):
            image = np.full((64, 64, 3), 40 * number, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        header = container.streams.video[0].codec_context.extradata
        packets = [memoryview(packet) for packet in container.demux(video=0) if packet.size]
    assert header is not None
    (sps,) = map(read_sps, sets_of(header))
    assert sps is not None
    assert (sps.fields, sps.planes) == (fields, False)
    peek = peek_for("h264", header)
    assert peek is not None
    assert all(peek(packet) for packet in packets)  # x264 codes both fields in one picture


def test_single_fields_are_not_planned() -> None:
    sps = Sps(fields=True, number=4, planes=False)
    whole, field = bytes([0x65, 0b1_00110_1_0, 0b000_0_0000]), bytes([0x65, 0b1_00110_1_0, 0b000_1_0000])
    # first_mb 0, slice_type 5, pps 0, four bits of frame_num, field_pic_flag
    assert (is_field(whole, sps), is_field(field, sps)) == (False, True)
    assert is_field(field, sps._replace(fields=False)) is False
    assert is_field(b"\x65", sps)
    assert is_field(field, sps._replace(number=2, planes=True))  # two more bits for the plane


def test_a_parameter_set_that_makes_no_sense_is_not_trusted() -> None:
    assert read_sps(b"\x67") is None
    assert read_sps(b"\x67\x64\x00\x0a" + bytes(8)) is None
    assert read_sps(PROGRESSIVE) == Sps(fields=False, number=4, planes=False)
    peek = peek_for("h264", AVCC)
    assert peek is not None
    for broken in (b"\x67\x64\x00", INTERLACED):
        assert peek(_packet(broken, b"\x65\x88\x84")) is None
    assert peek_for("h264", AVCC[:5] + b"\xe1\x00\x03\x67\x64\x00\x00") is None
