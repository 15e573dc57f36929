"""What the data side and the model side share: episodes of clips, episodes of video numbers, and batches of videos."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from episodes.clips import Clips, as_clips, combined
from episodes.views import Views

T = TypeVar("T", bound="Task")
V = TypeVar("V", bound="_Held")


class _Held:
    """A dataclass of tensors and clips."""

    def each(self: V, function: Callable[[Tensor], Tensor]) -> dict[str, Any]:
        """The fields, with ``function`` applied to every tensor of them."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {
            name: function(value)
            if isinstance(value, Tensor)
            else value.map(function)
            if isinstance(value, Clips)
            else value
            for name, value in values.items()
        }

    def to(self: V, device: torch.device | str, non_blocking: bool = False) -> V:
        """The same on ``device``. Lightning calls this."""
        return self._moved(lambda x: x.to(device, non_blocking=non_blocking))

    def pin_memory(self: V) -> V:
        """The same in page-locked memory. The data loader calls this."""
        return self._moved(Tensor.pin_memory)

    def _moved(self: V, move: Callable[[Tensor], Tensor]) -> V:
        """The same values elsewhere; not checked again, because reading them would wait for an accelerator."""
        moved = copy.copy(self)
        for name, value in self.each(move).items():
            object.__setattr__(moved, name, value)
        return moved


@dataclass(frozen=True, eq=False)
class Task(_Held):
    """The labels and classes of an N-way K-shot episode, or of a batch of them along any leading axes ``...``.

    It is all that scoring reads of an episode; :class:`Episode` and :class:`IndexEpisode` say what the clips are.

    Args:
        support: the labelled clips; there are ``s``, which is ``n k`` when every class has ``k`` of them.
        query: the ``q`` clips to name.
        support_labels: ``(... s)`` int64 in ``0..n-1``; every class of the episode has at least one support clip.
        query_labels: ``(... q)`` int64 in ``0..n-1``.
        classes: ``(... n)`` int64, the split-wide class id of each label: ``classes[..., label]``.
        class_names: the ``C`` names of the whole split; ``class_names[class id]`` is what a text encoder reads.
        number: ``(...)`` int64, the episode's number in its seeded list, so that an error or a result can name it.

    Raises:
        ValueError: when shapes, dtypes or labels contradict each other; the message says what was found.
    """

    support: Any
    query: Any
    support_labels: Tensor
    query_labels: Tensor
    classes: Tensor
    class_names: tuple[str, ...]
    number: Tensor

    def __post_init__(self) -> None:
        batch = self.classes.shape[:-1]
        for role, labels in (("support", self.support_labels), ("query", self.query_labels)):
            if labels.shape[:-1] != batch or labels.dim() != len(batch) + 1:
                raise ValueError(
                    f"Episode.{role}_labels has shape {tuple(labels.shape)}, but classes {tuple(self.classes.shape)} "
                    f"asks for {tuple(batch)} followed by one axis of clips."
                )
            clips: Clips | Tensor = getattr(self, role)
            for name, value in clips.items() if isinstance(clips, Clips) else [("numbers", clips)]:
                if value.shape[: labels.dim()] != labels.shape:
                    raise ValueError(
                        f"Episode.{role} has {name} of shape {tuple(value.shape)}, which must begin with the shape of "
                        f"its labels {tuple(labels.shape)}."
                    )
            if labels.dtype != torch.int64:
                raise ValueError(f"Episode.{role}_labels must be int64, found {labels.dtype}.")
            if labels.numel() and (int(labels.min()) < 0 or int(labels.max()) >= self.ways):
                raise ValueError(
                    f"Episode.{role}_labels must lie in 0..{self.ways - 1} (it has {self.ways} classes), "
                    f"found {int(labels.min())}..{int(labels.max())}."
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

    def map(self: T, function: Callable[[Tensor], Tensor]) -> T:
        """The same episode with ``function`` applied to every tensor (``lambda x: x[None]``); checked again."""
        return type(self)(**self.each(function))

    @classmethod
    def stack(cls: type[T], episodes: Sequence[T]) -> T:
        """Episodes of equal shapes from one split -> one batch with a new first axis ``e``."""
        first = episodes[0]
        if any(e.class_names != first.class_names for e in episodes):
            raise ValueError("Episode.stack: the episodes come from different splits (their class_names differ).")
        made: dict[str, Any] = {}
        for name, value in vars(first).items():
            if not isinstance(value, tuple):
                values = [getattr(e, name) for e in episodes]
                made[name] = combined(torch.stack, values) if isinstance(value, Clips) else torch.stack(values)
        return replace(first, **made)

    def __repr__(self) -> str:
        shown = {k: tuple(v.shape) if isinstance(v, Tensor) else v for k, v in vars(self).items() if k != "class_names"}
        facts = ", ".join(f"{k}={v}" for k, v in shown.items())
        return f"{type(self).__name__}({facts}, {len(self.class_names)} class names)"


@dataclass(frozen=True, eq=False, repr=False)
class Episode(Task):
    """A task with its clips: ``support`` and ``query`` are :class:`~episodes.clips.Streams`, such as
    ``frames (... s t c h w)``, or what an encoder gave for them, such as ``frames (... s t d)``. A bare tensor is taken
    for their ``frames``: pixels when it is uint8, features when it is floating point.

    The other fields are those of :class:`Task`.

    Raises:
        ValueError: also when support and query clips are not of one kind, names and shapes.
    """

    support: Clips
    query: Clips

    def __post_init__(self) -> None:
        for role in ("support", "query"):
            object.__setattr__(self, role, as_clips(getattr(self, role), f"Episode.{role}"))
        super().__post_init__()
        axes = self.classes.dim()
        found = [(type(clips).__name__, clips.trailing(axes)) for clips in (self.support, self.query)]
        if found[0] != found[1]:
            told = [f"{kind} with {', '.join(f'{n} {s}' for n, s in shapes.items())}" for kind, shapes in found]
            raise ValueError(f"support clips are {told[0]} and query clips {told[1]}; they must agree.")


@dataclass(frozen=True, eq=False, repr=False)
class IndexEpisode(Task):
    """A task whose clips are numbers of videos in a split: ``support (... s)`` and ``query (... q)``, int64."""

    support: Tensor
    query: Tensor


@dataclass(frozen=True, eq=False)
class VideoBatch(_Held):
    """Some videos of a split, each once: what an evaluation encodes before it scores any episode.

    Args:
        videos: ``(b)`` int64 numbers of the videos in their split, which index episodes refer to.
        clips: of the ``b`` videos, as in :class:`Episode`.
        classes: ``(b)`` int64 split-wide class ids.
        class_names: the ``C`` names of the split.
        views: of every video; then its ``m`` views have an axis of their own behind that of the videos, ``(b m *)``.
    """

    videos: Tensor
    clips: Clips
    classes: Tensor
    class_names: tuple[str, ...]
    views: Views | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "clips", as_clips(self.clips, "VideoBatch.clips"))
