"""Sight and sound: frames and sound of two clips, each aligned by itself, and the mean of those that both clips have.

AudioCLIP's senses (Guzhov et al. 2022, https://arxiv.org/abs/2106.13043) in few-shot matching, ours; prototypes are
Snell et al.'s (2017, https://arxiv.org/abs/1703.05175). With h true where there is a track, and P the mean over the
clips of a class that have one::

    similarity(Q, c) = [s(f_Q, P_c(f)) + h(Q) h(c) s(g_Q, P_c(g))] / [1 + h(Q) h(c)]      f frames, g sound
"""

from __future__ import annotations

import torch
from torch import Tensor

from episodes.clips import Features
from episodes.episode import Task
from fsar.alignment.base import Alignment
from fsar.encoders.audio import mean_of_modalities
from fsar.encoders.frame import FrameEncoder
from fsar.method import AlignedMethod, Parts
from fsar.shots import shot_mean


class SightAndSound(AlignedMethod):
    """Prototypes of frames and of sound.

    Args:
        encoder: gives ``frames`` and ``sound``: ``fsar.encoders.WithSound``.
        alignment: compares query and prototype, in both senses.
        hearing: compares their sounds, where that is to be another.

    Raises:
        ValueError: an alignment that merges shots itself, since some of them may have no track.

    >>> from fsar.alignment import FrameMean
    >>> from fsar.encoders import AudioEncoder, WithSound
    >>> method = SightAndSound(WithSound(encoder, AudioEncoder(channels=64)), FrameMean())  # that of fsar.methods
    >>> method.query_parts(Features(frames=torch.rand(2, 8, 64), sound=torch.zeros(2, 11, 64)))["heard"]
    tensor([[0.],
            [0.]])
    """

    uses_text = False
    needs = ("frames", "sound")

    def __init__(self, encoder: FrameEncoder, alignment: Alignment, hearing: Alignment | None = None) -> None:
        super().__init__(encoder, alignment)
        self.hearing = alignment if hearing is None else hearing
        if merging := [each for each in (alignment, self.hearing) if each.merges_shots]:
            raise ValueError(
                f"SightAndSound averages shots, since some have no track, but {type(merging[0]).__name__} merges them "
                "itself: use another alignment, such as OTAM."
            )

    def query_parts(self, features: Features) -> Parts:
        """``heard (... v 1)`` is 1 where there is a track; averaged over a class's clips, the share that has one."""
        heard = (features["sound"] != 0).flatten(-2).any(-1, keepdim=True)
        return {**{name: features[name] for name in self.needs}, "heard": heard.float()}

    def match(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Tensor:
        mean = {name: shot_mean(x, episode.support_labels, episode.ways) for name, x in support.items()}
        share = mean["heard"]  # (... n 1)
        seen = self.alignment(query["frames"], mean["frames"])
        heard = self.hearing(query["sound"], mean["sound"] / share.clamp_min(1e-6)[..., None])
        classes, queries = (
            torch.stack([torch.ones_like(x, dtype=torch.bool), x > 0]) for x in (share[..., 0], query["heard"][..., 0])
        )
        return mean_of_modalities(torch.stack([seen, heard]), classes, queries)
