"""What a frozen tower costs in float32, bf16 and int8: milliseconds a frame, how near to float32 its features stay, and
its share of the rate at which this machine multiplies large float32 matrices.

    python tools/bench_precision.py [--encoder ViT-B-16] [--video clip.mp4] [--threads 1] [--rounds 3]

Precisions take turns, and so does torch's own dynamic quantisation of the linear layers; shown is the least processor
time, which a busy machine disturbs least. An open_clip or timm network without a file has random weights.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from episodes.video import read_clip
from fsar.encoders import ClipEncoder, FrameEncoder, ImageEncoder
from fsar.encoders.cost import added_cost
from fsar.terminal.failure import Options, one_message

FRAMES = 8
UNITS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


def least(run: Callable[[], object], rounds: int) -> float:
    """Seconds of processor time, the least of several calls after one that warms up."""
    found = []
    for _ in range(rounds + 1):
        start = time.process_time()
        run()
        found.append(time.process_time() - start)
    return min(found[1:])


def matrix_rate(size: int = 1024) -> float:
    """Floating-point operations per second of processor time of a large float32 matrix product here and now."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return 2.0 * size**3 / least(lambda: a @ b, 7)


def build(name: str, precision: str) -> FrameEncoder:
    """``fsar-tiny`` with its weights, a name of open_clip, or ``timm:NAME``, with ``:FILE`` where there are weights."""
    torch.manual_seed(0)
    library, _, rest = name.partition(":")
    if library == "timm":
        model, _, weights = rest.partition(":")
        return ImageEncoder(model, weights or None, "timm", precision=precision).eval()  # type: ignore[arg-type]
    start = "shapes" if name == "fsar-tiny" else None
    return ClipEncoder(name, start, precision=precision).eval()  # type: ignore[arg-type]


def towers(name: str) -> dict[str, FrameEncoder]:
    """The tower in each precision that it takes, and in torch's own."""
    made = {"float32": build(name, "fp32"), "bf16": build(name, "bf16"), "torch's own int8": build(name, "fp32")}
    try:
        made["int8"] = build(name, "int8")
    except ValueError as error:
        print(f"int8 is left out: {error}\n")
    own = made["torch's own int8"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own.visual = torch.ao.quantization.quantize_dynamic(own.visual, {nn.Linear})
    return made


def pixels(video: Path | None, side: int) -> Tensor:
    """``(1 t c h w)``: frames of a video, squashed to a square; noise without one."""
    if video is None:
        return torch.randint(0, 256, (1, FRAMES, 3, side, side), dtype=torch.uint8)
    frames = read_clip(video, lambda count, fps: np.linspace(0, count - 1, FRAMES).astype(int))
    small = F.interpolate(
        torch.from_numpy(frames).movedim(-1, 1).float(), (side, side), mode="bilinear", antialias=True
    )
    return small.round().clamp(0, 255).byte()[None]


def units() -> str:
    """What of this processor matters here, as Linux tells it."""
    told = Path("/proc/cpuinfo")
    flags = told.read_text().split() if told.is_file() else []
    return " ".join(name for name in UNITS if name in flags) or "unknown units"


@one_message(program="bench_precision")
def main() -> None:
    """Print the table."""
    parser = Options(__doc__)
    parser.add_argument("--encoder", default="ViT-B-16", help="fsar-tiny, a name of open_clip, timm:NAME[:FILE]")
    parser.add_argument("--video", type=Path, help="eight frames of this one; noise without")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    made = towers(args.encoder)
    clip = pixels(args.video, made["float32"].image_size)
    operations, rate = added_cost(made["float32"], FRAMES).tower, matrix_rate()
    print(f"{args.encoder}, torch {torch.__version__}, {args.threads} thread(s), processor with {units()}")
    print(f"{operations / 1e9:.1f} GFLOP a frame; large float32 matrices: {rate / 1e9:.0f} GFLOP/s\n")
    times: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(args.rounds):
        for name, tower in made.items():
            times[name].append(least(lambda tower=tower: tower(clip), 1) / FRAMES)  # type: ignore[misc]
    exact = made["float32"](clip)
    print("| weights | ms a frame | x float32 | x that rate | least cosine |\n|---|---|---|---|---|")
    for name, tower in made.items():
        taken, cosine = min(times[name]), float(F.cosine_similarity(tower(clip), exact, dim=-1).min())
        faster, share = min(times["float32"]) / taken, operations / taken / rate
        print(f"| {name} | {1e3 * taken:.1f} | {faster:.2f} | {share:.0%} | {cosine:.4f} |")


if __name__ == "__main__":
    main()
