"""EMP-Net: a frozen CLIP's tokens of three depths are fused, and compared at three levels, by text and by clips.

Wu et al., "Efficient Few-Shot Action Recognition via Multi-Level Post-Reasoning", ECCV 2024,
https://www.ecva.net/papers/eccv_2024/papers_ECCV/papers/00305.pdf; formulas of the released code,
https://github.com/cong-wu/EMP-Net. X¹, X², X³ ``(t 1+p d)`` are all tokens of a frame after three blocks of the tower,
each through its closing norm and projection; nothing of the tower is trained. With B(x, y) a block of attention of x to
y, and ST one in which the patches of a frame see each other and the class tokens of a clip do::

    fusion    Y = ST_3( ST_2( ST_1(X¹) + X² ) + X³ )
    token     T = B_token(Y_cls)                                    over frames            (t d)
    patch     P = the patches of B_patch([T; Y_patches])            within a frame         (t p d)
    frame     R = B_frame(mean_p P + mean_p Y_patches)              over frames            (t d)
    by text   p_token = softmax_c mean_t cos_ε(T, e_c)
              p_frame = softmax_c of the mean of the 2 largest over t of cos_ε(R, e_c)
              p_patch = softmax_c of the mean of the 49 largest over p of mean_t cos_ε(P, e_c)
    by clips  for each level x: a support becomes B_x(x + e, [x; e]) over frames, e its class's text, a query B_x(x);
              patches at each place by themselves, then averaged; p = softmax_c(-OTAM)
    loss      the sum of six CE, of which three by text are over supports and queries; what they are given are the
              **probabilities**, as released, so that the softmax is applied twice
    answer    the mean of a query's six rows

Differs from the released code: there the texts of step "by text" are filled in from the first five support clips alone,
and a class that is not among them gets the text of the split's first class (``published_first_five``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor

from episodes.clips import Features
from episodes.episode import Task
from fsar.alignment.base import Alignment
from fsar.alignment.otam import OTAM
from fsar.encoders.frame import FrameEncoder
from fsar.functional import CLIP_TOWER_NAMES, cosine, cross_entropy, rename_released
from fsar.method import Method, Parts, Scores
from fsar.shots import shot_mean
from fsar.temporal.post_reasoning import LEVELS, PostReasoning
from fsar.text import TextBank


def text_similarities(levels: Parts, text: Tensor, frames: int = 2, patches: int = 49, epsilon: float = 0.01) -> Parts:
    """Cosines of clips with class texts, ``(... v n)`` of each level, before their softmax.

    Args:
        levels: of :meth:`PostReasoning.levels`, ``(... v t d)`` and ``(... v t p d)``.
        text: ``(... n d)``.
        frames: that are counted, those most alike, or all where there are fewer.
        patches: likewise.
        epsilon: added to the product of norms.
    """
    by_frame = {  # (... v t n)
        level: cosine(levels[level].flatten(-3, -2), text, epsilon).unflatten(-2, levels[level].shape[-3:-1])
        for level in ("token", "frame")
    }
    patch = levels["patch"]
    by_patch = cosine(patch.flatten(-4, -2), text, epsilon).unflatten(-2, patch.shape[-4:-1]).mean(-3)  # (... v p n)
    return {
        "token": by_frame["token"].mean(-2),
        "frame": by_frame["frame"].topk(min(frames, patch.shape[-3]), dim=-2).values.mean(-2),
        "patch": by_patch.topk(min(patches, patch.shape[-2]), dim=-2).values.mean(-2),
    }


def known_classes(episode: Task) -> Tensor:
    """``(... n)`` split-wide classes whose texts the released code compares with: those of the first n support clips;
    of any other label the split's first class.

    Its supports stand in random order. Where they are sorted by class, the first n are drawn by the episode's number.
    """
    labels, ways = episode.support_labels, episode.ways
    if labels.shape[-1] > ways and bool((labels.diff(dim=-1) >= 0).all()):
        numbers = episode.number.flatten().tolist()
        drawn = [torch.randperm(labels.shape[-1], generator=torch.Generator().manual_seed(n)) for n in numbers]
        labels = labels.gather(-1, torch.stack(drawn).reshape(labels.shape).to(labels.device))
    first = labels[..., :ways]
    known = (first.unsqueeze(-2) == torch.arange(ways, device=labels.device).unsqueeze(-1)).any(-1)  # (... n)
    return torch.where(known, episode.classes, 0)


@dataclass
class LevelScores(Scores):
    """Scores with the probabilities of each level that the loss is over: by clips ``(... q n)``, by text
    ``(... s+q n)``, supports first."""

    by_clips: Parts = field(default_factory=dict)
    by_text: Parts = field(default_factory=dict)


class EMPNet(Method):
    """EMP-Net.

    The tower is frozen, so a store of what it gives serves training: ``3 (1+p) w`` numbers a frame of a ViT of width w.
    Evaluation keeps the three levels of each video: 3.3 MB with ViT-B/16 and 8 frames.

    Args:
        encoder: a frozen image-text ViT of open_clip.
        alignment: of query and prototype frames, at each level; the paper's OTAM in both directions, temperature 0.5,
            cosine with epsilon 0.01, when not given.
        layers: the blocks whose tokens are read, counted from 1; the paper's are of 12.
        merge: average the shots of a class "before" its text joins them (as released at 5 shots) or "after".
        top_frames: that count at the frame level.
        top_patches: that count at the patch level, or all where there are fewer.
        epsilon: added to the product of norms in the cosine with texts.
        draw_template: train with one of the encoder's ``templates``, drawn anew every step, as released; evaluation
            takes the mean of all.
        published_first_five: compare with the texts of the first five support clips' classes alone, see above.
        texts: what is said about a class, such as a pack of descriptions; the encoder's templates when not given.

    Raises:
        ValueError: for a tower that is no ViT of open_clip with a projection, or an alignment that merges shots.

    >>> EMPNet(encoder, layers=(1, 2, 3), top_patches=4).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        alignment: Alignment | None = None,
        layers: tuple[int, int, int] = (4, 8, 12),
        merge: Literal["before", "after"] = "before",
        top_frames: int = 2,
        top_patches: int = 49,
        epsilon: float = 0.01,
        draw_template: bool = True,
        published_first_five: bool = False,
        texts: TextBank | None = None,
    ) -> None:
        self.needs = ("frames", *(f"layer {layer}" for layer in layers))
        super().__init__(encoder)
        self.texts = texts
        visual = encoder.visual
        if not isinstance(visual, VisionTransformer) or visual.attn_pool is not None or visual.proj is None:
            raise ValueError(
                "EMPNet puts every token through CLIP's closing norm and projection, which a ViT of open_clip has "
                f"(ViT-B-16, ViT-B-32, ViT-L-14), found {type(visual).__name__} of {encoder.identity}."
            )
        self.alignment = OTAM() if alignment is None else alignment
        if self.alignment.merges_shots:
            raise ValueError(
                f"EMPNet compares the means of shots, but {type(self.alignment).__name__} compares all shots of a "
                "class at once. Use an alignment such as fsar.alignment.OTAM."
            )
        self.head = PostReasoning(encoder.channels)
        self.merge = merge
        self.averages_shots = merge == "before" and not published_first_five
        self.top_frames, self.top_patches, self.epsilon = top_frames, top_patches, epsilon
        self.draw_template = draw_template
        self.published_first_five = published_first_five

    def describe(self) -> str:
        return f"EMPNet with {type(self.alignment).__name__}"

    def class_text(self, names: Sequence[str]) -> Tensor:
        """``(C d)``: in training of one template, drawn for the step."""
        text: Any = self.encoder.text
        if not (self.training and self.draw_template):
            return super().class_text(names)
        each: Tensor = text.per_template(names)  # (C m d)
        return each[:, int(torch.randint(each.shape[1], ()))]

    def project(self, features: Features) -> list[Tensor]:
        """The three layers ``(... t 1+p w)`` in the space of the texts, ``(... t 1+p d)``."""
        visual: Any = self.encoder.visual
        weight = visual.proj
        return [(visual.ln_post(features[name].to(weight.dtype)) @ weight).float() for name in self.needs[1:]]

    def query_parts(self, features: Features) -> Parts:
        levels = self.head.levels(self.project(features))
        return {**levels, **{f"{level}_joined": x for level, x in self.head.join(levels).items()}}

    def support_parts(self, features: Features, text: Tensor) -> Parts:
        levels = self.head.levels(self.project(features))
        if self.merge == "before":
            return levels
        joined = {f"{level}_joined": x for level, x in self.head.join(levels, text).items()}
        return {**levels, **joined} if self.training else joined

    def prototypes(self, support: Parts, episode: Task, text: Tensor) -> Parts:
        """``(... n t d)`` of each level."""
        labels, ways = episode.support_labels, episode.ways
        if self.merge == "after":
            return {level: shot_mean(support[f"{level}_joined"], labels, ways) for level in LEVELS}
        means = {level: shot_mean(support[level], labels, ways) for level in LEVELS}
        return self.head.join(means, text[episode.classes])

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> LevelScores:
        prototypes = self.prototypes(support, episode, text)
        by_clips = {x: self.alignment(query[f"{x}_joined"], prototypes[x]).softmax(-1) for x in LEVELS}
        classes = known_classes(episode) if self.published_first_five else episode.classes
        clips = {x: query[x] for x in LEVELS}
        if self.training:
            axis = episode.classes.dim() - 1
            clips = {x: torch.cat([support[x], query[x]], dim=axis) for x in LEVELS}
        similarities = text_similarities(clips, text[classes], self.top_frames, self.top_patches, self.epsilon)
        by_text = {x: similarity.softmax(-1) for x, similarity in similarities.items()}
        queries = episode.query_labels.shape[-1]
        rows = [*by_clips.values(), *(x[..., -queries:, :] for x in by_text.values())]
        logits = torch.stack(rows).mean(0).log()
        return LevelScores(logits, logits, by_clips=by_clips, by_text=by_text)

    def loss(self, scores: Scores, episode: Task) -> dict[str, Tensor]:
        """Six CE of probabilities."""
        assert isinstance(scores, LevelScores)
        clips = sum(cross_entropy(x, episode.query_labels) for x in scores.by_clips.values())
        labels = episode.clip_labels if self.training else episode.query_labels
        text = sum(cross_entropy(x, labels) for x in scores.by_text.values())
        few_shot, video_text = torch.as_tensor(clips), torch.as_tensor(text)
        return {"loss": few_shot + video_text, "few_shot_loss": few_shot, "video_text_loss": video_text}


