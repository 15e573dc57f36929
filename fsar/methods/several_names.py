"""Training-free matching over several kinds of features of one clip, such as ``visual`` and ``text`` of a video
language model.

The idea is that of FSAR-LLaVA (https://arxiv.org/abs/2603.26033): what a video language model's decoder gives for a
clip is taken apart by kind, and query and support are matched kind by kind, with nothing trained. Its code was not
released and its formula is not reproduced here; this is the plain form::

    s_m(q, c)  similarity by the alignment of the features m (q t_m d_m) with the mean of class c's shots
    z_m(q, c)  = (s_m(q, c) - mean over c) / deviation over c
    logits     = Σ_m w_m z_m(q, c) / Σ_m w_m

Standardised over the classes of the query, for similarities of one kind may vary ten times as much as those of another.
Widths and steps may differ from kind to kind.
"""

from __future__ import annotations

import torch
from torch import Tensor

from episodes.clips import Features
from episodes.episode import Task
from fsar.alignment.base import Alignment
from fsar.encoders.frame import FrameEncoder
from fsar.method import AlignedMethod, Parts, Scores
from fsar.shots import shot_groups, shot_mean


def join_similarities(similarities: list[Tensor], weights: Tensor, standardise: bool = True) -> Tensor:
    """Similarities ``(... q n)`` of each kind to one.

    Args:
        similarities: one for each kind.
        weights: ``(m)``, not negative.
        standardise: over the classes first; a kind that says nothing (all equal) then counts nothing.

    >>> join_similarities([torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 100.0]])], torch.tensor([3.0, 1.0]))
    tensor([[ 0.5000, -0.5000]])
    """
    each = torch.stack(similarities, -1)  # (... q n m)
    if standardise:
        each = each - each.mean(-2, keepdim=True)
        spread = each.square().mean(-2, keepdim=True).sqrt()
        each = each / spread.clamp_min(1e-6 * similarities[0].abs().amax().clamp_min(1e-12))
    return each @ (weights / weights.sum()).to(each)


class SeveralNames(AlignedMethod):
    """Prototypes of several named features, matched each by itself and added up.

    Args:
        encoder: gives all of the names, as :class:`fsar.encoders.Imported` does.
        alignment: compares the steps of a query with those of a class, for every name.
        names: of the features; ``frames`` is the one that the import calls so.
        weights: of each; equal when left out.
        standardise: the similarities of each name over the classes of a query before they are added.

    Raises:
        ValueError: for weights that are not as many as the names, negative or all zero.

    >>> from fsar.alignment import FrameMean
    >>> SeveralNames(encoder, FrameMean(), names=["frames", "patches"], weights=[2, 1]).needs
    ('frames', 'patches')
    """

    uses_text = False
    same_in_both_roles = True
    weights: Tensor

    def __init__(
        self,
        encoder: FrameEncoder,
        alignment: Alignment,
        names: list[str] | None = None,
        weights: list[float] | None = None,
        standardise: bool = True,
    ) -> None:
        self.names = tuple(names or ("frames", "text"))
        given = weights or [1.0] * len(self.names)
        if len(given) != len(self.names) or min(given) < 0 or not sum(given) > 0 or len({*self.names}) < len(given):
            raise ValueError(
                f"SeveralNames: weights must be one for each of the different names ({', '.join(self.names)}), none "
                f"negative and not all zero; found {given}."
            )
        self.needs = tuple(dict.fromkeys(("frames", *self.names)))
        super().__init__(encoder, alignment)
        self.standardise = standardise
        self.register_buffer("weights", torch.tensor(given), persistent=False)

    def query_parts(self, features: Features) -> Parts:
        return {name: features[name].flatten(-3, -2) if name == "patches" else features[name] for name in self.names}

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        merge_shots = shot_groups if self.alignment.merges_shots else shot_mean
        labels, ways = episode.support_labels, episode.ways
        found = [self.alignment(query[name], merge_shots(support[name], labels, ways)) for name in self.names]
        logits = join_similarities(found, self.weights, self.standardise)
        return Scores(logits, logits)

    def compared(  # type: ignore[override]
        self, support: Parts, query: Parts, episode: Task, text: Tensor
    ) -> tuple[Tensor, Tensor] | None:
        """None: several are compared, and no map is that of all."""
        return None
