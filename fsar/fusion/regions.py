"""Attention on regions: of every frame the few patches that move, or that fit a text, beside the frame as a whole.

Ours, after what the seeds do with boxes (ViLD, GLIP), for videos without any. With x the patches of a frame ``(p w)``
and f the frame::

    s_p = |x_p(t) - x_p(t-1)| + |x_p(t+1) - x_p(t)|     by="motion": how much a place changes
    s_p = cos(x_p, text)                                by="text": how well a place fits what is said of a class
    r   = mean of the k patches with the largest s

By motion r is a series of its own beside the frames, equal shares. By text patches lie in the space of the text, and
what is compared is ``f/|f| + r/|r|``: a support clip looks by the text of its class, a query once for every class.
Nothing is trained.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from episodes.clips import Features
from fsar.fusion.base import Fusion, Levels


def measure_motion(patches: Tensor) -> Tensor:
    """How much each place changes from the frame before and to the frame after: ``(... t p w)`` to ``(... t p)``; at
    both ends the one difference that there is counts twice, a single frame has zeros."""
    if patches.shape[-3] == 1:
        return patches.new_zeros(patches.shape[:-1])
    step = patches.diff(dim=-3).norm(dim=-1)  # (... t-1 p)
    return torch.cat([step[..., :1, :], step], -2) + torch.cat([step, step[..., -1:, :]], -2)


def gather_regions(patches: Tensor, scores: Tensor, count: int) -> Tensor:
    """Mean of the ``count`` patches with the largest scores, ``(... p w)`` and ``(... p)`` to ``(... w)``.

    >>> gather_regions(torch.eye(3), torch.tensor([0.1, 0.9, 0.8]), 2)
    tensor([0.0000, 0.5000, 0.5000])
    """
    chosen = scores.topk(count, dim=-1).indices[..., None].expand(*scores.shape[:-1], count, patches.shape[-1])
    return patches.gather(-2, chosen).mean(-2)


class RegionAttention(Fusion):
    """The top patches of every frame beside the frame.

    Args:
        by: what a patch is chosen by. "text" needs an encoder that gives ``projected`` patches: a ViT of open_clip.
        patches: how many of a frame, ``k``.

    Raises:
        ValueError: another ``by``, no patches; in use, more patches than there are.

    Examples:
        >>> part = RegionAttention(patches=4)
        >>> levels = part.fuse(Features(frames=torch.rand(3, 8, 16), patches=torch.rand(3, 8, 9, 24)))
        >>> {name: tuple(x.shape) for name, x in levels.items()}
        {'frames': (3, 8, 16), 'regions': (3, 8, 24)}
    """

    def __init__(self, by: Literal["motion", "text"] = "motion", patches: int = 8) -> None:
        super().__init__()
        if by not in ("motion", "text"):
            raise ValueError(f"RegionAttention: by is motion or text, found {by!r}.")
        if patches < 1:
            raise ValueError(f"RegionAttention: patches must be at least 1, found {patches}.")
        self.by, self.patches = by, patches
        self.reads_text = self.conditions_queries = by == "text"
        self.needs = ("frames", "projected" if by == "text" else "patches")

    def fuse(self, features: Features) -> Levels:
        frames, patches = features["frames"], features[self.needs[1]]
        if patches.shape[-2] < self.patches:
            raise ValueError(f"RegionAttention: patches={self.patches}, but a frame has {patches.shape[-2]} of them.")
        if self.by == "motion":
            return {"frames": frames, "regions": gather_regions(patches, measure_motion(patches), self.patches)}
        return {"frames": torch.cat([frames.unsqueeze(-2), patches], -2).flatten(-2)}  # until a class is known

    def fuse_support(self, features: Features, text: Tensor) -> Levels:
        if self.by == "motion":
            return self.fuse(features)
        frames, patches = features["frames"], features["projected"]
        fit = normalize(patches, dim=-1) @ normalize(text, dim=-1).to(patches.dtype)[..., None, :, None]
        return {"frames": self.join(frames, patches, fit.squeeze(-1))}

    def fuse_for_classes(self, frames: Tensor, text: Tensor) -> Tensor:
        whole = frames.unflatten(-1, (-1, text.shape[-1]))  # (... q t 1+p d)
        seen, patches = whole[..., 0, :], whole[..., 1:, :]
        said = normalize(text, dim=-1).to(frames.dtype).mT[..., None, None, :, :]  # (... 1 1 d n)
        fit = (normalize(patches, dim=-1) @ said).movedim(-1, -4)  # (... n q t p)
        return self.join(seen.unsqueeze(-4), patches.unsqueeze(-5), fit)

    def join(self, frames: Tensor, patches: Tensor, fit: Tensor) -> Tensor:
        """``(... t d)`` of frames and of their patches ``(... t p d)`` that fit best, ``fit (... t p)``."""
        found = gather_regions(patches.expand(*fit.shape, patches.shape[-1]), fit, self.patches)
        return normalize(frames, dim=-1) + normalize(found, dim=-1)
