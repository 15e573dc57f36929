"""How fast is an evaluation of 10,000 episodes on stored features, against the way released code scores them?

    python tools/bench_evaluation.py [--quick] [--threads 1] [--rounds 3] [--no-growth]

Features of 2,857 videos (as many as the test split of SSv2-Full), t=8, d=512, the CLIP-FSAR head with OTAM in both
directions. *Released* is one episode at a time with the double-loop alignment and every clip through the Transformer;
*ours* is one pass of the Transformer over the videos, then batches of episodes. All are timed in turn, round after
round, so that a busy machine slows all alike; shown are medians and ratios of medians. Predictions must be the same.
"""

from __future__ import annotations

import multiprocessing
import platform
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from bench_alignment import double_loop_both
from torch import Tensor, nn

from episodes.clips import Features
from episodes.dataset import index_episodes
from episodes.episode import Episode, VideoBatch
from episodes.sampler import EpisodeSampler
from fsar.alignment import OTAM, CostAlignment
from fsar.encoders.frame import FrameEncoder
from fsar.encoders.tower.text_tower import TextEncoder
from fsar.evaluation.bank import VideoBank, score_episodes
from fsar.methods import ClipFSAR
from fsar.terminal.failure import Options, one_message

CLASSES = 24


class Setting(NamedTuple):
    """What is evaluated; the default is the first row of the table."""

    merge: Literal["after", "before"] = "after"
    shots: int = 1
    ways: int = 5
    videos: int = 2857
    episodes: int = 10_000
    frames: int = 8
    channels: int = 512


