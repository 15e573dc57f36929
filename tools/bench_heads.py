"""How fast are heads whose prototypes depend on the query, against scoring one episode at a time as released code does?

    python tools/bench_heads.py [--threads 1] [--rounds 3] [--episodes 256] [--channels 2048] [--videos 120]

Frame features of random videos, t=8; of MoLo maps of 4 x 4 with a quarter of the channels. *One at a time* is the
released way: every clip of every episode passes the head anew, tuples of frames and pairs of frame and token are put
together before they are mapped, classes are gone through one by one. *Ours* is one pass over the videos, then batches
of episodes. All are timed in turn, round after round, so that a busy machine slows all alike; shown are ratios of
medians, with one thread of the processor's time. The logits must be the same.
"""

from __future__ import annotations

import math
import platform
import statistics
import time
from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from episodes.clips import Features
from episodes.dataset import index_episodes
from episodes.episode import IndexEpisode, VideoBatch
from episodes.sampler import EpisodeSampler
from fsar.alignment import BiMHM, CosineCost
from fsar.alignment.per_query.cross_tuple import TupleAttention, sinusoids
from fsar.encoders.frame import FrameEncoder
from fsar.evaluation.bank import VideoBank, score_episodes
from fsar.method import Method
from fsar.methods import TRX, HyRSM, MoLo
from fsar.terminal.failure import Options, one_message

CLASSES, FRAMES, SIDE = 12, 8, 4


class Head(NamedTuple):
    """A method and the released way to score one episode of features: supports (s t d), labels, queries (q t d)."""

    name: str
    shots: int
    method: Method
    released: Callable[[Tensor, Tensor, Tensor], Tensor]


