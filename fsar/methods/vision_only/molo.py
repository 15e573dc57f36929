"""MoLo: frames and motions of a clip, each behind a token for the whole clip that must tell what the clips are.

Wang et al. 2023, "MoLo: Motion-augmented Long-short Contrastive Learning for Few-shot Action Recognition",
https://arxiv.org/abs/2304.00946; released code https://github.com/alibaba-mmai-research/MoLo, whose numbers this file
has. For feature maps F (t d h w) of every clip::

    M           motion of F, see fsar.temporal.motion                            (t-1 d/8 h w), section 3.3
    frames      ReLU(T([g; mean_hw F] √(d/A) + B PE))                            (1+t d)
    motions     ReLU(T'([g'; mean_hw ReLU(conv M)] √(d/A) + B PE))               (1+t-1 d), own weights
    prototype   mean over shots of both, with their first tokens
    logits_c    -Bi-MHM(frames) - motion_weight · Bi-MHM(motions)                without the first tokens
    long-short  -κ Σ_t (1 - cos(prototype_c,t , first token of Q)), and with the roles changed; for frames and motions
    class       V (mean frames + mean motions) + v, over the training classes
    loss        CE(logits) + class_weight · CE(class) + contrast_weight · Σ CE(long-short)
                + reconstruction_weight · mean (decoder(M) - (x_i+1 - x_i))²      x the normalised frames

T is CLIP-FSAR's Transformer (one pre-norm block, no norm before its feed-forward part) with κ, one a stream, starting
at 1. The release fixes maps of 7 x 7 and frames of 224 pixels; here both are what the encoder says. The patches of a
ViT are its maps. The decoder enlarges by 32, or by the 16 or 8 pixels of a patch; where none fits, differences of
frames are brought to its size.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from episodes.clips import Features, Streams
from episodes.episode import Task
from fsar.alignment.base import Alignment
from fsar.encoders.frame import FrameEncoder
from fsar.functional import RESNET_NAMES, cosine, cross_entropy, over_classes, rename_released
from fsar.method import AlignedMethod, Parts, Scores
from fsar.shots import shot_mean
from fsar.temporal.hybrid_relation import ScaledPositions
from fsar.temporal.motion import REDUCTION, MotionBranch, MotionDecoder, enlargements, frame_differences
from fsar.temporal.transformer import TemporalTransformer

STREAMS = ("frames", "motions")


def long_short_logits(query: Tensor, support: Tensor, epsilon: float = 0.01) -> tuple[Tensor, Tensor]:
    """``-Σ_t (1 - cos)`` of one clip's first token with the other's frames, ``(... q n)`` twice: the support's frames
    with the query's token, and the query's frames with the support's.

    Args:
        query: streams ``(... q 1+t d)``, first token first.
        support: likewise, ``(... n 1+t d)``.
        epsilon: of the cosine.
    """
    (query_token, query_frames), (support_token, support_frames) = (
        (x[..., 0, :], x[..., 1:, :]) for x in (query, support)
    )
    to_query = cosine(query_token, support_frames.flatten(-3, -2), epsilon)  # (... q nt)
    to_support = cosine(support_token, query_frames.flatten(-3, -2), epsilon).mT  # (... qt n)
    t = query_frames.shape[-2]
    return to_query.unflatten(-1, (-1, t)).sum(-1) - t, to_support.unflatten(-2, (-1, t)).sum(-2) - t


@dataclass
class MoLoScores(Scores):
    """Scores with, in training, long-short logits ``(... q n)`` by name and the mean square of the decoder's error."""

    long_short: dict[str, Tensor] | None = None
    reconstruction: Tensor | None = None


