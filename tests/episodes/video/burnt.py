"""Videos whose frames say which one they are: the number stands in them as black and white blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

HEIGHT, WIDTH = 96, 160
ROWS, COLUMNS = 2, 5  # ten bits; below them moving texture, so that pictures do refer to each other


def burn(number: int) -> npt.NDArray[np.uint8]:
    """``(h w c)`` RGB: bits of ``number``, least significant first, in the upper 64 rows; texture below."""
    image = np.empty((HEIGHT, WIDTH, 3), dtype=np.uint8)
    for bit in range(ROWS * COLUMNS):
        row, column = divmod(bit, COLUMNS)
        image[row * 32 : row * 32 + 32, column * 32 : column * 32 + 32] = 235 if number >> bit & 1 else 20
    y, x = np.mgrid[64:HEIGHT, :WIDTH]
    for channel, speed in enumerate((3, 5, -4)):
        image[64:, :, channel] = 128 + 60 * np.sin((x + speed * number) / 9) * np.cos((y - number) / 5)
    return image


def number_in(image: npt.NDArray[np.uint8]) -> int:
    """The number that is burnt in; -1 where the picture is not one of ours, or not upright."""
    if image.shape[:2] != (HEIGHT, WIDTH):
        return -1
    blocks = image[:64].mean(-1).reshape(ROWS, 32, COLUMNS, 32)[:, 8:24, :, 8:24].mean((1, 3)).ravel()
    if not ((blocks < 70) | (blocks > 180)).all() or not 90 < image[64:].mean() < 170:
        return -1
    return int(((blocks > 128) << np.arange(ROWS * COLUMNS)).sum())


def numbers_in(clip: npt.NDArray[np.uint8]) -> list[int]:
    """``(t h w c)`` -> the ``t`` numbers."""
    return [number_in(image) for image in clip]


def write(
    path: Path,
    numbers: Iterable[int],
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
    times: Sequence[int] | None = None,
    rotation: tuple[float, bool] | None = None,
    stored: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]] = lambda image: image,
) -> Path:
    """Encode frames at 25 per second, or at ``times`` (25ths of a second).

    ``stored`` turns a picture as seen into the one that is stored; ``rotation`` (degrees, mirrored) goes into the file.
    """
    with av.open(str(path), "w") as container:
        stream: Any = None  # whose class the codec decides
        for place, number in enumerate(numbers):
            image = np.ascontiguousarray(stored(burn(number)))
            if stream is None:
                stream = container.add_stream(codec, rate=25, options=options or {})
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = pix_fmt
                stream.codec_context.time_base = Fraction(1, 25)
                stream.codec_context.thread_count = 1
                if rotation is not None:
                    stream.set_display_rotation(rotation[0], hflip=rotation[1])
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = place if times is None else times[place]
            frame.time_base = Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def cut(source: Path, target: Path, start: float) -> Path:
    """Copy packets from the last key frame before ``start`` (seconds) on; what precedes ``start`` is only hidden."""
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        assert stream.time_base is not None
        zero = round(start / stream.time_base)
        stamps = [(packet.pts or 0, packet.dts or 0) for packet in packets]
        first = max(i for i, packet in enumerate(packets) if packet.is_keyframe and stamps[i][0] <= zero)
        with av.open(str(target), "w") as output:
            copy = output.add_stream_from_template(stream)
            for packet, (pts, dts) in list(zip(packets, stamps, strict=True))[first:]:
                packet.pts, packet.dts = pts - zero, dts - zero
                packet.stream = copy
                output.mux(packet)
    return target


N = 48
"""Frames of every video of KINDS."""


def _x264(**parameters: str) -> dict[str, Any]:
    return {"options": {"g": "12", "preset": "veryfast", **parameters}}


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "h264.mp4": ("libx264", _x264(bf="0")),
    "h264_b.mp4": ("libx264", _x264(bf="3", refs="3", **{"x264-params": "b-pyramid=normal"})),
    "h264_b.mkv": ("libx264", _x264(bf="2")),
    "h264_b.ts": ("libx264", _x264(bf="2")),
    "h264_open.mp4": ("libx264", _x264(bf="3", **{"x264-params": "open-gop=1:scenecut=0"})),
    "h264_refresh.mp4": ("libx264", _x264(bf="0", **{"x264-params": "intra-refresh=1"})),
    "h264_interlaced.mp4": ("libx264", _x264(bf="2", flags="+ildct+ilme", **{"x264-params": "interlaced=1"})),
    "vfr.mp4": ("libx264", _x264(bf="2") | {"times": [2 * i + 5 * (i > 30) + (i % 3 == 0) for i in range(N)]}),
    "hevc.mp4": ("libx265", {"options": {"x265-params": "keyint=12:open-gop=0:log-level=none:pools=none"}}),
    "hevc_open.mp4": ("libx265", {"options": {"x265-params": "keyint=12:open-gop=1:log-level=none:pools=none"}}),
    "vp8.webm": ("libvpx", {"options": {"g": "12", "deadline": "realtime", "cpu-used": "8"}}),
    "vp9.webm": ("libvpx-vp9", {"options": {"g": "12", "deadline": "realtime", "cpu-used": "8"}}),
    "av1.mp4": ("libsvtav1", {"options": {"preset": "12", "g": "12", "svtav1-params": "lp=1"}}),
    "mpeg4_b.avi": ("mpeg4", {"options": {"g": "12", "bf": "2"}}),
    "mpeg4_b.mp4": ("mpeg4", {"options": {"g": "12", "bf": "2"}}),
    "motion_jpeg.avi": ("mjpeg", {"pix_fmt": "yuvj420p"}),
    "gif.gif": ("gif", {"pix_fmt": "rgb8"}),
    "turned_90.mp4": ("libx264", _x264() | {"rotation": (90, False), "stored": lambda i: np.rot90(i, -1)}),
    "turned_180.mp4": ("libx264", _x264() | {"rotation": (180, False), "stored": lambda i: np.rot90(i, 2)}),
    "turned_270.mp4": ("libx264", _x264() | {"rotation": (270, False), "stored": lambda i: np.rot90(i, 1)}),
    "mirrored.mp4": ("libx264", _x264() | {"rotation": (0, True), "stored": lambda i: i[:, ::-1]}),
    "mirrored_90.mp4": (
        "libx264",
        _x264() | {"rotation": (90, True), "stored": lambda i: i[::-1, ::-1].transpose(1, 0, 2)},
    ),
}
CUTS = {f"cut_{name}": name for name in ("h264.mp4", "h264_b.mp4", "h264_open.mp4", "hevc.mp4", "hevc_open.mp4")}
CUT_AT = 20  # frames; not a key frame of any kind

# What decord 0.6 reads exactly, among the above. It is wrong on the others, or refuses them (AV1, GIF).
DECORD = {
    "h264.mp4",
    "h264_b.mp4",
    "h264_b.mkv",
    "vfr.mp4",
    "hevc.mp4",
    "vp8.webm",
    "vp9.webm",
    "turned_90.mp4",
    "turned_180.mp4",
    "turned_270.mp4",
}
# Files that the planner enters in the middle; the rest is decoded from the start.
PLANNED = DECORD | {"h264_open.mp4", "h264_refresh.mp4", "hevc_open.mp4", "h264_interlaced.mp4"}
PLANNED |= {"mirrored.mp4", "mirrored_90.mp4"}


def expected(name: str) -> list[int]:
    """The numbers that a video of KINDS or CUTS shows, in order."""
    return list(range(CUT_AT if name in CUTS else 0, N))


def make(folder: Path, name: str) -> Path:
    """The file of that name in ``folder``, made unless it is there. An encoder that is missing raises LookupError."""
    path = folder / name
    if path.exists():
        return path
    if name in CUTS:
        return cut(make(folder, CUTS[name]), path, CUT_AT / 25)
    codec, arguments = KINDS[name]
    if codec not in av.codecs_available:
        raise LookupError(f"this build of PyAV has no encoder {codec}")
    return write(path, range(N), codec, **arguments)


def broken(folder: Path, whole: Path) -> dict[Path, str]:
    """Kinds of broken video and what is to be said of them."""
    data = whole.read_bytes()
    (folder / "empty").mkdir()
    files = {
        "zero.mp4": (b"", "empty"),
        "pointer.mp4": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
        "text.mp4": (b"<html>not found</html>" * 50, "not a video"),
        "half.mp4": (data[: len(data) // 2], "truncated"),
        "tail.mp4": (data[:-7], "truncated"),
    }
    for name, (content, _) in files.items():
        (folder / name).write_bytes(content)
    cases = {folder / name: cause for name, (_, cause) in files.items()}
    cases[folder / "missing.mp4"] = "no such file or folder"
    cases[folder / "empty"] = "folder without images"
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), dtype=np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    cases[folder / "sound.mp4"] = "no video stream"
    return cases
