"""TA2N: a clip is aligned with another first in time, then in action and in space, and compared frame by frame.

Li et al., "TA2N: Two-Stage Action Alignment Network for Few-Shot Action Recognition",
https://arxiv.org/abs/2107.04782 (AAAI 2022), in the form of the released code, https://github.com/R00Kie-Liu/TA2N.

With s, q the maps ``(t p d)`` of a support and a query clip, each warped in time by itself
(:class:`fsar.temporal.warp.TemporalWarp`, section 3.2), s̄, q̄ their means over space, and K, Q, V without biases::

    action   A_xy = softmax_y(K(s̄)_x · Q(q̄)_y / √d)                          (t t)   section 3.3
             s' = s + V(s̄),  q' = q + A V(q̄)                                 in every patch
    space    o = 0.75 tanh(offsets([s'; q']))                                (t 2)
             s'' = Σ_p mean_ε m(o + ε) s',  q'' = Σ_p mean_ε m(-o - ε) q'    (t d)   ε in 0.2 {-1, 0, 1}²
    cost     Σ_t 1 - cos(s''_t, q''_t);  logits = -cost
    mask     m(o) over the grid g in [-1, 1]²: the product over both axes of 1 where |g + o| < 1, else
             relu(1 - (|g + o| - 1) (L - 1) / 2), for L patches along the axis; then divided by its sum
    k > 1    s = V'(mean_k softmax(Q'(s̄_1) · K'(s̄_k) / √d) s_k), and q passes V' too
    loss     Σ_q CE(logits)                                                  a sum; the release takes 16 tasks a step

Nothing is made for every pair of clips that can be made for one: the first convolution of the offsets is linear, so its
parts of s and of q are each clip's own, and that of ``A V(q̄)``, which is the same everywhere in a frame, is nine
convolutions over time. Differs from the release: shots are found by their labels, in any order (there they must come
sorted by class); the mean over ε can be left to training (``perturb_in_evaluation``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from episodes.clips import Features
from episodes.episode import Task
from fsar.alignment.per_query.chunks import chunk_size, over_queries, spread
from fsar.encoders.frame import FrameEncoder
from fsar.functional import cross_entropy, rename_released
from fsar.method import Method, Parts, Scores
from fsar.shots import shot_groups
from fsar.temporal.warp import TemporalWarp, as_volume

PERTURBATIONS = (-0.2, 0.0, 0.2)


def axis_mask(offset: Tensor, length: int, perturbations: Sequence[float] = (0.0,)) -> Tensor:
    """One axis of the mask m, divided by its sum, and the mean over the perturbations: ``(...)`` to ``(... L)``.

    A product over axes divided by its sum is the product of both so divided, and so is its mean over ε.
    """
    grid = torch.linspace(-1, 1, length, device=offset.device, dtype=offset.dtype)
    moved = offset[..., None] + offset.new_tensor(perturbations)
    beyond = (grid + moved[..., None]).abs() - 1  # (... ε L)
    mask = torch.where(beyond < 0, 1, (1 - beyond * (length - 1) / 2).relu())
    return (mask / mask.sum(-1, keepdim=True)).mean(-2)


def read_patches(patches: Tensor, masks: Tensor) -> Tensor:
    """``Σ_p mask patches``: clips ``(... a t p d)``, masks ``(... a b t p)`` for each to ``(... a b t d)``."""
    return (masks.movedim(-3, -2) @ patches).movedim(-2, -3)


class Offsets(nn.Module):
    """Where in the frames of two clips the action is, ``(x, y)`` in ±0.75 for every pair and frame.

    Args:
        channels: d.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(2 * channels, 128, 3, padding=1)
        self.rest = nn.Sequential(
            nn.BatchNorm3d(128),
            nn.MaxPool3d((1, 2, 2)),
            nn.ReLU(),
            nn.Conv3d(128, 128, 3, padding=1),
            nn.BatchNorm3d(128),
            nn.MaxPool3d((1, 2, 2)),
            nn.ReLU(),
        )
        self.head = nn.Sequential(nn.Conv1d(128, 64, 1), nn.ReLU(), nn.Conv1d(64, 2, 1))
        last = self.head[2]
        assert isinstance(last, nn.Conv1d)
        nn.init.zeros_(last.weight)

    def see(self, patches: Tensor, grid: tuple[int, int], role: int) -> Tensor:
        """The first convolution's part of a clip in the role of support (0) or query (1): ``(... t p d)`` to
        ``(... o t h w)``."""
        weight = self.first.weight.chunk(2, dim=1)[role]
        bias = self.first.bias if role else None
        seen = nn.functional.conv3d(as_volume(patches, grid), weight, bias, padding=1)
        return seen.unflatten(0, patches.shape[:-3])

    def see_everywhere(self, frames: Tensor, grid: tuple[int, int], role: int) -> Tensor:
        """:meth:`see` of clips whose patches are all the same ``(... t d)``, without the bias: at the borders of a
        frame some of the kernel lies outside, within them none, which is nine kernels over time."""
        inside = frames.new_tensor([[0, 1, 1], [1, 1, 1], [1, 1, 0]])  # first row, others, last row: of the kernel
        weight = self.first.weight.chunk(2, dim=1)[role]
        kernels = (weight.flatten(-2) @ torch.kron(inside, inside).T).movedim(-1, 0)  # (9 o d 3)
        seen = nn.functional.conv1d(frames.flatten(0, -3).mT, kernels.flatten(0, 1), padding=1)
        rows, columns = (nn.functional.one_hot(torch.tensor([0, *[1] * (side - 2), 2])) for side in grid)
        place = torch.kron(rows, columns).to(frames).T  # (9 p): which of the nine a patch is seen by
        seen = seen.unflatten(1, (9, -1)).movedim(1, -1)  # (b o t 9)
        return (seen.flatten(0, 2) @ place).reshape(*frames.shape[:-2], *seen.shape[1:-1], *grid)

    def forward(self, seen: Tensor) -> Tensor:
        """``(... o t h w)``, the sum of all that was seen, to ``(... t 2)``."""
        largest = self.rest(seen.flatten(0, -5)).amax((-2, -1))
        offsets: Tensor = self.head(largest).tanh().mT * 0.75
        return offsets.unflatten(0, seen.shape[:-4])


