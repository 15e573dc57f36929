"""A trained run, asked from Python: which of these classes does this clip show?"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jsonargparse import ArgumentParser

from episodes.datamodule import EpisodicDataModule
from episodes.episode import Episode, VideoBatch
from episodes.splits import Split
from fsar.evaluation import VideoBank, score_episodes
from fsar.learner import Learner, check_checkpoint
from fsar.results import Answer, ranked

Clips = Sequence[str | os.PathLike[str]]


class Predictor:
    """A method and the way its clips are read.

    Args:
        learner: with the trained method.
        data: whose test frames, test transform and reader are used; its benchmark is not touched.
    """

    def __init__(self, learner: Learner, data: EpisodicDataModule) -> None:
        self.learner = learner.eval()
        self.data = data

    @torch.no_grad()
    def predict(self, support: Mapping[str, Clips], queries: Clips) -> list[Answer]:
        """Name every query clip by the labelled support clips.

        Args:
            support: ``{class name: clips}``, one clip or more of each class; the numbers may differ.
            queries: clips to name.

        Raises:
            ValueError: for fewer than two classes, or a class without clips.
            VideoError: for a clip that cannot be read.
        """
        if len(support) < 2 or not all(support.values()):
            raise ValueError(f"support needs two classes or more with a clip each, found {dict(support)}.")
        names = tuple(support)
        labelled = [(os.fspath(clip), label) for label, clips in enumerate(support.values()) for clip in clips]
        files = list(dict.fromkeys([clip for clip, _ in labelled] + [os.fspath(query) for query in queries]))
        number = {file: i for i, file in enumerate(files)}
        bank = self._encode(files, dict(labelled), names)
        episode = Episode(
            support=torch.tensor([number[clip] for clip, _ in labelled]),
            query=torch.tensor([number[os.fspath(query)] for query in queries]),
            support_labels=torch.tensor([label for _, label in labelled]),
            query_labels=torch.zeros(len(queries), dtype=torch.int64),
            classes=torch.arange(len(names)),
            class_names=names,
            number=torch.tensor(0),
        ).to(self.learner.device)
        probabilities = score_episodes(bank, Episode.stack([episode])).probabilities[0]
        return [ranked(os.fspath(query), names, row) for query, row in zip(queries, probabilities, strict=True)]

    def _encode(self, files: list[str], labels: Mapping[str, int], names: tuple[str, ...]) -> VideoBank:
        """Every file once; a query's class is unknown and its support parts are never looked up."""
        bank = VideoBank(self.learner.method)
        absolute = tuple(os.path.abspath(file) for file in files)
        classes = torch.tensor([labels.get(file, 0) for file in files])
        source = self.data.clips(Split("predict", names, absolute, tuple(classes.tolist()), Path()))
        for videos in torch.arange(len(files)).split(self.data.video_batch):
            clips = torch.stack([source.clip(video) for video in videos.tolist()])
            bank.add(VideoBatch(videos, clips, classes[videos], names).to(self.learner.device))
        return bank


def load(run: str | os.PathLike[str], checkpoint: str = "best") -> Predictor:
    """The method of a run folder with its trained weights, and the way its clips are read.

    Args:
        run: a folder that ``fsar fit --run`` wrote.
        checkpoint: "best" or "last".

    Raises:
        FileNotFoundError: when the folder holds no configuration or no such checkpoint.
        ValueError: when the checkpoint does not fit, such as other frozen weights than it was trained on.
    """
    config, weights = Path(run, "config.yaml"), Path(run, "checkpoints", f"{checkpoint}.ckpt")
    for path in (config, weights):
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist: {run} is not the folder of a finished `fsar fit --run`.")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Learner, "model")
    parser.add_class_arguments(EpisodicDataModule, "data")
    for key in ("seed_everything", "trainer", "run", "ckpt_path", "weights_only"):
        parser.add_argument(f"--{key}", default=None)
    parsed = parser.parse_path(str(config))
    with torch.random.fork_rng():
        torch.manual_seed(int(parsed.seed_everything or 0))  # weights that are random on purpose come out as in the fit
        parts = parser.instantiate(parsed)
    stored = torch.load(weights, map_location="cpu", weights_only=True)
    check_checkpoint(parts.model, stored)
    parts.model.load_state_dict(stored["state_dict"], strict=False)
    return Predictor(parts.model, parts.data)
