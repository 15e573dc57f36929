"""Nearest neighbour and SimpleShot on pooled features: what the features are worth without alignment or text.

SimpleShot: Wang et al. 2019, https://arxiv.org/abs/1911.04623, section 3.2: centre (C), normalise (L2N), nearest
centroid. The nearest prototype without centring is :class:`fsar.methods.Prototype` with ``FrameMean``.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import normalize

from episodes.clips import Features
from episodes.episode import Task
from episodes.files import write_atomically
from fsar.encoders.frame import FrameEncoder
from fsar.method import Parts, Scores
from fsar.methods.clip_family.pooled import PooledMethod
from fsar.shots import shot_mean


class NearestNeighbour(PooledMethod):
    """``logits_c = max over the shots of class c of cos(clip_Q, clip_S)``.

    Args:
        encoder: any frame encoder.

    >>> NearestNeighbour(encoder).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    uses_text = False

    def __init__(self, encoder: FrameEncoder) -> None:
        super().__init__(encoder)

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        similarity = query["pooled"] @ support["pooled"].mT  # (... q s)
        of_class = episode.support_labels[..., None, :, None] == torch.arange(episode.ways, device=similarity.device)
        logits = similarity[..., None].masked_fill(~of_class, -torch.inf).amax(-2)  # (... q s n) -> (... q n)
        return Scores(logits, logits)


class SimpleShot(PooledMethod):
    """Nearest centroid of centred and normalised clips: ``logits_c = -|x_Q - mean_S x|²``, ``x = L2n(clip - centre)``.

    Args:
        encoder: any frame encoder.
        centre: a .safetensors file with the mean clip of the training classes, see :meth:`save`. Without one the mean
            of the episode's own support clips is taken, which needs no training classes (ours).
        normalise: project the centred clips on the unit sphere (the paper's CL2N; without it, CN).

    >>> SimpleShot(encoder).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    uses_text = False
    mean: Tensor | None

    def __init__(self, encoder: FrameEncoder, centre: str | None = None, normalise: bool = True) -> None:
        super().__init__(encoder)
        self.normalise = normalise
        self.register_buffer("mean", None if centre is None else _read_centre(Path(centre), encoder.channels))

    def query_parts(self, features: Features) -> Parts:
        return {"pooled": features["frames"].mean(-2)}

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        centre = support["pooled"].mean(-2, keepdim=True) if self.mean is None else self.mean
        clips_s, clips_q = support["pooled"] - centre, query["pooled"] - centre
        if self.normalise:
            clips_s, clips_q = normalize(clips_s, dim=-1), normalize(clips_q, dim=-1)
        centroids = shot_mean(clips_s, episode.support_labels, episode.ways)
        logits = -torch.cdist(clips_q, centroids, compute_mode="donot_use_mm_for_euclid_dist").square()
        return Scores(logits, logits)

    def fit(self, features: Tensor) -> None:
        """Take the centre from clips ``(v t d)`` of the training classes."""
        self.mean = features.mean((0, 1))

    def save(self, path: str | Path) -> None:
        """Write the centre to a .safetensors file.

        Raises:
            ValueError: when there is none.
        """
        if self.mean is None:
            raise ValueError("SimpleShot has no centre yet: call fit(features of the training classes) first.")
        with write_atomically(path) as part:
            save_file({"centre": self.mean.contiguous()}, part)


def _read_centre(path: Path, channels: int) -> Tensor:
    if not path.is_file():
        raise FileNotFoundError(f"centre: {path} does not exist; SimpleShot.fit and .save make it.")
    found = load_file(path).get("centre")
    if found is None or found.shape != (channels,):
        shape = None if found is None else tuple(found.shape)
        raise ValueError(f"centre: {path} must hold 'centre' of shape ({channels},), found {shape}.")
    return found
