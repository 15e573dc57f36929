"""Videos whose frames say which one they are: the number stands in them as black and white blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.sidedata.sidedata import Type  # noqa: F401  (PyAV 18 needs it loaded before side data are read)

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
        first = True
        for place, number in enumerate(numbers):
            image = np.ascontiguousarray(stored(burn(number)))
            if first:
                stream = container.add_stream(codec, rate=25, options=options or {})
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = pix_fmt
                stream.codec_context.time_base = Fraction(1, 25)
                stream.codec_context.thread_count = 1
                if rotation is not None:
                    stream.set_display_rotation(rotation[0], hflip=rotation[1])
                first = False
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
        zero = round(start / stream.time_base)
        first = max(i for i, packet in enumerate(packets) if packet.is_keyframe and packet.pts <= zero)
        with av.open(str(target), "w") as output:
            copy = output.add_stream_from_template(stream)
            for packet in packets[first:]:
                packet.pts -= zero
                packet.dts -= zero
                packet.stream = copy
                output.mux(packet)
    return target
