"""TS-FSAR: a ladder side network beside a frozen CLIP, distance-covariance descriptors, task-specific matching.

Long et al. 2025, "Task-Specific Distance Correlation Matching for Few-Shot Action Recognition",
https://arxiv.org/abs/2512.11340; released code https://github.com/yaozhang0417/TS-FSAR. The texts here are the class
names in the encoder's templates; the paper's are written by a language model (hand over a ``TextBank`` for those).

With z the side network's class token of a frame, v the α-distance covariance of its patches (see
:mod:`fsar.alignment.covariance`), f CLIP's frame feature, e the text of a class::

    metric      logits_c = Σ_tu B(t,u) cos(v_Q,t, mean over shots of v_S,u),  B = W (mean z of support + of query)
    side text   γ cos(mean_t W_up LN z, e_C)
    clip text   γ cos(mean_t g, e_C),  g = (2 - ρ) f + ρ attention(LN f) over the frames
    loss        CE(metric) + a CE(V mean_t v) + b CE(side text) + κ [KL_T(V mean_t v ‖ clip text) + CE(clip text)]
    inference   p_metric^f1 · p_clip^f2 · p_side^f3
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from episodes.clips import Features
from episodes.episode import Task
from fsar.adapters.ladder import Ladder, start_attention
from fsar.alignment.base import Alignment
from fsar.alignment.covariance import AlphaDistance, alpha_covariance
from fsar.encoders.beside import Beside
from fsar.encoders.frame import FrameEncoder
from fsar.encoders.weights.variants import rename_hugging_face
from fsar.functional import cross_entropy, over_classes, rename_released
from fsar.method import AlignedMethod, Parts, Scores
from fsar.text import TextBank


@dataclass
class TSScores(Scores):
    """Scores with, in training, the logits of the text branches over all classes of the split, ``(... s+q C)``."""

    side_text: Tensor | None = None
    clip_text: Tensor | None = None


class TSFSAR(AlignedMethod):
    """TS-FSAR.

    Args:
        encoder: an image-text encoder with a frozen ViT.
        side: the network beside it; with ``init="pca"`` the attention over CLIP's frames starts from the tower's last
            block too.
        frames: ``t`` of the clips; the matching weights are made for it.
        alpha: exponent of the squared distances in the descriptor.
        alignment: compares descriptors instead of the task-specific matching, for an ablation.
        texts: what is said about a class; the encoder's own templates when not given.
        train_classes: outputs of the classifier, at least as many as the training split has classes; those beyond are
            never used.
        class_weight: a.
        side_weight: b.
        guidance_weight: κ.
        text_residual: ρ; 1.6 for SSv2 and 0.4 for the others as released.
        guidance_temperature: T; 4 for SSv2 and 10 for the others as released.
        text_scale: γ; 100 for SSv2-Full in 1-shot and 50 everywhere else as released.
        class_dropout: of the descriptors that the classifier sees; 0 for SSv2-Full and 0.6 or 0.7 for the others as
            released.
        detach_teacher: keep the guidance from moving the clip branch; the release does not.
        fusion: exponents f1, f2, f3. The released ones were chosen on the test classes: choose them on the
            validation classes.

    >>> from fsar.adapters import Ladder
    >>> TSFSAR(encoder, Ladder(width=16, temporal=[2])).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    needs = ("frames", "patches", "tower")

    refinable = True

    def __init__(
        self,
        encoder: FrameEncoder,
        side: Ladder | None = None,
        frames: int = 8,
        alpha: float = 0.4,
        alignment: Alignment | None = None,
        texts: TextBank | None = None,
        train_classes: int = 64,
        class_weight: float = 2.0,
        side_weight: float = 0.1,
        guidance_weight: float = 0.1,
        text_residual: float = 1.6,
        guidance_temperature: float = 4.0,
        text_scale: float = 100.0,
        class_dropout: float = 0.0,
        detach_teacher: bool = False,
        fusion: tuple[float, float, float] = (0.4, 0.2, 0.4),
    ) -> None:
        side = Ladder() if side is None else side
        beside = Beside(encoder, side, keep_text=True)
        width, channels = beside.widths["frames"], beside.widths["tower"]
        super().__init__(beside, AlphaDistance(width, frames) if alignment is None else alignment)
        self.alpha = alpha
        self.texts = texts
        self.up = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, channels, bias=False))
        self.clip_norm = nn.LayerNorm(channels)
        self.clip_attention = nn.MultiheadAttention(channels, 8, batch_first=True)
        if side.init == "pca":
            attention = self.clip_attention
            start_attention(attention.in_proj_weight, attention.in_proj_bias, attention.out_proj, beside.blocks[-1])
        self.class_dropout = nn.Dropout(class_dropout)
        self.classifier = nn.Linear(width * (width + 1) // 2, train_classes, bias=False)
        self.class_weight = class_weight
        self.side_weight = side_weight
        self.guidance_weight = guidance_weight
        self.text_residual = text_residual
        self.guidance_temperature = guidance_temperature
        self.text_scale = text_scale
        self.detach_teacher = detach_teacher
        self.fusion = fusion

    def class_text(self, names: Sequence[str]) -> Tensor:
        """``(C d)`` unit vectors."""
        text = self.encoder.require_text()
        return normalize(text(names), dim=-1) if self.texts is None else self.texts.features(text, names).mean()

    def query_parts(self, features: Features) -> Parts:
        """Descriptors of the frames, in training their mean too; the pooled features of both text branches."""
        side, clip = self.up(features["frames"]), self.over_frames(features["tower"])
        return {**self.described(features), "side": side.mean(-2), "clip": clip.mean(-2)}

    def support_parts(self, features: Features, text: Tensor) -> Parts:
        return self.query_parts(features) if self.training else self.described(features)

    def described(self, features: Features) -> Parts:
        """The ``frames`` that the alignment reads: descriptors, for the paper's with the class tokens beside them; in
        training the mean descriptor of the ``video`` as well."""
        z = features["frames"]
        v = alpha_covariance(z, features["patches"], self.alpha)
        frames = torch.cat([v, z], dim=-1) if isinstance(self.alignment, AlphaDistance) else v
        return {"frames": frames, "video": v.mean(-2)} if self.training else {"frames": frames}

    def over_frames(self, clip: Tensor) -> Tensor:
        """CLIP's frame features that know each other, ``(... t d)`` to the same."""
        x = clip.reshape(-1, *clip.shape[-2:])
        normed = self.clip_norm(x)
        mixed = self.clip_attention(normed, normed, normed, need_weights=False)[0].reshape(clip.shape)
        return (2 - self.text_residual) * clip + self.text_residual * mixed

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        metric = self.match(support, query, episode, text)  # (... q n)
        if self.training:
            video, side, clip = (torch.cat([support[n], query[n]], dim=-2) for n in ("video", "side", "clip"))
            by_class = over_classes(self.classifier, self.class_dropout(video), episode)
            side, clip = (self.by_text(x, text) for x in (side, clip))
            return TSScores(metric, metric, by_class, side_text=side, clip_text=clip)
        branches = [metric, *(self.by_text(query[name], text[episode.classes]) for name in ("clip", "side"))]
        fused = [f * x.log_softmax(-1) for f, x in zip(self.fusion, branches, strict=True)]
        logits = torch.stack(fused).sum(0)
        return Scores(logits, metric)

    def by_text(self, clips: Tensor, text: Tensor) -> Tensor:
        """``γ cos`` of clips ``(... q d)`` with unit texts ``(... n d)``, ``(... q n)``."""
        return self.text_scale * normalize(clips, dim=-1) @ text.mT

    def loss(self, scores: Scores, episode: Task) -> dict[str, Tensor]:
        metric = cross_entropy(scores.few_shot, episode.query_labels)
        if not isinstance(scores, TSScores) or scores.class_logits is None:
            return {"loss": metric}
        assert scores.side_text is not None
        assert scores.clip_text is not None
        classes = episode.clip_classes
        by_class = cross_entropy(scores.class_logits, classes)
        side = cross_entropy(scores.side_text, classes)
        guidance = self.guidance(scores.class_logits, scores.clip_text) + cross_entropy(scores.clip_text, classes)
        loss = metric + self.class_weight * by_class + self.side_weight * side + self.guidance_weight * guidance
        return {"loss": loss, "few_shot_loss": metric, "class_loss": by_class, "side_loss": side, "guidance": guidance}

    def guidance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """``T²/b Σ p_teacher (log p_teacher - log p_student)`` at temperature T."""
        teacher = teacher.detach() if self.detach_teacher else teacher
        log_p, log_q = ((x / self.guidance_temperature).log_softmax(-1) for x in (teacher, student))
        return self.guidance_temperature**2 * (log_p.exp() * (log_p - log_q)).sum(-1).mean()


SIDE = r"model\.side_transformer\.(\d+)\."
RELEASED_NAMES: dict[str, str | None] = {  # "#" before the part of a joined weight; CLIP's as transformers has them
    r"ts_dcm\.generator\.": "alignment.weights.",
    r"model\.Linear\.": "classifier.",
    r"model\.up_ln\.": "up.0.",
    r"model\.up_linear\.": "up.1.",
    r"model\.Adapter\.norm1\.": "clip_norm.",
    r"model\.Adapter\.attn\.([qkv])_linear\.(weight|bias)$": r"clip_attention.in_proj_\2#\1",
    r"model\.Adapter\.attn\.proj\.": "clip_attention.out_proj.",
    r"model\.side_gate_params\.(\d+)$": r"encoder.side.gates#\1",
    r"model\.side_downsample\.": "encoder.side.downs.",
    r"model\.side_LN\.": "encoder.side.norms.",
    SIDE + r"norm([12])\.": r"encoder.side.blocks.\1.norm_\2.",
    SIDE + r"attn\.([qkv])_linear\.(weight|bias)$": r"encoder.side.blocks.\1.qkv.\3#\2",
    SIDE + r"attn\.proj\.": r"encoder.side.blocks.\1.out.",
    SIDE + r"mlp\.fc1\.": r"encoder.side.blocks.\1.fc.",
    SIDE + r"mlp\.fc2\.": r"encoder.side.blocks.\1.proj.",
    r"model\.embeddings\.": "vision_model.embeddings.",
    r"model\.pre_layernorm\.": "vision_model.pre_layrnorm.",
    r"model\.layers\.": "vision_model.encoder.layers.",
    r"model\.post_layernorm\.": "vision_model.post_layernorm.",
    r"model\.projection\.weight$": "visual_projection.weight",
}


def convert_released(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the authors' checkpoint under the names of :class:`TSFSAR`, the frozen tower among them.

    Args:
        state: names and tensors as their authors saved them.

    Raises:
        ValueError: for a name that the released model does not have, or an attention that lacks one of q, k and v.
    """
    expected = "TS-FSAR: ts_dcm.generator, model.side_*, model.Adapter and the tower of transformers' CLIP in model.*"
    renamed = rename_released(state, RELEASED_NAMES, expected)
    tower = {name: x for name, x in renamed.items() if name.startswith(("vision_model.", "visual_projection."))}
    parts: dict[str, dict[str, Tensor]] = {}
    for name, x in renamed.items():
        ours, _, part = name.partition("#")
        if name not in tower:
            parts.setdefault(ours, {})[part] = x
    own = {name: _joined(name, found) for name, found in parts.items()}
    source = "The frozen tower of the released checkpoint"
    return own | {f"encoder.{name}": x for name, x in rename_hugging_face(tower, source).state.items()}


def _joined(name: str, parts: dict[str, Tensor]) -> Tensor:
    """One weight of q, k and v, or of the gates of all blocks."""
    if "" in parts:
        return parts[""]
    order = [str(i) for i in range(len(parts))] if name.endswith("gates") else ["q", "k", "v"]
    if lacking := [part for part in order if part not in parts]:
        raise ValueError(
            f"The released checkpoint of TS-FSAR lacks a part of {name}: found {', '.join(parts)}, missing "
            f"{', '.join(lacking)}. Give the whole file."
        )
    return torch.cat([parts[part] for part in order])
