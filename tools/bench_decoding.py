"""How fast are the readers? Eight frames of a clip that this script makes: 10 s, 340x256, H.264, one key frame in 250.

The readers take turns; printed are medians of the processor time, which a busy machine disturbs least, and ratios.
"""

from __future__ import annotations

import tempfile
import time
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import median
from typing import get_args

import av
import numpy as np

from episodes.frames import segment_random
from episodes.video import Reader, read_clip
from fsar.terminal.failure import Options, one_message


def make_clip(path: Path, frames: int = 300, height: int = 256, width: int = 340) -> None:
    """A textured scene that pans and carries noise, about 1 MB: as costly to decode as ordinary footage."""
    generator = np.random.default_rng(0)
    scene = (
        generator.integers(0, 256, (height // 4 + 100, width // 4 + 100, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    )
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "18"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 30)
        for number in range(frames):
            top, left = int(150 + 100 * np.sin(number / 40)), number
            image = scene[top : top + height, left : left + width] // 2 + 64
            image = image + generator.integers(0, 4, image.shape, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode(None))


@one_message(program="bench_decoding")
def main() -> None:
    """Time the readers, print a table."""
    parser = Options(__doc__)
    parser.add_argument("--clip", type=Path, help="time this file instead of making one")
    parser.add_argument("--frames", type=int, default=8, help="frames per clip")
    parser.add_argument("--repeats", type=int, default=15, help="clips per reader")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = args.clip or Path(folder) / "clip.mp4"
        if args.clip is None:
            make_clip(path)
        print(
            f"{path.name}: {path.stat().st_size / 2**20:.1f} MB, {args.frames} frames, {args.repeats} clips per reader"
        )
        seconds: dict[str, list[float]] = {}
        for repeat in range(-1, args.repeats):
            for reader in get_args(Reader):
                choose = partial(_choose, args.frames, abs(repeat))
                try:
                    start = time.process_time()
                    read_clip(path, choose, reader)
                except ImportError as error:
                    if repeat < 0:
                        print(f"{reader}: left out: {error}")
                    continue
                if repeat >= 0:  # the first round only warms up
                    seconds.setdefault(reader, []).append(time.process_time() - start)
    base = median(seconds.get("decord", seconds["pyav"]))
    print(f"{'reader':<12}{'ms a clip':>12}{'clips / s':>12}{'x decord' if 'decord' in seconds else 'x pyav':>12}")
    for reader, taken in seconds.items():
        middle = median(taken)
        print(f"{reader:<12}{1000 * middle:>12.1f}{1 / middle:>12.1f}{base / middle:>12.2f}")


def _choose(t: int, seed: int, frames: int, fps: float) -> np.ndarray:
    return segment_random(frames, t, np.random.default_rng(seed))


if __name__ == "__main__":
    main()