class DoubleLoop(CostAlignment):
    """OTAM in both directions, one cell of the table at a time."""

    def align(self, cost: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(... t u)`` to ``(...)``."""
        return double_loop_both(cost)


class NoText(TextEncoder):
    """Random class features instead of a text tower."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.tower = nn.Identity()

    def forward(self, names: Sequence[str]) -> Tensor:
        """``(C d)``."""
        return torch.randn(len(names), Setting().channels, generator=torch.Generator().manual_seed(1))


def method(setting: Setting, alignment: CostAlignment) -> ClipFSAR:
    """The head with seeded random weights; there is no encoder behind it."""
    torch.manual_seed(0)
    encoder = FrameEncoder(nn.Identity(), setting.channels, 224, (0.0,) * 3, (1.0,) * 3, text=NoText())
    return ClipFSAR(encoder, alignment, merge=setting.merge).eval()


class Bench:
    """One setting: the same videos, weights and episodes for both ways of scoring."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        generator = torch.Generator().manual_seed(2)
        self.classes = torch.arange(setting.videos) % CLASSES
        self.names = tuple(f"class {c}" for c in range(CLASSES))
        centres = torch.randn(CLASSES, 1, setting.channels, generator=generator)
        noise = torch.randn(setting.videos, setting.frames, setting.channels, generator=generator)
        self.features = 0.2 * centres[self.classes] + noise
        self.sampler = EpisodeSampler(self.classes.numpy(), setting.ways, setting.shots, 1, 0, self.names)
        self.ours, self.theirs = method(setting, OTAM()), method(setting, DoubleLoop())

    def encode(self) -> VideoBank:
        """The pass over all videos."""
        bank = VideoBank(self.ours)
        for videos in torch.arange(self.setting.videos).split(64):
            bank.add(VideoBatch(videos, Features(frames=self.features[videos]), self.classes[videos], self.names))
        bank.close()
        return bank

    def score(self, bank: VideoBank, episodes: int) -> Tensor:
        """Predictions ``(e q)`` of the first episodes, in batches as the data module makes them."""
        numbers = np.array_split(np.arange(episodes), -(-episodes // 256))
        batches = [score_episodes(bank, index_episodes(self.sampler, part)).logits.argmax(-1) for part in numbers]
        return torch.cat(batches)

    @torch.no_grad()
    def released(self, episodes: int) -> Tensor:
        """The same predictions, one episode at a time."""
        found = []
        for number in range(episodes):
            index = index_episodes(self.sampler, [number])
            episode = Episode(
                Features(frames=self.features[index.support[0]]),
                Features(frames=self.features[index.query[0]]),
                index.support_labels[0],
                index.query_labels[0],
                index.classes[0],
                class_names=self.names,
                number=index.number[0],
            )
            found.append(self.theirs(episode).logits.argmax(-1))
        return torch.stack(found)

    def products(self) -> float:
        """Floating-point operations of the Transformer for one episode's prototypes, merged before it."""
        d, tokens = self.setting.channels, self.setting.frames + 1
        return 2.0 * self.setting.ways * tokens * (4 * d * d + 2 * d * 2048 + 2 * tokens * d)


def seconds(run: Callable[..., object], *args: object) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    run(*args)
    return time.perf_counter() - start


def matmul_rate(size: int = 1024) -> float:
    """Floating-point operations per second of a large float32 matrix product here and now."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return 2.0 * size**3 / statistics.median(seconds(torch.mm, a, b) for _ in range(5))


def against_released(quick: bool, rounds: int) -> None:
    """The first table: episodes per second, how much faster once the videos passed the Transformer, and with that pass
    for 10,000 episodes; where every prototype passes it, the share of the rate of large matrix products."""
    print("| shots merged | k | released | pass over videos | ours | faster | in all | same | of matrix rate |")
    print("|---|---|---|---|---|---|---|---|---|")
    for setting in (Setting(), Setting(shots=5), Setting("before", 5)):
        bench = Bench(setting)
        few = 20 if quick else 60
        many = (256 if quick else 512) if setting.merge == "before" else (2560 if quick else setting.episodes)
        times: dict[str, list[float]] = {"released": [], "pass": [], "ours": [], "rate": []}
        bank = bench.encode()
        same = torch.equal(bench.score(bank, few), bench.released(few))
        for _ in range(rounds):
            times["released"].append(seconds(bench.released, few) / few)
            times["pass"].append(seconds(bench.encode))
            times["rate"].append(matmul_rate())
            times["ours"].append(seconds(bench.score, bank, many) / many)
        middle = {name: statistics.median(values) for name, values in times.items()}
        ours, theirs = middle["ours"], middle["released"]
        whole = middle["pass"] + setting.episodes * ours
        share = f"{bench.products() / ours / middle['rate']:.0%}" if setting.merge == "before" else ""
        cells = [setting.merge, setting.shots, f"{1 / theirs:.0f}/s", f"{middle['pass']:.2f} s", f"{1 / ours:,.0f}/s"]
        cells += [f"**{theirs / ours:.0f}**", f"**{setting.episodes * theirs / whole:.1f}**", "yes" if same else "NO"]
        print("|", " | ".join(map(str, [*cells, share])), "|", flush=True)


def measure(setting: Setting, answer: multiprocessing.Queue[tuple[float, float, float]]) -> None:
    """In a process of its own: seconds of the pass, seconds of scoring, and the growth of its memory in MB."""
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bench = Bench(setting)
    begin = time.perf_counter()
    bank = bench.encode()
    passed = time.perf_counter() - begin
    scored = seconds(bench.score, bank, setting.episodes)
    answer.put((passed, scored, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) / 1024))


def growth(quick: bool) -> None:
    """The second table: how each cost grows. Every row is a process of its own."""
    base = Setting(videos=720, episodes=1024) if quick else Setting(videos=1440, episodes=5000)
    doubled = (0.5, 1, 2)
    steps = {"videos": doubled, "episodes": doubled, "ways": (0.4, 1, 2), "shots": (1, 5, 10), "frames": (1, 2, 4)}
    print("| grows | videos | episodes | n | k | t | pass, s | score, s | memory, MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    context = multiprocessing.get_context("fork")
    for name, factors in steps.items():
        for factor in factors:
            setting = base._replace(**{name: round(getattr(base, name) * factor)})
            answer = context.Queue()
            process = context.Process(target=measure, args=(setting, answer))
            process.start()
            passed, scored, memory = answer.get()
            process.join()
            facts = (setting.videos, setting.episodes, setting.ways, setting.shots, setting.frames)
            cells = [name, *facts, f"{passed:.2f}", f"{scored:.2f}", f"{memory:.0f}"]
            print("|", " | ".join(map(str, cells)), "|", flush=True)


@one_message(program="bench_evaluation")
def main() -> None:
    """Print the tables."""
    parser = Options(__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer episodes and one round: half a minute")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-growth", action="store_true", help="leave out the second table")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{platform.processor() or platform.machine()}, {args.threads} threads, torch {torch.__version__}\n")
    if not args.no_growth:
        growth(args.quick)
        print()
    against_released(args.quick, 1 if args.quick else args.rounds)


if __name__ == "__main__":
    main()
