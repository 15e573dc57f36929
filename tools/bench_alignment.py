"""How fast are OTAM and soft-DTW here, against a double loop, against tslearn and against the floor?

    python tools/bench_alignment.py [--quick] [--threads 1 2] [--compile] [--out table.md]

All candidates of a row are timed in turn, round after round, so that a busy machine slows all of them alike; the table
shows medians (and the least) in milliseconds and ratios of medians. With one thread it is the processor's time that
counts, so that waiting for other programs does not; otherwise it is the clock's. On a GPU, when there is one, too.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import torch
import torch.nn.functional as F
from torch import Tensor

from fsar.alignment import OTAM, SoftDTW
from fsar.alignment.otam import otam
from fsar.terminal.failure import Options, one_message

SHAPES = ((25, 5, 8, 8), (75, 25, 8, 8), (75, 25, 16, 16), (75, 25, 32, 32))
TEMPERATURE = 0.5


def double_loop(cost: Tensor) -> Tensor:
    """OTAM in one direction as released code computes it: one cell at a time, written in place, ``(q n t u)`` to
    ``(q n)``."""
    padded = F.pad(cost, (1, 1))
    total = torch.zeros_like(padded)
    rows, columns = padded.shape[-2:]

    def soft_min(*entries: Tensor) -> Tensor:
        added: Any = sum(torch.exp(-entry / TEMPERATURE) for entry in entries)
        return -TEMPERATURE * torch.log(added)

    for m in range(1, columns):
        total[..., 0, m] = padded[..., 0, m] + total[..., 0, m - 1]
    for row in range(1, rows):
        for m in range(1, columns):
            entries = [total[..., row - 1, m - 1], total[..., row, m - 1]]
            if m in (1, columns - 1):
                entries.append(total[..., row - 1, m])
            total[..., row, m] = padded[..., row, m] + soft_min(*entries)
    return total[..., -1, -1]


def double_loop_both(cost: Tensor) -> Tensor:
    """Both directions added."""
    return double_loop(cost) + double_loop(cost.transpose(-2, -1))


def floor(cost: Tensor) -> Tensor:
    """What no exact soft alignment can avoid: read every cost, one exponential each, add them up."""
    return (cost * (-1 / TEMPERATURE)).exp().sum((-2, -1))


def tslearn_soft_dtw(cost: Tensor) -> Tensor:
    """tslearn's torch soft-DTW, handed the costs that it would compute."""
    from tslearn.metrics import SoftDTWLossPyTorch

    pairs = cost.flatten(0, 1)
    return SoftDTWLossPyTorch(gamma=TEMPERATURE, dist_func=lambda x, _: x)(pairs, pairs.detach())


def candidates(compiled: bool) -> dict[str, Callable[[Tensor], Tensor]]:
    """What is timed, by column of the table."""
    found: dict[str, Callable[[Tensor], Tensor]] = {
        "double loop": double_loop_both,
        "OTAM": lambda cost: otam(cost, TEMPERATURE),
        "tslearn soft-DTW": tslearn_soft_dtw,
        "soft-DTW": SoftDTW(TEMPERATURE).align,
        "floor": floor,
    }
    if compiled:
        found["OTAM compiled"] = torch.compile(OTAM(TEMPERATURE).align, dynamic=False)
    return found


def seconds_each(function: Callable[[Tensor], Tensor], cost: Tensor, backward: bool, repeats: int) -> float:
    """Seconds of one forward, or forward and backward, out of ``repeats`` in a row."""
    leaf = cost.clone().requires_grad_(backward)
    clock = time.process_time if torch.get_num_threads() == 1 and not cost.is_cuda else time.perf_counter
    if cost.is_cuda:
        torch.cuda.synchronize()
    start = clock()
    for _ in range(repeats):
        leaf.grad = None
        with torch.set_grad_enabled(backward):
            value = function(leaf).sum()
        if backward:
            value.backward()
    if cost.is_cuda:
        torch.cuda.synchronize()
    return (clock() - start) / repeats


