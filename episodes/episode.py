"""The one type that the data side and the model side share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Episode:
    """An N-way K-shot task, or a batch of them along any leading axes ``...``.

    What stands behind the clip axis is open: pixels ``(t c h w)``, tokens ``(t p w)`` or features ``(t d)`` from a
    feature store, or nothing at all when ``support`` and ``query`` are the numbers of videos in a split.

    Args:
        support: ``(... s *clip)``, the labelled clips; ``s`` is ``n k`` when every class has ``k`` of them.
        query: ``(... q *clip)``, the clips to name.
        support_labels: ``(... s)`` int64 in ``0..n-1``; every class of the episode has at least one support clip.
        query_labels: ``(... q)`` int64 in ``0..n-1``.
        classes: ``(... n)`` int64, the split-wide class id of each label: ``classes[..., label]``.
        class_names: the ``C`` names of the whole split; ``class_names[class id]`` is what a text encoder reads.
        number: ``(...)`` int64, the episode's number in its seeded list, so that an error or a result can name it.

    Raises:
        ValueError: when shapes, dtypes or labels contradict each other; the message says what was found.
    """

    support: Tensor
    query: Tensor
    support_labels: Tensor
    query_labels: Tensor
    classes: Tensor
    class_names: tuple[str, ...]
    number: Tensor

    def __post_init__(self) -> None:
        batch = self.classes.shape[:-1]
        for role, clips, labels in (
            ("support", self.support, self.support_labels),
            ("query", self.query, self.query_labels),
        ):
            if labels.shape[:-1] != batch or labels.dim() != len(batch) + 1:
                raise ValueError(
                    f"Episode.{role}_labels has shape {tuple(labels.shape)}, but classes {tuple(self.classes.shape)} "
                    f"asks for {tuple(batch)} followed by one axis of clips."
                )
            if clips.shape[: labels.dim()] != labels.shape:
                raise ValueError(
                    f"Episode.{role} has shape {tuple(clips.shape)}, which must begin with the shape of its labels "
                    f"{tuple(labels.shape)}."
                )
            if labels.dtype != torch.int64:
                raise ValueError(f"Episode.{role}_labels must be int64, found {labels.dtype}.")
            if labels.numel() and (int(labels.min()) < 0 or int(labels.max()) >= self.ways):
                raise ValueError(
                    f"Episode.{role}_labels must lie in 0..{self.ways - 1} (it has {self.ways} classes), "
                    f"found {int(labels.min())}..{int(labels.max())}."
                )
        if self.support.shape[self.support_labels.dim() :] != self.query.shape[self.query_labels.dim() :]:
            raise ValueError(
                f"support clips have shape {tuple(self.support.shape[self.support_labels.dim() :])} and query clips "
                f"{tuple(self.query.shape[self.query_labels.dim() :])}; they must agree."
            )
        counts = torch.zeros(self.classes.shape, dtype=torch.int64, device=self.classes.device)
        counts.scatter_add_(-1, self.support_labels, torch.ones_like(self.support_labels))
        if bool((counts == 0).any()):
            raise ValueError("Episode: every class needs at least one support clip; a label has none.")
        if self.classes.numel() and (int(self.classes.min()) < 0 or int(self.classes.max()) >= len(self.class_names)):
            raise ValueError(
                f"Episode.classes must index the {len(self.class_names)} class_names, "
                f"found {int(self.classes.min())}..{int(self.classes.max())}."
            )
        if self.number.shape != batch:
            raise ValueError(f"Episode.number has shape {tuple(self.number.shape)}, expected {tuple(batch)}.")

    @property
    def ways(self) -> int:
        """Number of classes ``n``."""
        return self.classes.shape[-1]

    @property
    def support_classes(self) -> Tensor:
        """``(... s)`` split-wide class id of every support clip."""
        return self.classes.gather(-1, self.support_labels)

    @property
    def query_classes(self) -> Tensor:
        """``(... q)`` split-wide class id of every query clip."""
        return self.classes.gather(-1, self.query_labels)

    @property
    def clip_classes(self) -> Tensor:
        """``(... s+q)`` split-wide class id of every clip, supports first."""
        return torch.cat([self.support_classes, self.query_classes], dim=-1)

    @property
    def clip_labels(self) -> Tensor:
        """``(... s+q)`` label of every clip, supports first."""
        return torch.cat([self.support_labels, self.query_labels], dim=-1)

    def map(self, function: Callable[[Tensor], Tensor]) -> Episode:
        """The same episode with ``function`` applied to every tensor (``lambda x: x[None]``); checked again."""
        tensors: dict[str, Any] = {k: function(value) for k, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Episode:
        """The same episode on ``device``. Lightning calls this."""
        return self._moved(lambda x: x.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Episode:
        """The same episode in page-locked memory. The data loader calls this."""
        return self._moved(Tensor.pin_memory)

    def _moved(self, move: Callable[[Tensor], Tensor]) -> Episode:
        """The same values elsewhere; not checked again, because reading them would wait for an accelerator."""
        episode = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                object.__setattr__(episode, name, move(value))
        return episode

    @classmethod
    def stack(cls, episodes: Sequence[Episode]) -> Episode:
        """Episodes of equal shapes from one split -> one batch with a new first axis ``e``."""
        first = episodes[0]
        if any(e.class_names != first.class_names for e in episodes):
            raise ValueError("Episode.stack: the episodes come from different splits (their class_names differ).")
        names = [name for name, value in vars(first).items() if isinstance(value, Tensor)]
        tensors: dict[str, Any] = {name: torch.stack([getattr(e, name) for e in episodes]) for name in names}
        return replace(first, **tensors)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{k}={tuple(v.shape)}" for k, v in vars(self).items() if isinstance(v, Tensor))
        return f"Episode({shapes}, {len(self.class_names)} class names)"


@dataclass(frozen=True, eq=False)
class VideoBatch:
    """Some videos of a split, each once: what an evaluation encodes before it scores any episode.

    Args:
        videos: ``(b)`` int64 numbers of the videos in their split, which index episodes refer to.
        clips: ``(b t c h w)`` pixels, or ``(b t p w)`` tokens or ``(b t d)`` features from a feature store.
        classes: ``(b)`` int64 split-wide class ids.
        class_names: the ``C`` names of the split.
    """

    videos: Tensor
    clips: Tensor
    classes: Tensor
    class_names: tuple[str, ...]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> VideoBatch:
        """The same batch on ``device``. Lightning calls this."""
        videos, clips, classes = (
            x.to(device, non_blocking=non_blocking) for x in (self.videos, self.clips, self.classes)
        )
        return VideoBatch(videos, clips, classes, self.class_names)

    def pin_memory(self) -> VideoBatch:
        """The same batch in page-locked memory. The data loader calls this."""
        return VideoBatch(self.videos.pin_memory(), self.clips.pin_memory(), self.classes, self.class_names)