def trx_one_at_a_time(method: TRX, support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
    """Tuples are concatenated, mapped, and compared class by class."""
    logits = []
    for attention in method.matching.transformers:
        assert isinstance(attention, TupleAttention)
        tuples = list(combinations(range(FRAMES), attention.cardinality))
        clips = [x + 0.1 * sinusoids(FRAMES, x.shape[-1]) for x in (support, query)]
        whole = [torch.stack([x[:, list(t)].flatten(1) for t in tuples], dim=1) for x in clips]
        (s_keys, q_keys) = (attention.norm_k(attention.k_linear(x)) for x in whole)
        (s_values, q_values) = (attention.v_linear(x) for x in whole)
        columns = []
        for c in labels.unique():
            keys, values = (x[labels == c].flatten(0, 1) for x in (s_keys, s_values))
            weights = (q_keys @ keys.T / math.sqrt(keys.shape[-1])).softmax(-1)
            columns.append(-(q_values - weights @ values).square().sum((-2, -1)) / len(tuples))
        logits.append(torch.stack(columns, dim=-1))
    return torch.stack(logits).mean(0)


def hyrsm_one_at_a_time(method: HyRSM, support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
    """Every pair of frame and token is mapped, for every query."""
    relation = method.relation
    support, query = (relation.within(relation.positions(x)) for x in (support, query))
    classes = torch.stack([support[labels == c].mean(0) for c in labels.unique()])
    others = classes.expand(len(query), -1, -1, -1)
    tokens = torch.cat([others.mean(2), query.mean(1, keepdim=True)], dim=1)  # (q n+1 d)
    tokens = relation.across(relation.across.project(tokens))
    frames = torch.cat([others, query[:, None]], dim=1)
    both = torch.cat([frames, tokens[:, :, None].expand_as(frames)], dim=-1)
    frames = normalize(relation.join(both), dim=-1)  # (q n+1 t d)
    cost = 1 - frames[:, :-1] @ frames[:, -1:].mT
    return -(cost.amin(-1).sum(-1) + cost.amin(-2).sum(-1))


def molo_one_at_a_time(method: MoLo, support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
    """Every clip passes both streams, then all frames of an episode are compared in one product: maps (s t p d)."""
    clips = torch.cat([support, query])
    motion = method.motion(clips.mT.unflatten(-1, (SIDE, SIDE)))
    streams = method.stream("frames", clips.mean(-2)), method.stream("motions", method.motion.tokens(motion))
    logits = torch.zeros(())
    for weight, stream in zip((1.0, method.motion_weight), streams, strict=True):
        own, queries = stream[: len(support), 1:], stream[len(support) :, 1:]
        classes = torch.stack([own[labels == c].mean(0) for c in labels.unique()])
        cost = 1 - normalize(queries, dim=-1).flatten(0, 1) @ normalize(classes, dim=-1).flatten(0, 1).T
        cost = cost.unflatten(0, queries.shape[:2]).unflatten(-1, classes.shape[:2])  # (q t n u)
        logits = logits - weight * (cost.amin(1).sum(-1) + cost.amin(-1).sum(1))
    return logits


class MapEncoder(FrameEncoder):
    """Says that maps of 4 x 4 are given; there is no network behind it."""

    gives = ("frames", "patches")
    grid = (SIDE, SIDE)

    @property
    def widths(self) -> dict[str, int]:
        return {"frames": self.channels, "patches": self.channels}

    def check_needs(self, needs: object, reader: str) -> None:
        """All is given."""


def heads(channels: int) -> list[Head]:
    """The heads with seeded random weights; there is no encoder behind them."""
    found = []
    for shots in (1, 5):
        torch.manual_seed(0)
        encoder = FrameEncoder(nn.Identity(), channels, 224, (0.0,) * 3, (1.0,) * 3)
        trx, hyrsm = TRX(encoder).eval(), HyRSM(encoder, class_weight=0.0).eval()
        found.append(Head("TRX", shots, trx, lambda s, y, q, m=trx: trx_one_at_a_time(m, s, y, q)))  # type: ignore[misc]
        found.append(Head("HyRSM", shots, hyrsm, lambda s, y, q, m=hyrsm: hyrsm_one_at_a_time(m, s, y, q)))  # type: ignore[misc]
        maps = MapEncoder(nn.Identity(), channels // 4, 128, (0.0,) * 3, (1.0,) * 3)
        alignment = BiMHM(cost=CosineCost(epsilon=0.0))
        molo = MoLo(maps, alignment, class_weight=0.0, reconstruction_weight=0.0).eval()
        found.append(Head("MoLo", shots, molo, lambda s, y, q, m=molo: molo_one_at_a_time(m, s, y, q)))  # type: ignore[misc]
    return found


class HeadBench:
    """One head on the same videos and episodes, both ways."""

    def __init__(self, head: Head, videos: int, channels: int) -> None:
        self.head = head
        generator = torch.Generator().manual_seed(2)
        self.classes = torch.arange(videos) % CLASSES
        self.names = tuple(f"class {c}" for c in range(CLASSES))
        maps = "patches" in head.method.needs
        shape = (videos, FRAMES, SIDE * SIDE, channels // 4) if maps else (videos, FRAMES, channels)
        self.features = torch.randn(shape, generator=generator).abs()
        self.sampler = EpisodeSampler(self.classes.numpy(), 5, head.shots, 1, 0, self.names)

    def episodes(self, count: int) -> IndexEpisode:
        """The first episodes, as numbers of videos."""
        return index_episodes(self.sampler, np.arange(count))

    def encode(self) -> VideoBank:
        """The pass over all videos."""
        bank = VideoBank(self.head.method)
        for videos in torch.arange(len(self.features)).split(32):
            given = self.features[videos]
            maps = {"frames": given.mean(-2), "patches": given} if given.dim() == 4 else {"frames": given}
            bank.add(VideoBatch(videos, Features(maps), self.classes[videos], self.names))
        bank.close()
        return bank

    def score(self, bank: VideoBank, episodes: IndexEpisode) -> Tensor:
        """Logits ``(e q n)`` of all episodes in one batch."""
        return score_episodes(bank, episodes).logits

    @torch.no_grad()
    def one_at_a_time(self, episodes: IndexEpisode) -> Tensor:
        """The same logits, one episode after the other."""
        rows = zip(episodes.support, episodes.support_labels, episodes.query, strict=True)
        return torch.stack([self.head.released(self.features[s], labels, self.features[q]) for s, labels, q in rows])


def seconds(run: Callable[..., object], *args: object) -> float:
    """Time of one call: with one thread the processor's, so that waiting for other programs does not count."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    run(*args)
    return clock() - start


def kilobytes(bank: VideoBank) -> float:
    """What is kept of one video in the role of a query."""
    parts = bank.look_up("query", torch.tensor([0]), torch.device("cpu"))
    return sum(x[0].nbytes for x in parts.values()) / 1000


def compare(head: Head, videos: int, channels: int, episodes: int, rounds: int) -> str:
    """A row of the table."""
    bench = HeadBench(head, videos, channels)
    few, many = bench.episodes(4), bench.episodes(episodes)
    bank = bench.encode()
    ours, theirs = bench.score(bank, few), bench.one_at_a_time(few)
    same = float((ours - theirs).abs().max() / theirs.abs().max())
    times: dict[str, list[float]] = {"released": [], "pass": [], "ours": []}
    for _ in range(rounds):
        times["released"].append(seconds(bench.one_at_a_time, few) / 4)
        times["pass"].append(seconds(bench.encode) / videos)
        times["ours"].append(seconds(bench.score, bank, many) / episodes)
    middle = {name: statistics.median(values) for name, values in times.items()}
    scored = middle["released"] / middle["ours"]
    whole = 10_000 * middle["released"] / (2_857 * middle["pass"] + 10_000 * middle["ours"])
    cells = [head.name, head.shots, f"**{scored:.0f}**", f"{whole:.1f}", f"{kilobytes(bank):.0f} kB", f"{same:.0e}"]
    return f"| {' | '.join(map(str, cells))} |"


@one_message(program="bench_heads")
def main() -> None:
    """Print the table."""
    parser = Options(__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--channels", type=int, default=2048)
    parser.add_argument("--videos", type=int, default=120)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{platform.machine()}, {args.threads} threads, torch {torch.__version__}, d={args.channels}, t={FRAMES}\n")
    print("| head | k | faster, scoring | with the pass, 10,000 episodes | kept of a video | difference |")
    print("|---|---|---|---|---|---|")
    for head in heads(args.channels):
        print(compare(head, args.videos, args.channels, args.episodes, args.rounds), flush=True)


if __name__ == "__main__":
    main()
