"""STRM: patches of a frame enrich each other, then frames of a clip do, and tuples of frames are compared twice.

Thatipelli et al., "Spatio-temporal Relation Modeling for Few-shot Action Recognition",
https://arxiv.org/abs/2112.05132 (CVPR 2022), in the form of the released code, https://github.com/Anirudh257/strm.

With F the feature map of a frame, p sines of the place times 0.1, and W and MLP with biases::

    patches   x = maxpool_4x4(F) + p                                        (16 d)   section 3.1
              y = γ softmax(W_q x (W_k x)ᵀ) W_v x + x                       γ starts at 0; not divided by √d
              g = mean over the 16 of y + MLP(y)                            (t d), MLP d, d/2, d/2, d
    frames    u = g + p;  v = u + MLP_t(uᵀ)ᵀ;  h = v + MLP(v)               section 3.2; t, t, t and d, d, d
    tuples    logits_c  = TRX on h, ω = 2                                   :class:`fsar.alignment.TRX`
              e = relu(W [g_i; g_j] + b), i < j                             (m d/2)  section 3.3, on g, before frames
              logits'_c = -1/m Σ_m min over the tuples of c's shots of |e_Q,m - e_S|
    answer    logits + 0.1 logits'
    loss      Σ_q CE(logits) + 0.1 Σ_q CE(logits')

The release adds up 16 tasks and divides by 16: so does a trainer that accumulates 16. Two accidents of it are options,
off by default. Its W stands in a plain list, so that no optimiser moves it and no checkpoint holds it
(``published_random_projection``), and no ``eval()`` reaches the dropout before it (``published_test_dropout``), so that
its predictions are random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from episodes.clips import Features
from episodes.episode import Task
from episodes.words import pluralise
from fsar.alignment.base import full_precision, widen
from fsar.alignment.per_query.chunks import chunk_size, over_queries, spread
from fsar.alignment.per_query.cross_tuple import TRX, sinusoids
from fsar.alignment.per_query.nearest_tuples import TupleProjection, compare_tuples
from fsar.encoders.frame import FrameEncoder
from fsar.functional import RESNET_NAMES, cross_entropy, rename_released
from fsar.method import Method, Parts, Scores
from fsar.shots import shot_groups

SIDE = 4
"""Patches of a frame along each side after pooling."""


def pool_patches(patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """Largest entry of each of 4 x 4 parts of the map: ``(... t p d)``, ``p`` row by row, to ``(... t 16 d)``."""
    maps = patches.mT.flatten(0, -3).unflatten(-1, grid)  # (b d h w)
    pooled = nn.functional.adaptive_max_pool2d(maps, SIDE).flatten(-2).mT
    return pooled.unflatten(0, patches.shape[:-2])


class PatchEnrichment(nn.Module):
    """The first half: patches ``(... t 16 d)`` of a frame to its feature ``(... t d)``.

    17,836,033 weights at 2,048 channels.

    Args:
        channels: d.
        dropout: on the patches with their positions, while training.
    """

    def __init__(self, channels: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.query, self.key, self.value = (nn.Linear(channels, channels) for _ in range(3))
        half = channels // 2
        self.mlp = nn.Sequential(
            nn.Linear(channels, half), nn.ReLU(), nn.Linear(half, half), nn.ReLU(), nn.Linear(half, channels)
        )
        self.dropout = nn.Dropout(dropout)

    def enrich(self, patches: Tensor) -> Tensor:
        """``(... 16 d)`` to the same."""
        x = self.dropout(patches + 0.1 * sinusoids(patches.shape[-2], patches.shape[-1], patches.device))
        weights = (self.query(x) @ self.key(x).mT).softmax(-1)
        y = self.gamma * (weights @ self.value(x)) + x
        enriched: Tensor = y + self.mlp(y)
        return enriched

    def forward(self, patches: Tensor) -> Tensor:
        """``(... t 16 d)`` to ``(... t d)``."""
        return self.enrich(patches).mean(-2)


class FrameEnrichment(nn.Module):
    """The second half: frames ``(... t d)`` of a clip that know each other, ``(... t d)``.

    8,392,848 weights at 8 frames and 2,048 channels.

    Args:
        channels: d.
        frames: t; the mixing of frames is made for it.
        dropout: on the frames with their positions, while training.
    """

    def __init__(self, channels: int, frames: int = 8, dropout: float = 0.1) -> None:
        super().__init__()
        self.frames = frames
        self.over_frames = nn.Sequential(nn.Linear(frames, frames), nn.ReLU(), nn.Linear(frames, frames))
        self.over_channels = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels))
        self.dropout = nn.Dropout(dropout)

    def forward(self, clips: Tensor) -> Tensor:
        """``(... t d) -> (... t d)``.

        Raises:
            ValueError: clips of another number of frames.
        """
        if clips.shape[-2] != self.frames:
            raise ValueError(
                f"STRM was made for clips of {pluralise(self.frames, 'frame')}, found {clips.shape[-2]}: set "
                f"data.frames to {self.frames}, or frames of the method to {clips.shape[-2]}."
            )
        u = self.dropout(clips + 0.1 * sinusoids(clips.shape[-2], clips.shape[-1], clips.device))
        v = u + self.over_frames(u.mT).mT
        enriched: Tensor = v + self.over_channels(v)
        return enriched


@dataclass
class STRMScores(Scores):
    """Scores with the logits of both branches, ``(... q n)`` each, as the loss needs them."""

    frame: Tensor | None = None
    patch: Tensor | None = None


class STRM(Method):
    """STRM.

    Of each video the evaluation keeps keys, values and projected tuples: at 2,048 channels, 8 frames and ω = 2, 28
    tuples of 1,152 + 1,152 + 1,024 numbers, 0.4 MB. What depends on the query is made for
    ``queries_per_chunk`` queries at a time: ``5 n m D`` numbers each (4 MB), and ``2 n m² k`` for k shots.

    Args:
        encoder: gives feature maps; the paper's is a ResNet-50 trained on ImageNet, all of it trained on.
        frames: t.
        cardinalities: ω, frames in a tuple; with several of them both branches take the mean over them.
        width: D, channels of TRX's keys and values.
        dropout: everywhere, while training.
        patch_weight: of logits' in the answer and of its loss.
        queries_per_chunk: see :class:`fsar.alignment.TRX`.
        published_random_projection: leave the projection of logits' as it was drawn, as released.
        published_test_dropout: leave the dropout before that projection on in evaluation, as released.
        published_distances: take the distances of logits' from products, as released: their gradients are rounded.
        separate_passes: encode support and query clips in two passes while training, as released; it matters to
            encoders with BatchNorm.

    >>> STRM(encoder, width=8).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    needs = ("frames", "patches")
    uses_text = False
    same_in_both_roles = True

    def __init__(
        self,
        encoder: FrameEncoder,
        frames: int = 8,
        cardinalities: Sequence[int] = (2,),
        width: int = 1152,
        dropout: float = 0.1,
        patch_weight: float = 0.1,
        queries_per_chunk: int | None = None,
        published_random_projection: bool = False,
        published_test_dropout: bool = False,
        published_distances: bool = False,
        separate_passes: bool = False,
    ) -> None:
        super().__init__(encoder)
        channels = encoder.widths["patches"]
        self.patches = PatchEnrichment(channels, dropout)
        self.frames = FrameEnrichment(channels, frames, dropout)
        self.matching = TRX(channels, cardinalities, width, dropout, queries_per_chunk)
        self.projections = nn.ModuleList(
            TupleProjection(channels, c, published_random_projection) for c in cardinalities
        )
        self.dropout = dropout
        self.patch_weight = patch_weight
        self.published_test_dropout = published_test_dropout
        self.published_distances = published_distances
        self.separate_passes = separate_passes

    def enrich(self, patches: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Features g before and h after the frames know each other, ``(... t d)`` each, of maps ``(... t p d)``."""
        of_patches = self.patches(pool_patches(patches, grid))
        return of_patches, self.frames(of_patches)

    def query_parts(self, features: Features) -> Parts:
        """What both branches compare; g itself where its dropout is to be drawn anew in every episode."""
        of_patches, frames = self.enrich(features["patches"], self.encoder.grid)
        return self.matching.project(frames) | (
            {"clips": of_patches} if self.published_test_dropout else self.project(of_patches)
        )

    def support_parts(self, features: Features, text: Tensor) -> Parts:
        return self.query_parts(features)

    def project(self, clips: Tensor) -> Parts:
        """``tuples<i> (... m d/2)`` of g ``(... t d)``, for the i-th cardinality."""
        noisy = self.training or self.published_test_dropout
        clips = nn.functional.dropout(clips, self.dropout, training=noisy)
        with full_precision(clips):
            return {f"tuples{i}": part(widen(clips)) for i, part in enumerate(self.projections)}

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> STRMScores:
        support = {name: shot_groups(x, episode.support_labels, episode.ways) for name, x in support.items()}
        if self.published_test_dropout:
            support, query = support | self.project(support["clips"]), query | self.project(query["clips"])
        frame = self.matching.match(query, support)
        tuples = [f"tuples{i}" for i in range(len(self.projections))]
        lead = episode.query_labels.shape[:-1]
        own = spread({name: query[name] for name in tuples}, len(lead), lead)
        others = spread({name: support[name].flatten(-3, -2) for name in tuples}, len(lead), lead)
        size = chunk_size(self.matching.queries_per_chunk, frame.device, on_cpu=8)
        with full_precision(frame):
            compare = partial(compare_tuples, by_products=self.published_distances)
            patch = over_queries(compare, own, others, len(lead), size)["similarity"]
        logits = frame + self.patch_weight * patch
        return STRMScores(logits, logits, frame=frame, patch=patch)

    def loss(self, scores: Scores, episode: Task) -> dict[str, Tensor]:
        """Sums over an episode's queries, averaged over episodes."""
        assert isinstance(scores, STRMScores)
        assert scores.frame is not None
        assert scores.patch is not None
        queries = episode.query_labels.shape[-1]
        frame, patch = (cross_entropy(x, episode.query_labels) * queries for x in (scores.frame, scores.patch))
        return {"loss": frame + self.patch_weight * patch, "frame_loss": frame, "patch_loss": patch}


RELEASED_NAMES: dict[str, str | None] = {
    r"transformers\.\d+\.(pe\.|norm_v\.)": None,  # sines that we compute, a norm that is never used
    r"transformers\.": "matching.transformers.",
    r"(?:attn_pat|fr_enrich)\.(?:module\.)?pe\.": None,
    r"attn_pat\.(?:module\.)?gamma$": "patches.gamma",
    r"attn_pat\.(?:module\.)?query_proj\.": "patches.query.",
    r"attn_pat\.(?:module\.)?key_proj\.": "patches.key.",
    r"attn_pat\.(?:module\.)?value_conv\.": "patches.value.",
    r"attn_pat\.(?:module\.)?Bot_MLP\.inp_fc\.": "patches.mlp.0.",
    r"attn_pat\.(?:module\.)?Bot_MLP\.hid_fc\.": "patches.mlp.2.",
    r"attn_pat\.(?:module\.)?Bot_MLP\.out_fc\.": "patches.mlp.4.",
    r"fr_enrich\.(?:module\.)?Tok_MLP\.inp_fc\.": "frames.over_frames.0.",
    r"fr_enrich\.(?:module\.)?Tok_MLP\.out_fc\.": "frames.over_frames.2.",
    r"fr_enrich\.(?:module\.)?Bot_MLP\.inp_fc\.": "frames.over_channels.0.",
    r"fr_enrich\.(?:module\.)?Bot_MLP\.out_fc\.": "frames.over_channels.2.",
    r"new_dist_loss_post_pat\.(\d+)\.clsW\.": r"projections.\1.",
    **RESNET_NAMES,
}


def convert_released(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the authors' checkpoint (its ``model_state_dict``) under the names of :class:`STRM`.

    No released checkpoint holds the projection of logits': as at every start of the release it is drawn, here always
    the same.

    Raises:
        ValueError: for a name that the released model does not have.
    """
    found = rename_released(state, RELEASED_NAMES, "STRM: transformers.*, attn_pat.*, fr_enrich.* and resnet.*")
    generator = torch.Generator().manual_seed(0)
    for name in [name for name in found if name.endswith(".k_linear.weight")]:
        place, taken = name.split(".")[2], found[name].shape[1]
        half, bound = len(found["patches.mlp.0.bias"]), taken**-0.5  # as a linear layer starts
        for key, shape in (("weight", (half, taken)), ("bias", (half,))):
            drawn = torch.empty(shape).uniform_(-bound, bound, generator=generator)
            found.setdefault(f"projections.{place}.{key}", drawn)
    return found