class MoLo(AlignedMethod):
    """MoLo.

    Args:
        encoder: an encoder that gives maps or patches. The paper's is a ResNet-50 trained on ImageNet, all of it
            trained on.
        alignment: compares frames with frames and motions with motions. The paper's is Bi-MHM with epsilon 0.01;
            ``MeanHausdorff`` is its one-way switch.
        motion_weight: of the motions' similarity.
        class_weight: as released SSv2-Full 0.8, UCF101 0.6, HMDB51 0.4, SSv2-Small 0.15, Kinetics-100 0.1. 0 for no
            classifier.
        train_classes: outputs of the classifier, at least as many as the training split has classes.
        classified: what the classifier reads: the mean of both streams of a "clip", or each of the "tokens" of its
            frames, which the released code offers (``local``) and cannot train.
        contrast_weight: of each of the four long-short losses.
        reconstruction_weight: ρ; as released 0.1 for Kinetics-100 and SSv2-Full, 0.05 elsewhere, of a loss whose other
            parts are divided by 4. Above 0 training needs pixels; at 0 there is no decoder.
        epsilon: of the cosine in the long-short logits.
        position_scale: A; as released 2,048 for Kinetics-100, 10 elsewhere.
        position_weight: B; as released 0.02 for Kinetics-100, 1 elsewhere.
        heads: of the attentions.
        hidden: width of the Transformers' feed-forward parts.
        separate_passes: encode support and query clips in two passes while training, as released; it matters to
            encoders with BatchNorm.

    >>> from fsar.alignment import BiMHM
    >>> MoLo(encoder, BiMHM()).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    uses_text = False
    same_in_both_roles = True
    needs = ("frames", "patches")

    def __init__(
        self,
        encoder: FrameEncoder,
        alignment: Alignment,
        motion_weight: float = 0.3,
        class_weight: float = 0.8,
        train_classes: int = 64,
        classified: Literal["clip", "tokens"] = "clip",
        contrast_weight: float = 0.05,
        reconstruction_weight: float = 0.1,
        epsilon: float = 0.01,
        position_scale: float = 10.0,
        position_weight: float = 1.0,
        heads: int = 8,
        hidden: int = 2048,
        separate_passes: bool = False,
    ) -> None:
        super().__init__(encoder, alignment)
        if alignment.merges_shots:
            raise ValueError(
                f"MoLo averages the shots of a class, which {type(alignment).__name__} compares one by one: use "
                "fsar.alignment.BiMHM."
            )
        channels = encoder.widths["patches"]
        self.motion = MotionBranch(channels)
        factors = enlargements(encoder.image_size, encoder.grid[0])
        self.decoder = MotionDecoder(channels // REDUCTION, factors) if reconstruction_weight else None
        self.positions = ScaledPositions(channels, position_scale, position_weight)
        self.first = nn.ParameterDict({name: nn.Parameter(torch.randn(channels)) for name in STREAMS})
        self.scales = nn.ParameterDict({name: nn.Parameter(torch.ones(())) for name in STREAMS})
        self.transformers = nn.ModuleDict(
            {name: TemporalTransformer(channels, heads=heads, hidden=hidden) for name in STREAMS}
        )
        self.classifier = nn.Linear(channels, train_classes) if class_weight else None
        self.motion_weight, self.class_weight, self.classified = motion_weight, class_weight, classified
        self.contrast_weight, self.reconstruction_weight = contrast_weight, reconstruction_weight
        self.epsilon, self.separate_passes = epsilon, separate_passes

    def query_parts(self, features: Features) -> Parts:
        """Both streams, ``frames (... 1+t d)`` and ``motions (... t d)``; in training the motion as maps too."""
        patches = features["patches"]
        maps = patches.mT.unflatten(-1, self.encoder.grid)
        motion = self.motion(maps)
        parts = {
            "frames": self.stream("frames", patches.mean(-2)),
            "motions": self.stream("motions", self.motion.tokens(motion)),
        }
        return parts | {"motion": motion} if self.training and self.decoder is not None else parts

    def support_parts(self, features: Features, text: Tensor) -> Parts:
        return self.query_parts(features)

    def stream(self, name: str, tokens: Tensor) -> Tensor:
        """Tokens of a stream ``(... t d)`` that know each other, behind a first one of the whole clip,
        ``(... 1+t d)``."""
        first = self.first[name].expand(*tokens.shape[:-2], 1, -1)
        out: Tensor = self.transformers[name](self.positions(torch.cat([first, tokens], dim=-2)))
        return out.relu()

    def compared(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> tuple[Tensor, Tensor]:
        """The frames alone of what is compared, without the first token."""
        frames = super().compared(support, query, episode, text)
        return frames[0][..., 1:, :], frames[1][..., 1:, :]

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        prototypes = {name: shot_mean(support[name], episode.support_labels, episode.ways) for name in STREAMS}
        own, motion = (self.alignment(query[name][..., 1:, :], prototypes[name][..., 1:, :]) for name in STREAMS)
        logits = own + self.motion_weight * motion
        if not self.training:
            return Scores(logits, logits)
        by_class = self.classes(support, query, episode)
        contrasts = {}
        for name in STREAMS:
            pair = long_short_logits(query[name], prototypes[name], self.epsilon)
            for role, values in zip(("to_query", "to_support"), pair, strict=True):
                contrasts[f"{name}_{role}"] = self.scales[name] * values
        return MoLoScores(logits, logits, by_class, contrasts, self.missed(support, query, episode))

    def classes(self, support: Parts, query: Parts, episode: Task) -> Tensor | None:
        """Logits over the split's classes, supports first: ``(... s+q C)``, or ``(... (s+q)(1+t) C)`` of tokens."""
        if self.classifier is None:
            return None
        frames, motions = (torch.cat([support[name], query[name]], dim=-3) for name in STREAMS)
        read = frames.flatten(-3, -2) if self.classified == "tokens" else frames.mean(-2) + motions.mean(-2)
        return over_classes(self.classifier, read, episode)

    def missed(self, support: Parts, query: Parts, episode: Task) -> Tensor | None:
        """Mean square of the decoder's error over all pixels of the episodes.

        Raises:
            ValueError: when the episode's clips are no pixels.
        """
        if self.decoder is None:
            return None
        if not (isinstance(episode.support, Streams) and isinstance(episode.query, Streams)):
            raise ValueError(
                "MoLo's decoder is trained against pixels, which stored features do not have: leave out data.features, "
                "or set --model.reconstruction_weight 0."
            )
        motion = torch.cat([x["motion"] for x in (support, query)], dim=-5)
        clips = torch.cat([x["frames"] for x in (episode.support, episode.query)], dim=-5)
        made = self.decoder(motion)
        with torch.no_grad():
            pixels = self.encoder.normalise(clips.flatten(0, -4)).unflatten(0, clips.shape[:-3])
            wanted = frame_differences(pixels, (made.shape[-2], made.shape[-1]))
        return (made - wanted).square().mean()

    def loss(self, scores: Scores, episode: Task) -> dict[str, Tensor]:
        few_shot = cross_entropy(scores.few_shot, episode.query_labels)
        if not isinstance(scores, MoLoScores):
            return {"loss": few_shot}
        loss, losses = few_shot, {"few_shot_loss": few_shot}
        if scores.class_logits is not None:
            tokens = scores.class_logits.shape[-2] // episode.clip_classes.shape[-1]
            by_class = cross_entropy(scores.class_logits, episode.clip_classes.repeat_interleave(tokens, -1))
            loss, losses = loss + self.class_weight * by_class, losses | {"class_loss": by_class}
        for name, logits in (scores.long_short or {}).items():
            contrast = cross_entropy(logits, episode.query_labels)
            loss, losses = loss + self.contrast_weight * contrast, losses | {f"{name}_loss": contrast}
        if scores.reconstruction is not None:
            loss = loss + self.reconstruction_weight * scores.reconstruction
            losses["reconstruction_loss"] = scores.reconstruction
        return {"loss": loss, **losses}