class TA2N(Method):
    """TA2N.

    Of each video the evaluation keeps its warped map and what the offsets see of it. At 2,048 channels, 8 frames and a
    map of 7 x 7 that is 3.8 MB. Pairs are compared for ``queries_per_chunk`` queries
    at a time, in some ``n (4 o h w + 4 d) t`` numbers each (6 MB for 5 ways); in training for all of them, as the
    statistics of its batch norms are over all pairs.

    Args:
        encoder: gives feature maps of 4 x 4 patches or more; the paper's is a ResNet-50 trained on ImageNet, all of it
            trained on.
        dropout: on the maps, while training.
        perturb_in_evaluation: take the mean over ε in evaluation too, as released; otherwise in training alone.
        logit_norm: put a LayerNorm over the logits, made for so many ways (an option of the release, off there); 0 for
            none.
        queries_per_chunk: queries, of all episodes together, that are compared at a time in evaluation; by default 8
            on a CPU and 256 elsewhere.
        separate_passes: encode support and query clips in two passes while training, as released; it matters to
            encoders with BatchNorm. (The warp's own BatchNorms see support and query apart in any case.)

    >>> TA2N(encoder).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    needs = ("frames", "patches")
    uses_text = False
    same_in_both_roles = True

    def __init__(
        self,
        encoder: FrameEncoder,
        dropout: float = 0.5,
        perturb_in_evaluation: bool = True,
        logit_norm: int = 0,
        queries_per_chunk: int | None = None,
        separate_passes: bool = False,
    ) -> None:
        super().__init__(encoder)
        channels = encoder.widths["patches"]
        self.grid: tuple[int, int] = encoder.grid
        if min(self.grid) < 4:
            raise ValueError(
                f"TA2N pools maps twice by two and needs 4 x 4 patches or more, but the encoder gives "
                f"{self.grid[0]} x {self.grid[1]}: take larger frames, or an encoder with smaller patches."
            )
        self.warp = TemporalWarp(channels)
        self.key, self.query, self.value = (nn.Linear(channels, channels, bias=False) for _ in range(3))
        self.shot_key, self.shot_query, self.shot_value = (nn.Linear(channels, channels, bias=False) for _ in range(3))
        self.offsets = Offsets(channels)
        self.logit_norm = nn.LayerNorm(logit_norm) if logit_norm else None
        self.dropout = dropout
        self.perturb_in_evaluation = perturb_in_evaluation
        self.queries_per_chunk = queries_per_chunk
        self.separate_passes = separate_passes

    def query_parts(self, features: Features) -> Parts:
        """The warped maps ``(... t p d)``; in evaluation also what the offsets see of them in either role, and as a
        query beside several shots."""
        maps = self.warped(features)
        if self.training:
            return {"maps": maps}
        both = {f"seen{role}": self.offsets.see(maps, self.grid, role) for role in (0, 1)}
        return {"maps": maps, **both, "seen_values": self.offsets.see(self.shot_value(maps), self.grid, 1)}

    def support_parts(self, features: Features, text: Tensor) -> Parts:
        return self.query_parts(features)

    def warped(self, features: Features) -> Tensor:
        """``(... t p d)`` after dropout and the warp."""
        patches = nn.functional.dropout(features["patches"].float(), self.dropout, self.training)
        return self.warp(patches, self.grid)

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        ways, several = episode.ways, episode.support_labels.shape[-1] > episode.ways
        shots = {name: shot_groups(x, episode.support_labels, ways) for name, x in support.items()}
        maps = self.merge_shots(shots["maps"]) if several else shots["maps"].squeeze(-4)
        value = self.shot_value if several else nn.Identity()
        given = (None, query.get("seen_values")) if several else (shots.get("seen0"), query.get("seen1"))
        own: Parts = {"maps": query["maps"]}
        others: Parts = {"maps": maps}
        for role, (parts, seen) in enumerate(zip((others, own), given, strict=True)):
            parts["pooled"] = value(parts["maps"].mean(-2))
            if seen is None:
                parts["seen"] = self.offsets.see(value(parts["maps"]), self.grid, role)
            else:
                parts["seen"] = seen if role else seen.squeeze(-5)
        lead = episode.query_labels.shape[:-1]
        size = chunk_size(self.queries_per_chunk, maps.device, on_cpu=8)
        size = episode.query_labels.numel() if self.training else size
        own, others = (spread(x, len(lead), lead) for x in (own, others))
        logits = over_queries(partial(self.compare, value=value), own, others, len(lead), size)["logits"]
        return self.normed(logits)

    def merge_shots(self, shots: Tensor) -> Tensor:
        """The shots ``(... n k t p d)`` of a class, each re-ordered to the first: ``(... n t p d)``, before V'."""
        pooled = shots.mean(-2)
        scores = self.shot_query(pooled[..., :1, :, :]) @ self.shot_key(pooled).mT / math.sqrt(pooled.shape[-1])
        weights = scores.softmax(-1)  # (... n k t t)
        return (weights @ shots.flatten(-2)).mean(-3).unflatten(-1, shots.shape[-2:])

    def compare(self, query: Parts, support: Parts, value: nn.Module) -> Parts:
        """Logits ``(... q n)`` of :meth:`align`."""
        _, s, q = self.align(query, support, value)
        return {"logits": -(1 - nn.functional.cosine_similarity(s, q, dim=-1)).sum(-1)}

    def align(self, query: Parts, support: Parts, value: nn.Module) -> tuple[Tensor, Tensor, Tensor]:
        """Offsets ``(... q n t 2)``, and the frames s'' and q'' that are compared, ``(... q n t d)`` each."""
        s, q = support["pooled"].unsqueeze(-4), query["pooled"].unsqueeze(-3)  # (... 1 n t d), (... q 1 t d)
        weights = (self.key(s) @ self.query(q).mT / math.sqrt(s.shape[-1])).softmax(-1)  # (... q n t t)
        s_added, q_added = self.value(s), weights @ self.value(q)
        seen = support["seen"].unsqueeze(-6) + self.offsets.see_everywhere(s_added, self.grid, 0)
        seen = seen + query["seen"].unsqueeze(-5) + self.offsets.see_everywhere(q_added, self.grid, 1)
        offsets = self.offsets(seen)  # (... q n t 2)
        s_read = read_patches(support["maps"], self.masks(offsets).transpose(-4, -3)).transpose(-4, -3)
        q_read = read_patches(query["maps"], self.masks(-offsets))
        return offsets, value(s_read) + s_added, value(q_read) + q_added

    def masks(self, offsets: Tensor) -> Tensor:
        """``(... t 2)`` to ``(... t p)``; x goes along a row of patches."""
        perturbations = PERTURBATIONS if self.training or self.perturb_in_evaluation else (0.0,)
        x, y = (axis_mask(o, n, perturbations) for o, n in zip(offsets.unbind(-1), self.grid[::-1], strict=True))
        return (y.unsqueeze(-1) * x.unsqueeze(-2)).flatten(-2)

    def normed(self, logits: Tensor) -> Scores:
        """Scores of logits ``(... q n)``, after the LayerNorm where there is one.

        Raises:
            ValueError: as many ways as it was not made for.
        """
        if self.logit_norm is not None:
            (made_for,) = self.logit_norm.normalized_shape
            if logits.shape[-1] != made_for:
                raise ValueError(
                    f"TA2N with logit_norm={made_for} was made for episodes of {made_for} ways, found "
                    f"{logits.shape[-1]}: set data.ways to {made_for}, or logit_norm to 0."
                )
            logits = self.logit_norm(logits)
        return Scores(logits, logits)

    def loss(self, scores: Scores, episode: Task) -> dict[str, Tensor]:
        """The sum over an episode's queries, averaged over episodes."""
        return {"loss": cross_entropy(scores.few_shot, episode.query_labels) * episode.query_labels.shape[-1]}