def interleaved(
    functions: dict[str, Callable[[Tensor], Tensor]], cost: Tensor, backward: bool, rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Times of every candidate, one sample of each per round; a slow one stops after ``seconds``, but not before 3.

    A sample is as many calls in a row as last 20 ms, so that none pays for the caches that the one before it left.
    """
    threads = torch.get_num_threads()
    times: dict[str, list[float]] = {name: [] for name in functions}
    repeats = {}
    for name, function in functions.items():
        seconds_each(function, cost, backward, 1)
        torch.set_num_threads(threads)  # numba, inside tslearn, changes it
        repeats[name] = 1 + int(0.02 / max(1e-6, seconds_each(function, cost, backward, 1)))
    for _ in range(rounds):
        for name, function in functions.items():
            if len(times[name]) < 3 or sum(times[name]) * repeats[name] < seconds:
                torch.set_num_threads(threads)
                times[name].append(seconds_each(function, cost, backward, repeats[name]))
    torch.set_num_threads(threads)
    return times


def row(shape: tuple[int, ...], backward: bool, times: dict[str, list[float]], where: str) -> str:
    """One line of the table."""
    middle = {name: statistics.median(values) * 1e3 for name, values in times.items()}
    cells = [where, "x".join(map(str, shape)), "forward + backward" if backward else "forward"]
    cells += [f"{middle['double loop']:.2f}", f"{middle['OTAM']:.2f} ({min(times['OTAM']) * 1e3:.2f})"]
    cells += [f"**{middle['double loop'] / middle['OTAM']:.0f}**"]
    if "OTAM compiled" in middle:
        cells += [f"{middle['OTAM compiled']:.2f}"]
    cells += [f"{middle['tslearn soft-DTW']:.2f}", f"{middle['soft-DTW']:.2f}"]
    cells += [f"{middle['tslearn soft-DTW'] / middle['soft-DTW']:.0f}", f"{middle['floor']:.2f}"]
    cells += [f"{middle['OTAM'] / middle['floor']:.1f}"]
    return "| " + " | ".join(cells) + " |"


def header(compiled: bool) -> str:
    """The table's first two lines."""
    names = ["where", "q x n x t x u", "pass", "double loop", "OTAM (least)", "times faster"]
    names += ["OTAM compiled"] if compiled else []
    names += ["tslearn soft-DTW", "soft-DTW", "times faster", "floor", "OTAM / floor"]
    return "| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|"


def throughput(device: str, rounds: int) -> str:
    """Episodes a second from frame features: 5 classes, 5 queries, 8 frames of 512 channels, 256 episodes at once."""
    query, support = (torch.randn(256, 5, 8, 512, device=device) for _ in range(2))
    metric = OTAM()
    with torch.inference_mode():
        times = interleaved({"features": lambda _: metric(query, support)}, query, False, rounds, 10.0)["features"]
    return f"{256 / statistics.median(times):,.0f} episodes/s (best {256 / min(times):,.0f})"


def report(arguments: argparse.Namespace) -> list[str]:
    """The whole report, line by line, printed as it comes."""
    lines: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    rounds = 3 if arguments.quick else arguments.rounds
    shapes = SHAPES[:2] if arguments.quick else SHAPES
    say(f"torch {torch.__version__}, {platform.machine()}, {rounds} rounds; milliseconds, λ = {TEMPERATURE}\n")
    say(header(arguments.compile))
    places = [("cpu", n) for n in arguments.threads] + ([("cuda", 1)] if torch.cuda.is_available() else [])
    speeds = []
    for device, threads in places:
        torch.set_num_threads(threads)
        most: Any = numba.config  # its attributes are set when it is imported
        numba.set_num_threads(min(threads, most.NUMBA_NUM_THREADS))
        where = device if device == "cuda" else f"cpu, {threads} thread{'s' if threads > 1 else ''}"
        for shape in shapes:
            torch.manual_seed(0)
            cost = torch.rand(shape, device=device)
            for backward in (False, True):
                times = interleaved(candidates(arguments.compile), cost, backward, rounds, arguments.seconds)
                say(row(shape, backward, times, where))
        speeds.append(f"- {where}: {throughput(device, rounds)}")
    say("\nOTAM in both directions from features `(256 5 8 512)` and `(256 5 8 512)`, cosine included:\n")
    for speed in speeds:
        say(speed)
    return lines


@one_message(program="bench_alignment")
def main() -> None:
    """Parse the command line, print the table, write it if asked."""
    parser = Options(__doc__)
    parser.add_argument("--quick", action="store_true", help="two small shapes, three rounds")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="CPU threads, one table part each")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=10.0, help="a candidate's share of a row, at most (about)")
    parser.add_argument("--compile", action="store_true", help="time torch.compile too (minutes to compile)")
    parser.add_argument("--out", type=Path, help="also write the report to this Markdown file")
    arguments = parser.parse_args()
    lines = report(arguments)
    if arguments.out is not None:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
