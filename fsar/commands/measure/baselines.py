"""CLIP's own few-shot family on the same episodes: what a method has to beat, with intervals and paired differences.

    fsar baselines -c data/shapes_appearance --encoder encoder/tiny
    fsar baselines -c data/ssv2_small --encoder encoder/clip_vit_b16 \\
        --shots 1 2 4 8 16 --data.features runs/features --out baselines.json

Every video is encoded once (or read from a feature store) and every method scores the same features. Each number of
shots has the same classes and queries. C, α, β and γ are chosen on episodes of the validation classes; SimpleShot's
centre comes from the training classes, and so do the learned methods (CoOp, CLIP4Clip), which run when ``--steps`` is
above 0. A difference whose 95 % interval leaves out zero is marked with a star.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from episodes.clips import Features, combined
from episodes.datamodule import EpisodicDataModule
from episodes.dataset import index_episodes
from episodes.episode import Episode, IndexEpisode, VideoBatch
from episodes.features import open_clips
from episodes.files import write_atomically
from episodes.sampler import EpisodeSampler
from episodes.splits import Split
from episodes.words import pluralise
from fsar.build import make_parser, parse_options
from fsar.commands.measure.baseline_methods import family, learned
from fsar.encoders import FrameEncoder
from fsar.evaluation.bank import VideoBank, contents, feature_key, score_episodes
from fsar.evaluation.comparing.tables import Right, curve, table
from fsar.method import Method, Scores
from fsar.methods import (
    NearestNeighbour,
    SimpleShot,
)
from fsar.methods.clip_family.tuning import Grid, tune
from fsar.terminal.bars import counting
from fsar.terminal.failure import one_message
from fsar.terminal.outputs import output_file
from fsar.text import TextBank


@dataclass
class Encoded:
    """A split and the features of all its videos, ``frames (v t d)``."""

    split: Split
    features: Features

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.features["frames"].device

    def bank(self, method: Method) -> VideoBank:
        """What the method keeps of each video."""
        bank = VideoBank(method)
        classes = torch.tensor(self.split.labels, device=self.device)
        videos = torch.arange(len(classes), device=self.device)
        for some in videos.split(512):
            bank.add(VideoBatch(some, self.features.at(some), classes[some], self.split.class_names))
        bank.close()
        return bank

    def episodes(
        self, shots: int, count: int, data: EpisodicDataModule, batch: int = 100, training: bool = False
    ) -> Iterator[IndexEpisode]:
        """Batches of index episodes, with the queries and the seed of training or of evaluation."""
        sampler = make_sampler(self.split, shots, data, training)
        for numbers in np.array_split(np.arange(count), -(-count // batch)):
            yield index_episodes(sampler, numbers).to(self.device)


def make_sampler(split: Split, shots: int, data: EpisodicDataModule, training: bool = False) -> EpisodeSampler:
    """The episodes of a split, with the queries and the seed of training or of evaluation."""
    return EpisodeSampler(
        split.labels,
        data.ways if training else data.test_ways or data.ways,
        shots,
        data.queries if training else data.test_queries,
        data.seed if training else data.test_seed,
        split.class_names,
        data.drop_small_classes,
        split.opposites if data.opposites else None,
    )


def check_episodes(data: EpisodicDataModule, splits: Collection[str], shots: Sequence[int]) -> None:
    """Refuse numbers of shots that a split cannot give, before any video is read.

    Raises:
        ValueError: naming the number and the split.
    """
    for name, k in product(splits, shots):
        try:
            make_sampler(data.load().split(name), k, data)
        except ValueError as error:
            raise ValueError(f"--shots {k}, split {name} of benchmark {data.load().name}: {error}") from None


@torch.no_grad()
def encode(data: EpisodicDataModule, encoder: FrameEncoder, name: str) -> Encoded:
    """Every video of a split once, or its stored features."""
    data.refuse_views("fsar baselines")
    data.follow(encoder.framing)
    data.setup({"train": "fit", "val": "validate", "test": "test"}[name])
    split, training = data.splits[name], name == "train"
    device = next((p.device for p in encoder.parameters()), torch.device("cpu"))
    method = NearestNeighbour(encoder)
    source: Any = data.clips(split, training, stored=data.features is not None)
    if data.features is not None:
        source = open_clips(Path(data.features), source, feature_key(method), contents(method))
    loader = DataLoader(source, data.video_batch, num_workers=data.worker_count)
    found = []
    with counting(f"encoding {name}", len(source)) as tell:
        for videos, clips in loader:
            found.append(method.features_of(clips.to(device)))
            tell(len(videos))
    return Encoded(split, combined(torch.cat, found))


def choose(
    data: EpisodicDataModule,
    members: Mapping[str, tuple[Method, Grid]],
    extra: Collection[str],
    methods: Sequence[str] | None,
    say: Callable[[str], None],
) -> list[str]:
    """Names of the methods to score: those asked for, else all but those that need a split without classes.

    Raises:
        ValueError: for a name that is not known, or whose split has no classes.
    """
    known = [*members, *extra]
    if unknown := set(methods or ()) - set(known):
        raise ValueError(f"methods: there is no {', '.join(sorted(unknown))}; there are {', '.join(known)}.")
    needs = {"val": {name for name, (_, grid) in members.items() if grid}, "train": {"SimpleShot", *extra}}
    for split, users in needs.items():
        if data.load().split(split).class_names:
            continue
        why = "which hyper-parameters are chosen on" if split == "val" else "which is learned from"
        told = f"split {split} of benchmark {data.load().name}, {why}, has no classes"
        if asked := users & set(methods or ()):
            raise ValueError(f"{told}: give it some, or leave {', '.join(sorted(asked))} out of --methods.")
        say(f"{told}; left out: {', '.join(name for name in known if name in users)}")
        known = [name for name in known if name not in users]
    return [name for name in known if methods is None or name in methods]


def train(method: Method, encoded: Encoded, data: EpisodicDataModule, steps: int, rate: float) -> None:
    """Adam with a cosine schedule on episodes of stored training features, one episode a step."""
    parameters = [p for p in method.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    method.train()
    for batch in encoded.episodes(data.shots, steps, data, batch=1, training=True):
        index = batch.map(lambda x: x[0])
        support, query = (encoded.features.at(videos) for videos in (index.support, index.query))
        task = Episode(**{**vars(index), "support": support, "query": query})
        loss = method.loss(method(task), task)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    method.eval()


def share_right(method: Method, encoded: Encoded, shots: int, count: int, data: EpisodicDataModule) -> Right:
    """``(e)`` share of the queries that are named right in each episode."""
    bank = encoded.bank(method)
    hits = [
        (score_episodes(bank, batch).logits.argmax(-1) == batch.query_labels).double().mean(-1)
        for batch in encoded.episodes(shots, count, data)
    ]
    return torch.cat(hits).cpu().numpy()


def choose_values(
    method: Method, grid: Grid, encoded: Encoded, shots: int, count: int, data: EpisodicDataModule
) -> dict[str, float]:
    """Hyper-parameters chosen on validation episodes."""
    bank = encoded.bank(method)

    def score(batch: IndexEpisode) -> Scores:
        device = batch.classes.device
        support, query = bank.look_up("support", batch.support, device), bank.look_up("query", batch.query, device)
        return method.score(support, query, batch, bank.text)

    return tune(method, encoded.episodes(shots, count, data, batch=50), grid, score)


def run(
    data: EpisodicDataModule,
    encoder: FrameEncoder,
    texts: TextBank | None = None,
    shots: Sequence[int] = (1, 5),
    steps: int = 0,
    tuning_episodes: int = 200,
    methods: Sequence[str] | None = None,
    say: Callable[[str], None] = print,
) -> dict[int, dict[str, Right]]:
    """Score the family; returns ``{shots: {method: (e) accuracies}}``.

    Args:
        data: names benchmark, ways, queries, episodes and how clips are made.
        encoder: turns clips into features.
        texts: what is said about a class; the encoder's own templates when not given.
        shots: numbers of support clips per class.
        steps: training episodes of the methods that learn, 0 to leave them out.
        tuning_episodes: validation episodes on which hyper-parameters are chosen.
        methods: names of those to score; all when not given.
        say: takes the report.
    """
    encoder.eval()
    members = family(encoder, texts, list(data.load().train.class_names) or None)
    extra = learned(encoder) if steps else {}
    wanted = choose(data, members, extra, methods, say)
    tuned_ones = {name for name, (_, grid) in members.items() if grid}
    uses = {"val": tuned_ones, "test": set(wanted), "train": {"SimpleShot", *extra}}
    check_episodes(data, [name for name in ("val", "test") if uses[name] & set(wanted)], shots)
    encoded = {name: encode(data, encoder, name) for name, users in uses.items() if users & set(wanted)}
    for name, (method, rate) in extra.items():
        if name in wanted:
            train(method, encoded["train"], data, steps, rate)
    if "SimpleShot" in wanted and isinstance(simple := members["SimpleShot"][0], SimpleShot):
        simple.fit(encoded["train"].features["frames"])
    everything: dict[str, tuple[Method, Grid]] = members | {name: (method, {}) for name, (method, _) in extra.items()}
    by_shots: dict[int, dict[str, Right]] = {}
    for k in shots:
        by_shots[k] = {}
        for name in wanted:
            method, grid = everything[name]
            method.eval().to(encoded["test"].device)
            if grid:
                chosen = choose_values(method, grid, encoded["val"], k, tuning_episodes, data)
                say(f"{k}-shot {name}: " + ", ".join(f"{key} {value:.3g}" for key, value in chosen.items()))
            by_shots[k][name] = share_right(method, encoded["test"], k, data.counts["test"], data)
        say(
            f"\n{k}-shot, {data.test_ways}-way, {pluralise(data.counts['test'], 'episode')} of {data.load().name}, "
            f"chance {100 / (data.test_ways or data.ways):.0f} %\n{table(by_shots[k])}\n"
        )
    if len(by_shots) > 1:
        say(curve(by_shots))
    return by_shots


@one_message(program="fsar baselines")
def main(args: list[str]) -> None:
    """Read the options, score, print, write."""
    parser = make_parser("fsar baselines", ("data",), description=__doc__)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.add_argument("--encoder", type=FrameEncoder, required=True, sub_configs=True, help="a YAML, or a class")
    parser.add_argument("--texts", type=TextBank | None, default=None, help="what is said about a class")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--steps", type=int, default=0, help="training episodes of the methods that learn")
    parser.add_argument("--tuning_episodes", type=int, default=200, help="validation episodes for C, α, β, γ")
    parser.add_argument("--methods", type=str, nargs="+", default=None, help="names of those to score; all by default")
    parser.add_argument("--seed", type=int, default=0, help="of the weights that are learned")
    parser.add_argument("--out", type=Path | None, default=None, help="JSON of all accuracies by episode")
    found: Any = parse_options(parser, args)
    if found.out is not None:
        output_file(str(found.out))
    parts: Any = parser.instantiate(found)
    torch.manual_seed(found.seed)
    encoder = parts.encoder.to("cuda" if torch.cuda.is_available() else "cpu")
    how = (found.shots, found.steps, found.tuning_episodes, found.methods)
    by_shots = run(parts.data, encoder, parts.texts, *how)
    if found.out is not None:
        record = {str(k): {name: values.tolist() for name, values in some.items()} for k, some in by_shots.items()}
        with write_atomically(found.out) as part:
            part.write_text(json.dumps(record) + "\n")