RELEASED_NAMES: dict[str, str | None] = {
    r"(?:align\.)?firststage\.locnet\.([0-5])\.": r"warp.convolutions.\1.",
    r"(?:align\.)?firststage\.locnet\.10\.": "warp.head.0.",
    r"(?:align\.)?firststage\.locnet\.12\.": "warp.head.2.",
    r"(?:align\.)?secondstage\.(key|query|value)net\.": r"\1.",
    r"(?:align\.)?secondstage\.mvnet\.0\.": "offsets.first.",
    r"(?:align\.)?secondstage\.mvnet\.1\.": "offsets.rest.0.",
    r"(?:align\.)?secondstage\.mvnet\.4\.": "offsets.rest.3.",
    r"(?:align\.)?secondstage\.mvnet\.5\.": "offsets.rest.4.",
    r"(?:align\.)?secondstage\.mvnet\.10\.": "offsets.head.0.",
    r"(?:align\.)?secondstage\.mvnet\.12\.": "offsets.head.2.",
    r"(?:align\.)?(key|query|value)net_multi\.": r"shot_\1.",
    r"protypicalNet\.norm_layer\.": None,  # made, saved, and used with --dist_norm alone
    r"resnet\.(?:module\.)?(conv1|bn1|layer\d)\.": r"encoder.visual.\1.",
}


def convert_released(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the authors' checkpoint (its ``model_state_dict``) under the names of :class:`TA2N`.

    The LayerNorm of the logits, which every checkpoint holds and the released script does not use, is left out.

    Raises:
        ValueError: for a name that the released model does not have.
    """
    renamed = rename_released(state, RELEASED_NAMES, "TA2N: align.*, protypicalNet.norm_layer.* and resnet.*")
    linear = r"(shot_)?(key|query|value)\.weight"
    return {name: x.squeeze(-1) if re.fullmatch(linear, name) else x for name, x in renamed.items()}
