"""Why an answer: the same clip backwards, shuffled, stood still, and without each of its frames; and what each frame is
called.

Every variant is a clip of as many frames that is encoded and compared as the clip itself is. What is said is what the
method answers, and no account of how.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from episodes.clips import Streams
from episodes.episode import VideoBatch
from episodes.splits import Split
from fsar.encoders.tower.heat import class_heat
from fsar.inference.answer import rank_classes
from fsar.inference.asked import PathLike, label_clips
from fsar.inference.predictor import Predictor
from fsar.inference.support_set import SupportSet
from fsar.objectives import SubCaptionGrouping, WordMap
from fsar.objectives.dreamlip import monotone_path

SHUFFLES = 3


class Stretch(NamedTuple):
    """Frames that show a step, counted from 0, the last one included.

    >>> str(Stretch("the door stands open", 4, 7))
    '5-8 the door stands open'
    """

    step: str
    first: int
    last: int

    @property
    def width(self) -> int:
        """Number of its frames."""
        return self.last - self.first + 1

    def __str__(self) -> str:
        frames = f"{self.first + 1}-{self.last + 1}" if self.width > 1 else f"{self.first + 1}"
        return f"{frames} {self.step}"


@dataclass(frozen=True)
class Variant:
    """What a changed clip was taken for.

    Args:
        what: was done to it.
        ranking: (class, number), the likeliest first.
    """

    what: str
    ranking: tuple[tuple[str, float], ...]

    @property
    def name(self) -> str:
        """The likeliest class."""
        return self.ranking[0][0]

    def number_of(self, name: str) -> float:
        """The number of a class."""
        return dict(self.ranking)[name]


@dataclass(frozen=True)
class Explanation:
    """Of one answer.

    Args:
        name: the class that the clip was taken for.
        lead: of that class over the next, logits.
        variants: the clip as it is, backwards, shuffled (the mean of three), and its middle frame alone.
        frames: ``(t)`` how much of the lead goes without each frame, which the one before stands in for.
        words: ``(n t)`` by class, the share of each frame that the class names alone give it; None without a text tower
            that the frames can be compared with.
        names: of the classes, the rows of ``words``.
        steps: of the class, over the frames; nothing for a run that was not trained with steps.
        shown: ``(t)`` by word of the classes, how likely each frame shows it, by the run's WordMap if it has one.
        heat: ``(t rows columns)``, Grad-CAM of the class, see :func:`fsar.encoders.tower.heat.class_heat`.
    """

    name: str
    lead: float
    variants: tuple[Variant, ...]
    frames: tuple[float, ...]
    words: Tensor | None
    names: tuple[str, ...]
    steps: tuple[Stretch, ...] = ()
    shown: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    heat: Tensor | None = None

    @property
    def surest(self) -> float:
        """The largest of :attr:`shown`, against which it is drawn."""
        return max((max(row) for row in self.shown.values()), default=1.0) or 1.0

    @property
    def said_of_heat(self) -> str:
        """What :attr:`heat` is, in words."""
        return f"What speaks for {self.name}: Grad-CAM of the last map, the hottest place of the clip as 1"

    def record(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {
            "variants": {one.what: {name: round(x, 6) for name, x in one.ranking} for one in self.variants},
            "lead": round(self.lead, 6),
            "lead_lost_without_frame": [round(x, 6) for x in self.frames],
            "class_names_by_frame": None
            if self.words is None
            else dict(zip(self.names, self.words.double().numpy().round(4).tolist(), strict=True)),
            "steps": [one._asdict() for one in self.steps],
            "words_by_frame": {word: [round(x, 4) for x in row] for word, row in self.shown.items()},
            "class_heat": None if self.heat is None else self.heat.double().numpy().round(3).tolist(),
        }


def without_frame(frames: Tensor, i: int) -> Tensor:
    """``(t c h w)`` with the frame before in the place of frame ``i``; the second in that of the first."""
    order = torch.arange(len(frames))
    order[i] = i - 1 if i else min(1, len(frames) - 1)
    return frames[order]


def make_variants(frames: Tensor) -> dict[str, list[Tensor]]:
    """Clips ``(t c h w)`` by what was done; a list of several is one variant, whose answers are averaged."""
    t, dice = len(frames), torch.Generator().manual_seed(0)
    return {
        "as it is": [frames],
        "backwards": [frames.flip(0)],
        "shuffled": [frames[torch.randperm(t, generator=dice)] for _ in range(SHUFFLES)],
        "its middle frame alone": [frames[[t // 2] * t]],
        **{f"without frame {i + 1}": [without_frame(frames, i)] for i in range(t)},
    }


@torch.no_grad()
def explain(predictor: Predictor, support: Mapping[str, PathLike | Sequence[PathLike]], query: PathLike) -> Explanation:
    """Ask again about one query of :meth:`fsar.inference.Predictor.predict`.

    Args:
        predictor: the method.
        support: as it was asked.
        query: likewise, one clip.

    Raises:
        ValueError, VideoError: as ``predict`` does; for a method that reads more of a clip than its frames.
    """
    if predictor.data.joints is not None:
        raise ValueError("--explain changes the frames of a clip and not its joints: leave out data.joints.")
    names, labels = tuple(support), label_clips(support)
    learner, device = predictor.learner, predictor.learner.device
    split = Split("explain", names, tuple(labels), tuple(labels.values()), Path())
    bank, _ = predictor.encode(split, False, ())
    bank.keep = None  # no cache is to know what is made up here
    frames = torch.from_numpy(predictor.frames(query)).movedim(-1, -3)
    made = make_variants(frames)
    clips = torch.stack([clip for some in made.values() for clip in some])
    numbers = len(labels) + torch.arange(len(clips))
    for some in torch.arange(len(clips)).split(max(1, predictor.data.video_batch)):
        batch = VideoBatch(numbers[some], Streams(frames=clips[some]), torch.zeros_like(some), names)
        bank.add(batch.to(device))
    bank.close()
    shown = torch.tensor(list(labels.values()))
    asked = SupportSet(bank, torch.arange(len(shown)), shown, names, device=device)
    logits = asked.ask(numbers).logits[0].float().cpu()  # (variants n)
    calibration = predictor.calibration or asked.calibrate()
    shares = (logits / (calibration.temperature if calibration else 1.0)).softmax(-1)
    best = int(logits[0].argmax())
    lead = logits[:, best] - logits.index_fill(1, torch.tensor([best]), -torch.inf).amax(1)
    sizes = [len(some) for some in made.values()]
    means = [rows.mean(0) for rows in shares.split(sizes)]
    said = [Variant(what, rank_classes(names, mean)) for what, mean in zip(made, means, strict=True)]
    lost = (lead[0] - lead[-len(frames) :]).tolist()
    words = name_frames(learner.method, frames, names)
    steps = follow_steps(learner, frames, names[best])
    told, by_word = tuple(said[: -len(frames)]), map_words(learner, frames, names)
    heat = class_heat(learner.method.encoder, frames.to(device), lambda clip: asked.logits_of(clip)[best])
    return Explanation(names[best], float(lead[0]), told, tuple(lost), words, names, steps, by_word, heat)


def name_frames(method: Any, frames: Tensor, names: Sequence[str]) -> Tensor | None:
    """``(n t)``: what the class names alone say of each frame ``(t c h w)``, shares over the classes; None where text
    and frames lie in no common space."""
    encoder = method.encoder
    if encoder.text is None:
        return None
    weights = next(encoder.parameters())
    found = encoder.features(Streams(frames=frames.to(weights.device)))
    seen, text = found.get("tower", found["frames"]), encoder.text(names)
    if text.shape[-1] != seen.shape[-1]:
        return None
    cosines = normalize(text, dim=-1) @ normalize(seen, dim=-1).mT
    shares: Tensor = (100 * cosines.float()).softmax(0)
    return shares.cpu()


@torch.no_grad()
def follow_steps(learner: Any, frames: Tensor, name: str) -> tuple[Stretch, ...]:
    """The steps of a class over frames ``(t c h w)`` as the learner's encoder sees them, in order; nothing where no
    objective of it reads steps, nothing is said of the class, or it has more steps than there are frames."""
    for each in learner.objectives:
        if not isinstance(each, SubCaptionGrouping) or each.kinds != ("step",):
            continue
        steps = [said.text for said in each.texts.said_of(name) if said.kind == "step"]
        if not 0 < len(steps) <= len(frames):
            return ()
        encoder = learner.method.encoder
        seen = encoder.features(Streams(frames=frames.to(learner.device)))["frames"]
        texts = each.texts.features(encoder.text, [name], each.kinds).features[0].to(seen.device)
        return cut_path(normalize(texts.float(), dim=-1) @ normalize(seen.float(), dim=-1).mT, steps)
    return ()


@torch.no_grad()
def map_words(learner: Any, frames: Tensor, names: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """``(t)`` by word of the classes: how likely each of the frames ``(t c h w)`` shows it, by the learner's WordMap;
    nothing where it was trained with none."""
    for each in learner.objectives:
        if not isinstance(each, WordMap):
            continue
        words = list(dict.fromkeys(word for name in names for word in each.list_words(name)))
        encoder = learner.method.encoder
        seen = normalize(encoder.features(Streams(frames=frames.to(learner.device)))["frames"].float(), dim=-1)
        texts = normalize(encoder.text.encode(words).float(), dim=-1).to(seen.device)
        rows = each.map(seen, texts).sigmoid().mT.cpu().tolist()
        return {word: tuple(row) for word, row in zip(words, rows, strict=True)}
    return {}


def draw_words(shown: Mapping[str, tuple[float, ...]]) -> list[str]:
    """A line for each word, a digit for each frame: tenths of the likeliest of all.

    >>> draw_words({"sit": (0.1, 0.2), "wave": (0.0, 0.05)})
    ['sit   59', 'wave  02']
    """
    width = max(map(len, shown), default=0)
    most = max((max(row) for row in shown.values()), default=1.0) or 1.0
    return [f"{word:{width}}  {''.join(str(min(9, int(10 * x / most))) for x in row)}" for word, row in shown.items()]


def cut_path(similarity: Tensor, steps: list[str]) -> tuple[Stretch, ...]:
    """The best path through the similarities ``(m t)`` of steps and frames, cut where the step changes.

    Examples:
        >>> similarity = torch.tensor([[0.9, 0.8, 0.1], [0.1, 0.2, 0.7]])
        >>> [str(found) for found in cut_path(similarity, ["it is shut", "it stands open"])]
        ['1-2 it is shut', '3 it stands open']
    """
    found = []
    for step, places in groupby(enumerate(monotone_path(similarity).tolist()), key=lambda pair: pair[1]):
        numbers = [place for place, _ in places]
        found.append(Stretch(steps[step], numbers[0], numbers[-1]))
    return tuple(found)