HEAD = r"(?:head\.)?"
RELEASED_NAMES: dict[str, str | None] = {
    HEAD + r"pe\.pe$": None,  # sines that we compute
    HEAD + r"scale$": "scales.frames",
    HEAD + r"scale_motion$": "scales.motions",
    HEAD + r"class_token$": "first.frames",
    HEAD + r"class_token_motion$": "first.motions",
    **{
        HEAD + rf"temporal_atte_before{suffix}\.layers\.0\.{theirs}": f"transformers.{name}.blocks.0.{ours}"
        for suffix, name in (("", "frames"), ("_motion", "motions"))
        for theirs, ours in (
            (r"0\.norm\.", "norm."),
            (r"0\.fn\.", ""),
            (r"1\.net\.0\.", "feed_forward.1."),
            (r"1\.net\.3\.", "feed_forward.4."),
        )
    },
    HEAD + r"motion_reduce\.": "motion.reduce.",
    HEAD + r"motion_conv\.": "motion.shift.",
    HEAD + r"motion_up\.": "motion.widen.",
    HEAD + r"classification_layer\.": "classifier.",
    **{HEAD + rf"up{i + 1}\.conv\.double_conv\.": f"decoder.up.{i}.convolution." for i in range(3)},
    HEAD + r"outc\.conv\.": "decoder.to_colours.",
    **RESNET_NAMES,
}


def convert_released(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the authors' checkpoint (its ``model_state``) under the names of :class:`MoLo`: its one projection of
    the attention is three here.

    Raises:
        ValueError: for a name that the released model does not have.
    """
    expected = (
        "MoLo: temporal_atte_before*, motion_*, up*, outc, scale*, class_token*, classification_layer and backbone"
    )
    converted: dict[str, Tensor] = {}
    for name, value in rename_released(state, RELEASED_NAMES, expected).items():
        if name.endswith("to_qkv.weight"):
            thirds = zip("qkv", value.chunk(3), strict=True)
            converted |= {name.replace("to_qkv", f"to_{letter}"): third for letter, third in thirds}
        else:
            converted[name] = (
                value.flatten() if re.match(r"first\.", name) else value.squeeze() if "scales" in name else value
            )
    return converted
