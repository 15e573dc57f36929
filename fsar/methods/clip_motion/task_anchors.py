"""What CLIP-MEI and CLIP-SPM share: motion in front of a clip, a token made of class texts, anchors of the task.

One lineage after CLIP-CPM²C; formulas stand in ``clip_mei.py``. As published both see more than a query and its
support: the anchors and the attention over clips mix all queries of an episode (``published_anchors``), and the
text that stands in for a query's is the mean over the *true* classes of the queries (``published_text``). By default
neither is so: an anchor is made of a class's supports, each query is attended to with it alone, and the text is that of
the support's classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from episodes.clips import Features
from episodes.episode import Task
from fsar.alignment.base import Alignment
from fsar.alignment.otam import OTAM
from fsar.encoders.frame import FrameEncoder
from fsar.functional import CLIP_TOWER_NAMES, cross_entropy, rename_released
from fsar.method import AlignedMethod, Parts, Scores
from fsar.shots import shot_mean
from fsar.temporal.frame_motion import FrameMotion
from fsar.temporal.modulation import MODULATION_NAMES, Gates, Modulation, squared_distance
from fsar.temporal.transformer import TemporalTransformer


@dataclass
class TaskScores(Scores):
    """Scores with what the loss needs beside them in training: M, and how far tokens and clips are from their true
    ones."""

    motion: Tensor | None = None
    text_distance: Tensor | None = None
    consistency: Tensor | None = None


def class_anchors(support: Tensor, labels: Tensor, ways: int, queries: Tensor | None = None) -> Tensor:
    """``A_c``: the mean of a class's supports, and of all queries where they are given.

    Args:
        support: ``(... s t d)``.
        labels: ``(... s)``.
        ways: n.
        queries: ``(... q t d)``.

    Returns:
        ``(... n t d)``.
    """
    mean = shot_mean(support, labels, ways)
    if queries is None:
        return mean
    count = one_hot(labels, ways).sum(-2)[..., None, None]  # (... n 1 1)
    return (count * mean + queries.sum(-3, keepdim=True)) / (count + queries.shape[-3])


def attend_over_clips(block: nn.Module, anchors: Tensor, clips: Tensor) -> tuple[Tensor, Tensor]:
    """Anchors ``(... a t d)`` and clips ``(... v t d)`` that saw each other, frame by frame."""
    together = torch.cat([anchors, clips], dim=-3).transpose(-3, -2)
    seen: Tensor = block(together).transpose(-3, -2)
    return seen[..., : anchors.shape[-3], :, :], seen[..., anchors.shape[-3] :, :, :]


class TaskAnchorMethod(AlignedMethod):
    """Base of both; a subclass says its gates, its texts and its losses.

    Args:
        encoder: an image-text encoder.
        alignment: of query and prototype frames, twice; OTAM as in CLIP-FSAR when not given.
        gates: how token and frames are mixed, ``x + 0.1 τ`` without.
        heads: of both attentions.
        head_width: channels of a head.
        hidden: width of the feed-forward parts.
        auxiliary_weight: of what the loss adds to the cross-entropy.
        tasks: what the summed cross-entropy is divided by.
        published_anchors: anchors and attention with all queries of the episode.
        published_text: the text of the queries' true classes.
        separate_passes: encode support and query clips in two passes while training.

    Raises:
        ValueError: for an alignment that merges shots itself.
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        alignment: Alignment | None,
        gates: Gates | None,
        heads: int,
        head_width: int,
        hidden: int,
        auxiliary_weight: float,
        tasks: int,
        published_anchors: bool,
        published_text: bool,
        separate_passes: bool,
    ) -> None:
        super().__init__(encoder, OTAM() if alignment is None else alignment)
        if self.alignment.merges_shots:
            raise ValueError(
                f"{type(self).__name__} compares the means of shots, but {type(self.alignment).__name__} compares all "
                "shots of a class at once. Use an alignment such as fsar.alignment.OTAM."
            )
        d = encoder.channels
        self.averages_shots = False  # the attention over clips sees every one
        self.modulation = Modulation(d, heads, head_width, hidden, gates)
        self.task = TemporalTransformer(d, heads=heads, hidden=hidden, head_width=head_width)
        self.motion = FrameMotion(d)
        self.token = nn.Sequential(
            nn.Linear(d, hidden), nn.GELU(), nn.Dropout(0.05), nn.Linear(hidden, d), nn.Dropout(0.05)
        )
        self.motion_weight = nn.Parameter(torch.tensor(1.0))  # ω
        self.auxiliary_weight, self.tasks = auxiliary_weight, tasks
        self.published_anchors, self.published_text = published_anchors, published_text
        self.sees_other_queries = published_anchors or published_text
        self.reads_query_labels = published_text
        self.separate_passes = separate_passes

    def query_parts(self, features: Features) -> Parts:
        """The frames as they are: what stands in front of them is the episode's."""
        return {"frames": features["frames"]}

    def support_parts(self, features: Features, text: Tensor) -> Parts:
        parts = {"frames": self.modulation(features["frames"], text)[1]}
        return {**parts, "features": features["frames"]} if self.training else parts

    def episode_text(self, episode: Task, text: Tensor) -> Tensor:
        """ē ``(... d)``: the mean text of the episode's classes."""
        return text[episode.classes].mean(-2)

    def query_token(self, frames: Tensor, text: Tensor) -> Tensor:
        """``τ̂ = FFN(ē · mean_{t,d} x)`` of clips ``(... q t d)`` and a text ``(... d)``: ``(... q d)``."""
        token: Tensor = self.token(text.unsqueeze(-2) * frames.mean((-2, -1)).unsqueeze(-1))
        return token

    def task_similarity(self, support: Tensor, query: Tensor, episode: Task) -> Tensor:
        """``-D₂`` ``(... q n)`` of modulated supports ``(... s t d)`` and queries ``(... q t d)``."""
        labels, ways = episode.support_labels, episode.ways
        anchors = class_anchors(support, labels, ways, query if self.published_anchors else None)
        query_anchor = anchors.mean(-3, keepdim=True)  # (... 1 t d)
        class_anchor, support = attend_over_clips(self.task, anchors, support)
        if self.published_anchors:
            query_anchor, query = attend_over_clips(self.task, query_anchor, query)
        else:
            each = query.unsqueeze(-3)  # (... q 1 t d): a query is attended to with the anchor alone
            alone = attend_over_clips(self.task, query_anchor.unsqueeze(-4).expand_as(each), each)
            query_anchor, query = (x[..., 0, :, :] for x in alone)
        prototypes = shot_mean(support, labels, ways)
        by_clip: Tensor = self.alignment(query, prototypes)
        by_anchor: Tensor = self.alignment(query_anchor, class_anchor)  # (... 1 n) with all queries, (... q n) without
        return by_clip + by_anchor

    def compared(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> tuple[Tensor, Tensor]:
        """What D₁ compares: modulated queries and the mean of modulated supports."""
        frames = query["frames"]
        changed = self.modulation(frames, self.query_token(frames, self.episode_text(episode, text)))[1]
        return changed, shot_mean(support["frames"], episode.support_labels, episode.ways)

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> TaskScores:
        frames = query["frames"]
        token = self.query_token(frames, self.episode_text(episode, text))
        front, changed = self.modulation(frames, token)
        prototypes = shot_mean(support["frames"], episode.support_labels, episode.ways)
        logits = self.alignment(changed, prototypes) / 2 + self.task_similarity(support["frames"], changed, episode)
        if not self.training:
            return TaskScores(logits, logits)
        motion = self.motion_distance(support["features"]) + self.motion_distance(frames)
        return TaskScores(logits, logits, None, motion, *self.distances(frames, token, front, changed, episode, text))

    def motion_distance(self, frames: Tensor) -> Tensor:
        """M of clips ``(... v t d)``: how far the motion of a clip that was shown its motion is from what became of
        it."""
        front, changed = self.modulation(frames, self.motion(frames).mean(-2))
        return squared_distance(self.motion(changed).mean(-2), front, frames.dim() - 2)

    def distances(
        self, frames: Tensor, token: Tensor, front: Tensor, changed: Tensor, episode: Task, text: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        """How far tokens are from the true texts, and clips with them from clips with those; None twice without."""
        return None, None

    def loss(self, scores: Scores, episode: Task) -> dict[str, Tensor]:
        """``CE_sum / tasks + auxiliary_weight · (text distance + consistency + ω M)``."""
        labels = episode.query_labels
        few_shot = cross_entropy(scores.few_shot, labels) * labels.shape[-1]  # summed over an episode's queries
        if not isinstance(scores, TaskScores) or scores.motion is None:
            return {"loss": few_shot / self.tasks}
        named = {"motion_distance": scores.motion}
        if scores.text_distance is not None and scores.consistency is not None:
            named |= {"text_distance": scores.text_distance, "consistency": scores.consistency}
        auxiliary = self.motion_weight * scores.motion + sum(x for n, x in named.items() if n != "motion_distance")
        losses = {"few_shot_loss": few_shot, "auxiliary": auxiliary, **named}
        return {"loss": few_shot / self.tasks + self.auxiliary_weight * auxiliary, **losses}


TASK_NAMES: dict[str, str | None] = {
    **MODULATION_NAMES,
    **{
        pattern.replace("context2", "context1"): ours.replace("modulation.block", "task")
        for pattern, ours in MODULATION_NAMES.items()
        if ours is not None and "context2" in pattern
    },
    r"(?:module\.)?motion_conv1\.": "motion.first.",
    r"(?:module\.)?motion_conv2\.": "motion.second.",
    r"(?:module\.)?token_tr\.mlp\.net\.": "token.",
    r"(?:module\.)?mo_alpha1$": "motion_weight",
    r"(?:module\.)?scale$": None,  # made and never used
    **CLIP_TOWER_NAMES,
}
"""Released names and ours, for :func:`fsar.functional.rename_released`."""


def rename_tasks(state: dict[str, Tensor], expected: str) -> dict[str, Tensor]:
    """Released weights under our names; the weight of the motion, which has an axis there, is a number."""
    renamed = rename_released(state, TASK_NAMES, expected)
    return {name: x.reshape(()) if name == "motion_weight" else x for name, x in renamed.items()}