LEVEL, FUSION = r"(?:head\.)?{}_(token|frame|patch)\.layers\.0", r"(?:head\.)?spatialtemporal_reasion_(\d)\.layers\.0"
RELEASED_NAMES: dict[str, str | None] = {
    **{
        LEVEL.format(released) + place: rf"head.{ours}.\1.{part}"
        for released, ours in (("inter_reasion", "within"), ("fusion", "joined"))
        for place, part in (
            (r"\.0\.norm\.", "norm."),
            (r"\.0\.fn\.", ""),
            (r"\.1\.net\.0\.", "feed_forward.1."),
            (r"\.1\.net\.3\.", "feed_forward.4."),
        )
    },
    FUSION + r"\.0\.norm\.": r"head.fusion.\1.space.norm.",
    FUSION + r"\.0\.fn\.": r"head.fusion.\1.space.",
    FUSION + r"\.1\.norm\.": r"head.fusion.\1.time.norm.",
    FUSION + r"\.1\.fn\.": r"head.fusion.\1.time.",
    FUSION + r"\.2\.net\.0\.": r"head.fusion.\1.feed_forward.1.",
    FUSION + r"\.2\.net\.3\.": r"head.fusion.\1.feed_forward.4.",
    **CLIP_TOWER_NAMES,
}


def convert_released(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the authors' checkpoint (its ``model_state``) under the names of :class:`EMPNet`.

    Raises:
        ValueError: for a name that the released model does not have.
    """
    expected = "EMP-Net: inter_reasion_*, fusion_*, spatialtemporal_reasion_* and backbone.*"
    converted = {}
    for name, value in rename_released(state, RELEASED_NAMES, expected).items():
        if name.endswith("to_qkv.weight"):  # one map there, three here
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                converted[name.replace("to_qkv", f"to_{letter}")] = part
        else:
            converted[name] = value
    return converted
