"""A method, trained or not, asked from Python: which of these classes does this clip show?

``fsar.load("runs/mine").predict({"waving": ["a.mp4"], "jumping": ["b.mp4", "c.mp4"]}, ["query.mp4"])``
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from episodes.clips import Clips, combined
from episodes.datamodule import EpisodicDataModule
from episodes.dataset import ClipDataset, collate_videos
from episodes.episode import IndexEpisode, VideoBatch
from episodes.features import StoredClips, open_clips
from episodes.features.cache import make_room, open_cache, told
from episodes.imported import is_imported
from episodes.splits import Split
from episodes.video import VideoError, time_limit
from fsar.alignment import OTAM
from fsar.alignment.maps import FrameMap, alignment_maps, frames_of_a_step
from fsar.build import build, device_of, load_weights
from fsar.encoders.weights.by_name import USUAL, encoder_by_name, options_by_name, split_name
from fsar.encoders.weights.options import find_file
from fsar.evaluation.bank import VideoBank, cache_key, feature_key
from fsar.evaluation.calibration import Calibration
from fsar.inference.answer import Answer, Answers, rank_classes
from fsar.inference.asked import PathLike, as_list, find_itself, label_clips
from fsar.inference.background import ask, learned_background
from fsar.inference.support_set import SupportSet
from fsar.inference.threshold import KEEP, Threshold
from fsar.methods import Prototype
from fsar.objectives import BackgroundText
from fsar.sharing.run import open_run
from fsar.terminal.bars import counting
from fsar.terminal.wrong_use import WrongUse
from fsar.training.learner import Learner


class Predictor:
    """A method and the way its clips are read.

    Args:
        learner: with the method.
        data: whose test frames, test transform and reader are used; its benchmark is not touched.
    """

    def __init__(self, learner: Learner, data: EpisodicDataModule) -> None:
        self.learner = learner.eval()
        self.data = data
        data.follow(learner.framing)
        self.seconds: float | None = 60.0
        """To read one clip; None for no limit. A clip that takes longer is a VideoError."""
        self.keep = KEEP
        """Share of new clips of the classes that must not be called unlike all; smaller is stricter."""
        self.background: BackgroundText | None = None
        """Of a run that learned one (ViLD): it says what is unlike all, in the place of the similarities."""
        self.calibration: Calibration | None = None
        """Of a trained run, as its validation episodes gave it; None finds it from the support clips."""

    @torch.no_grad()
    def predict(
        self,
        support: Mapping[str, PathLike | Sequence[PathLike]],
        queries: PathLike | Sequence[PathLike],
        skip_unreadable: bool = False,
        progress: bool = False,
    ) -> Answers:
        """Name every query clip by the labelled support clips.

        Args:
            support: ``{class name: clips}``, one clip or more of each class; the numbers may differ.
            queries: clips to name, or one.
            skip_unreadable: leave queries that cannot be read out of the answers, whose ``unreadable`` then says which
                and why, instead of stopping at the first.
            progress: show on standard error how far it is, on a terminal.

        Raises:
            ValueError: for fewer than two classes, a class without clips, a clip in two classes, or no query; for a
                method that reads the queries' classes.
            VideoError: for a clip that cannot be read; a support clip always, a query unless it is skipped.
        """
        if self.learner.method.reads_query_labels:
            raise ValueError(
                f"{type(self.learner.method).__name__} was told to read the classes of its queries, which nobody knows "
                "here: leave out the option of its configuration that does so (published_text, published_product)."
            )
        stored = self.data.features is not None and is_imported(Path(self.data.features))
        names, labels, queries = tuple(support), label_clips(support, not stored), as_list(queries)
        if not len(queries):
            raise ValueError("there is no clip to name: give one query or more.")
        files = list(dict.fromkeys([*labels, *map(os.path.abspath, queries)]))  # support first, each file once
        split = Split("predict", names, tuple(files), tuple(labels.get(file, 0) for file in files), Path())
        bank, causes = self.encode(split, progress, errors=(VideoError,) if skip_unreadable else ())
        if broken := [file for file in labels if file in causes]:
            raise causes[broken[0]]
        asked = [query for query in queries if os.path.abspath(query) not in causes]
        absolute = {os.fspath(query): os.path.abspath(query) for query in queries}
        unreadable = {query: causes[path].cause for query, path in absolute.items() if path in causes}
        if not asked:
            return Answers([], unreadable)
        number = {file: i for i, file in enumerate(files)}
        numbers = torch.tensor([number[os.path.abspath(query)] for query in asked])
        shown = torch.tensor(list(labels.values()))
        clips = SupportSet(bank, torch.arange(len(shown)), shown, names, device=self.learner.device)
        scores = clips.ask(numbers)
        rows, threshold = self._unlike_all(clips, numbers, scores.few_shot[0])
        calibration = self.calibration or clips.calibrate()
        logits = scores.logits / (calibration.temperature if calibration else 1.0)
        alike = [dict(zip(names, row, strict=True)) for row in rows]
        found = zip(asked, logits[0].softmax(-1), alike, self._maps(bank, clips.episode(numbers)), strict=True)
        itself = find_itself(labels, files, names)
        answers = [
            Answer(os.fspath(q), rank_classes(names, p), s, threshold, m, calibration, itself.get(os.path.abspath(q)))
            for q, p, s, m in found
        ]
        return Answers(answers, unreadable)

    def _unlike_all(self, clips: SupportSet, numbers: Tensor, few_shot: Tensor) -> tuple[list[list[float]], Threshold]:
        """By what queries, numbers ``(q)`` in the bank, are told from clips of no class: ``[q][n]``, and its bound."""
        if self.background is None:
            return few_shot.tolist(), clips.threshold(self.keep)
        videos = clips.bank.mean_frames(torch.cat([clips.clips, numbers]), self.learner.device)
        tower, labels = self.learner.method.encoder.text, clips.labels
        known, threshold = ask(self.background, tower, videos, labels, clips.names, self.keep)
        return known[len(labels) :, None].expand(-1, clips.ways).tolist(), threshold

    def take_weights(self, checkpoint: Mapping[str, Any]) -> None:
        """The trained weights of a checkpoint, and the background text among them.

        Raises:
            ValueError: when they do not belong to this method.
        """
        load_weights(self.learner, self.data, checkpoint)
        self.background = learned_background(self.learner, checkpoint["state_dict"])

    def frames(self, clip: PathLike) -> np.ndarray:
        """The frames that the method sees of a clip, uint8 ``(t h w c)``."""
        source = self.data.clips(Split("predict", ("",), (os.path.abspath(clip),), (0,), Path()))
        with time_limit(self.seconds):
            pixels = source.clip(0)["frames"]
        return pixels.movedim(-3, -1).numpy()

    def encode(
        self, split: Split, progress: bool, errors: tuple[type[VideoError], ...]
    ) -> tuple[VideoBank, dict[str, VideoError]]:
        """Every file once, and those that gave one of ``errors``. A query's class is unknown: what it would be as a
        support clip is never looked up."""
        source, classes, device = self._source(split), torch.tensor(split.labels), self.learner.device
        cache = open_cache(self.data, split, cache_key(self.learner.method, device), self.learner.contents().names)
        known = {} if cache is None else cache.find_all(range(len(classes)))
        keep = None if cache is None else cache.keep
        bank = VideoBank(self.learner.method, floor=False, keep=keep, means=self.background is not None)
        causes: dict[str, VideoError] = {}
        if known:
            bank.add(collate_videos(split, None, list(known.items())).to(device))
        rest = [video for video in range(len(classes)) if video not in known]
        size = self.data.video_batch
        batches = [rest[start : start + size] for start in range(0, len(rest), size)]
        if cache is not None and known and progress:
            note = told(len(known), len(classes), cache.root)
            Console(stderr=True).print(note, soft_wrap=True, highlight=False, markup=False)
        with counting("encoding", len(rest), hidden=not progress) as tell:
            for videos in batches:
                clips: dict[int, Clips] = {}
                for video in videos:
                    try:
                        with time_limit(self.seconds):
                            clips[video] = source.clip(video)
                    except errors as error:
                        causes[split.paths[video]] = error
                if clips:
                    kept, made = torch.tensor(list(clips)), combined(torch.stack, list(clips.values()))
                    bank.add(VideoBatch(kept, made, classes[kept], split.class_names).to(device))
                tell(len(videos))
        if cache is not None and rest:
            make_room(cache.root)
        return bank, causes

    def _source(self, split: Split) -> ClipDataset | StoredClips:
        """The clips: read from their files, or what was imported of them."""
        clips, root = self.data.clips(split), self.data.features
        if root is None or not is_imported(Path(root)):
            return clips
        return open_clips(Path(root), clips, feature_key(self.learner.method), self.learner.contents())

    def _maps(self, bank: VideoBank, episode: IndexEpisode) -> list[dict[str, FrameMap]]:
        """For each query its alignment with each class, by name; nothing for a method that matches no frames."""
        compared = bank.compared(episode)
        if compared is None:
            return [{} for _ in range(episode.query.shape[-1])]
        metric: Any = self.learner.method.alignment
        found = alignment_maps(metric, compared[0][0], compared[1][0])
        frames, steps = self.data.frames, self.learner.method.encoder.steps(self.data.frames)
        share = frames_of_a_step(frames, steps) if compared[0].shape[-2] == steps else 1
        shown = [[one.with_share(share) for one in row] for row in found]
        return [dict(zip(episode.class_names, row, strict=False)) for row in shown]


def load(
    source: PathLike,
    checkpoint: str = "best",
    overrides: Sequence[str] = (),
    device: str = "auto",
    trust_classes: bool = False,
) -> Predictor:
    """The method of a run, trained or only tested, and the way its clips are read.

    Args:
        source: a folder that ``fsar fit --run`` or ``fsar test --run`` wrote, a folder that ``fsar publish`` wrote,
            or the name ``user/name`` of a Hugging Face repository with the contents of one.
        checkpoint: "best" or "last", of a run folder.
        overrides: options as on the command line, such as ``["--model.alignment", "FrameMean"]``.
        device: "cpu", "cuda", "cuda:1", ..., or "auto" for a GPU when there is one.
        trust_classes: let a published configuration name classes that are not part of this library, whose code then
            runs here. A run folder of your own may always.

    Raises:
        FileNotFoundError: when there is no configuration or no such checkpoint.
        ValueError: when the checkpoint does not fit, such as other frozen weights than it was trained on; for an
            option that does not exist; for a device that is not there.
    """
    run = open_run(source, checkpoint, overrides, trust_classes)
    predictor = configure(["--config", run.config, *overrides, "--ckpt_path", "null"], device)
    if run.checkpoint is not None:
        predictor.take_weights(run.checkpoint)
        if not overrides:  # else these are not the logits that it was fitted to
            predictor.calibration = predictor.learner.calibration
    return predictor


def bare(model: str = "ViT-B-16", pretrained: str | None = USUAL, device: str = "auto") -> Predictor:
    """A frozen encoder alone, nothing trained: frames compared with OTAM, class names unread.

    Args:
        model: what ``ClipEncoder`` takes; or an image network, ``timm:NAME`` or ``torchvision:NAME``.
        pretrained: its weights, see :func:`fsar.encoders.weights.by_name.encoder_by_name`; None leaves them random.
        device: see :func:`load`.
    """
    learner = Learner(Prototype(encoder_by_name(model, pretrained), OTAM()))
    return Predictor(learner.to(device_of(device)), EpisodicDataModule())


def load_named(
    run: str | None,
    config: Sequence[str],
    encoder: str | None,
    checkpoint: str = "best",
    overrides: Sequence[str] = (),
    device: str = "auto",
    trust_classes: bool = False,
) -> Predictor:
    """The method as a command line names it: by a run, by configuration files, or by a frozen encoder.

    Args:
        run: as in :func:`load`.
        config: files of :func:`configure`, when there is no run.
        encoder: if there is neither, ``MODEL[:PRETRAINED]`` or ``timm:NAME[:FILE]`` (``torchvision``) of :func:`bare`;
            or a YAML of an encoder.
        checkpoint: of the run.
        overrides: options for the run or the configuration.
        device: see :func:`load`.
        trust_classes: of the run, see :func:`load`.
    """
    if run:
        return load(run, checkpoint, overrides, device, trust_classes)
    if config:
        return configure([*(part for file in config for part in ("-c", file)), *overrides], device)
    if (file := find_file(encoder or "")) is not None:
        return configure(["-c", "method/prototype", "--model.alignment", "OTAM", "--model.encoder", str(file)], device)
    named = split_name(encoder or "")
    try:
        options_by_name(*named)
    except ValueError as error:
        raise WrongUse(f"--encoder {encoder}: {error}") from error
    return bare(*named, device)


def configure(args: Sequence[str], device: str = "auto") -> Predictor:
    """The method that options as on the command line describe, with the weights of ``--ckpt_path`` if there is one.

    Raises:
        ValueError: for an option or file that cannot be understood; for a device that is not there.
    """
    return Predictor(*build(args, device))
