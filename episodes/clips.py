"""What stands behind the clip axis of an episode: tensors by name, of one of three kinds.

Streams are what was recorded, features are what an encoder gave, and a lower half is what its frozen half gave. Which
of them some clips are is their type; nothing is told by the number of axes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

C = TypeVar("C", bound="Clips")


class Clips(dict[str, Tensor]):
    """Named tensors ``(... *)`` of some clips, all with the same leading axes; the last of these counts the clips.

    Examples:
        >>> some = Features(frames=torch.zeros(5, 8, 4), patches=torch.zeros(5, 8, 9, 6))
        >>> some
        Features(frames=(5, 8, 4), patches=(5, 8, 9, 6))
        >>> some.map(lambda x: x[:2])
        Features(frames=(2, 8, 4), patches=(2, 8, 9, 6))
    """

    def map(self: C, function: Callable[[Tensor], Tensor]) -> C:
        """The same clips with ``function`` applied to every tensor."""
        return type(self)({name: function(value) for name, value in self.items()})

    def to(self: C, device: torch.device | str, non_blocking: bool = False) -> C:
        """The same clips on ``device``. Lightning calls this."""
        return self.map(lambda x: x.to(device, non_blocking=non_blocking))

    def at(self: C, index: Tensor | slice) -> C:
        """Those that an index of the first axis names."""
        return self.map(lambda x: x[index])

    def split_at(self: C, clips: int, axis: int) -> tuple[C, C]:
        """The first so many along an axis that all tensors have, and the others."""
        parts = {name: value.tensor_split([clips], dim=axis) for name, value in self.items()}
        return type(self)({n: x[0] for n, x in parts.items()}), type(self)({n: x[1] for n, x in parts.items()})

    def trailing(self, axes: int) -> dict[str, tuple[int, ...]]:
        """Shape of every tensor behind its first ``axes`` axes."""
        return {name: tuple(value.shape[axes:]) for name, value in self.items()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={tuple(value.shape)}' for name, value in self.items())})"


class Streams(Clips):
    """What was recorded: ``frames (... t c h w)``, uint8 or floating point in 0..1."""


class Features(Clips):
    """What an encoder gave: ``frames (... t d)`` always; where asked for, ``patches (... t p w)`` and others."""


class LowerHalf(Clips):
    """What the frozen half of an encoder gave, from which its trained half goes on: ``layer i (... t p w)``."""


class Contents(NamedTuple):
    """Which clips: their kind and the names of their tensors."""

    kind: type[Clips] = Features
    names: tuple[str, ...] = ("frames",)


CLIP_KINDS = {kind.__name__: kind for kind in (Streams, Features, LowerHalf)}


def combined(function: Callable[[list[Tensor]], Tensor], many: Sequence[C]) -> C:
    """Clips of one kind made one, name by name, by such as ``torch.stack``."""
    first, *_ = many
    return type(first)({name: function([each[name] for each in many]) for name in first})


def as_clips(clips: Any, what: str) -> Clips:
    """Clips as they are; a bare tensor by its type: ``frames`` of the streams when it is uint8, of the features when
    it is floating point.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(clips, Clips):
        return clips
    if isinstance(clips, Tensor) and clips.dtype == torch.uint8:
        return Streams(frames=clips)
    if isinstance(clips, Tensor) and clips.is_floating_point():
        return Features(frames=clips)
    raise ValueError(
        f"{what} must be Streams, Features or a tensor of frames (uint8 pixels, or features in floating point), found "
        f"{clips.dtype if isinstance(clips, Tensor) else type(clips).__name__}; numbers of videos make an IndexEpisode."
    )
