"""What a part between encoder and matching is: features of a video in, one or several series of frames out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from episodes.clips import Features

Levels = dict[str, Tensor]
"""Series of tokens that are aligned: ``frames (... t d)``, or ``(... c t d)`` of ``c`` places each by itself."""


class Fusion(nn.Module):
    """Base of the parts that :class:`fsar.methods.Prototype` takes as ``fusion``; what works on a video alone writes
    :meth:`fuse`.

    >>> class Half(Fusion):
    ...     def fuse(self, features):
    ...         return {"pairs": features["frames"].unflatten(-2, (-1, 2)).mean(-2)}
    >>> Half().fuse(Features(frames=torch.rand(2, 8, 4)))["pairs"].shape
    torch.Size([2, 4, 4])
    """

    needs: tuple[str, ...] = ("frames",)
    """Names of the features that it reads."""

    reads_text: bool = False
    """True when the support clips are told the text of their class."""

    keeps_frames: bool = True
    """False when what is aligned stands for no single frames, so that no path over frames can be drawn."""

    conditions_queries: bool = False
    """True when a query is another one for every class, see :meth:`fuse_for_classes`."""

    def fuse(self, features: Features) -> Levels:
        """What is aligned of a video, from its own features alone."""
        raise NotImplementedError(f"{type(self).__name__} must define fuse(features).")

    def fuse_support(self, features: Features, text: Tensor) -> Levels:
        """Likewise of a support video, which knows the text ``(... d)`` of its class."""
        return self.fuse(features)

    def fuse_for_classes(self, frames: Tensor, text: Tensor) -> Tensor:
        """Frames of queries ``(... q t d)`` as each class sees them: with texts ``(... n d)``, ``(... n q t d)``."""
        raise NotImplementedError(f"{type(self).__name__} must define fuse_for_classes(frames, text).")

    def weigh(self, levels: int) -> Tensor:
        """Shares ``(levels)`` of the series in the similarity, adding up to 1: equal here."""
        return torch.full((levels,), 1 / levels)
