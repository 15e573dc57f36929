"""ActionCLIP: videos and sentences about them in one space, learned with several positives.

Wang et al. 2021, "ActionCLIP: A New Paradigm for Video Action Recognition", https://arxiv.org/abs/2109.08472; released
code https://github.com/sallymmx/ActionCLIP. There the evaluation multiplies cosines with 100 instead of the learned
factor, drops the last incomplete batch, and chooses the best model on the reported split; here it does not.

With v the mean of a clip's fused frames, x a sentence about its class, one of 16 drawn for every clip in training::

    S = scale · cos(v_i, x_j);   loss = ½ [KL(S) + KL(Sᵀ)], targets over all j of the same class
    p(class) = mean over the 16 templates of softmax_c(scale · cos(v, x_c))

Where classes have unequal numbers of texts, as of steps, the ones with fewer say theirs again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from episodes.clips import Clips, Features, as_clips
from episodes.episode import Episode, Task
from fsar.encoders.frame import FrameEncoder
from fsar.functional import cross_entropy, log_mean, rename_released
from fsar.method import Method, Parts, Scores
from fsar.objectives.multi_positive import both_directions
from fsar.shots import shot_mean
from fsar.text import TextBank, encode_whole


class ActionCLIP(Method):
    """ActionCLIP, inside episodes or over all classes (:meth:`classify`, :func:`labelled_batch`).

    Args:
        encoder: an image-text encoder; the paper trains all of it, text included.
        head: makes the video head from the number of channels, such as ``fsar.temporal.SequenceTransformer`` (the
            paper's Transf, with depth 6), ``SequenceLSTM``, ``ShiftConvolution`` or ``ClassTokenTransformer``; the
            plain mean of the frames when not given.
        texts: what is said about a class; the paper's 16 templates when not given.
        classify_by: what names a query in an episode: the mean video of each class's support clips; the class texts;
            or both, as ``p_text^β p_support^(1-β)``.
        text_exponent: β.
        target_temperature: of the loss; 10 as released leaves a little weight on the negatives, null for none.
        few_shot_weight: of an added cross-entropy of the queries, in episodes (ours; the paper has none).
        temperature: initial value of the learned factor of the cosine.

    >>> ActionCLIP(encoder).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    texts: TextBank
    averages_shots = True

    def __init__(
        self,
        encoder: FrameEncoder,
        head: Callable[[int], nn.Module] | None = None,
        texts: TextBank | None = None,
        classify_by: Literal["support", "text", "both"] = "support",
        text_exponent: float = 0.5,
        target_temperature: float | None = 10.0,
        few_shot_weight: float = 0.0,
        temperature: float = 100.0,
    ) -> None:
        super().__init__(encoder)
        self.head = nn.Identity() if head is None else head(encoder.channels)
        self.texts = TextBank("action_clip") if texts is None else texts
        self.classify_by = classify_by
        self.text_exponent = text_exponent
        self.target_temperature = target_temperature
        self.few_shot_weight = few_shot_weight
        self.log_scale = nn.Parameter(torch.tensor(math.log(temperature)))

    @property
    def released_options(self) -> dict[str, bool]:
        """Whether the head reads the positions that every released head has, see :func:`convert_released`."""
        return {"positions": hasattr(self.head, "positions")}

    def class_text(self, names: Sequence[str]) -> Tensor:
        """``(C m d)`` under every template; nothing in training, where each clip draws its own in :meth:`score`."""
        return self.no_text(names) if self.training else self.all_texts(names)

    def all_texts(self, names: Sequence[str]) -> Tensor:
        """``(C m d)`` of unit length; a class with fewer than ``m`` texts says its own again."""
        features, mask = self.texts.features(self.encoder.require_text(), names)
        place = torch.arange(mask.shape[1], device=mask.device) % mask.sum(-1, keepdim=True)
        return normalize(features.take_along_dim(place[..., None], 1), dim=-1)

    def query_parts(self, features: Features) -> Parts:
        return {"video": normalize(self.head(features["frames"]).mean(-2), dim=-1)}

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        prototypes = normalize(shot_mean(support["video"], episode.support_labels, episode.ways), dim=-1)
        by_support = self.scale * query["video"] @ prototypes.mT  # (... q n)
        if self.training:
            return self.score_training(support, query, episode, by_support)
        if self.classify_by == "support":
            return Scores(by_support, by_support)
        by_text = self.by_text(query["video"], text[episode.classes])
        if self.classify_by == "text":
            return Scores(by_text, by_text)
        mixed = self.text_exponent * by_text + (1 - self.text_exponent) * by_support.log_softmax(-1)
        return Scores(mixed, mixed)

    def score_training(self, support: Parts, query: Parts, episode: Task, by_support: Tensor) -> Scores:
        """``class_logits (... s+q s+q)``: all clips, supports first, against the sentence that each of them drew."""
        videos = torch.cat([support["video"], query["video"]], dim=-2)
        sentences = normalize(self.drawn_text(episode.clip_classes, episode), dim=-1)
        logits = self.scale * videos @ sentences.mT
        shots = episode.support_labels.shape[-1]
        few_shot = by_support
        if self.classify_by == "text":  # the support clips' sentences stand for their classes
            few_shot = shot_mean(logits[..., shots:, :shots].mT, episode.support_labels, episode.ways).mT
        return Scores(few_shot, few_shot, logits)

    def drawn_text(self, classes: Tensor, episode: Task) -> Tensor:
        """One random sentence about each clip's class, ``(... v)`` to ``(... v d)``; drawn by torch's seed, which
        training sets for each step, and the episode's number."""
        seed = torch.initial_seed() * 1_000_003 + int(episode.number.flatten()[0])
        generator = torch.Generator().manual_seed(seed % 2**63)
        names = [episode.class_names[c] for c in classes.flatten().tolist()]
        drawn = self.texts.sample(names, self.texts.mix or dict.fromkeys(self.texts.kinds, 1.0), generator)
        return encode_whole(self.encoder.require_text(), drawn).to(classes.device).unflatten(0, classes.shape)

    def loss(self, scores: Scores, episode: Task) -> dict[str, Tensor]:
        few_shot = cross_entropy(scores.few_shot, episode.query_labels)
        if scores.class_logits is None:
            return {"loss": few_shot}
        classes = episode.clip_classes
        positive = classes[..., :, None] == classes[..., None, :]
        contrast = both_directions(scores.class_logits, positive, self.target_temperature)
        loss = contrast + self.few_shot_weight * few_shot if self.few_shot_weight else contrast
        return {"loss": loss, "video_text_loss": contrast, "few_shot_loss": few_shot}

    @property
    def scale(self) -> Tensor:
        """The learned factor of the cosine."""
        return self.log_scale.exp()

    def by_text(self, videos: Tensor, text: Tensor) -> Tensor:
        """Unit videos ``(... v d)`` and unit texts ``(... n m d)`` to log-probabilities ``(... v n)``."""
        logits = self.scale * torch.einsum("...vd,...nmd->...mvn", videos, text)
        return log_mean(logits, -3)

    @torch.no_grad()
    def classify(self, clips: Clips | Tensor, names: Sequence[str]) -> Tensor:
        """Any clips against any classes by their texts: zero-shot, or as trained on these classes.

        Args:
            clips: of ``v`` videos, ``frames (v t c h w)``, or what a store kept of them; as in an episode.
            names: of the ``C`` classes.

        Returns:
            ``(v C)`` probabilities.
        """
        features = self.features_of(as_clips(clips, "clips"))
        video = self.query_parts(features)["video"]
        return self.by_text(video, self.all_texts(names).to(video.device)).exp()


def labelled_batch(clips: Clips | Tensor, labels: Tensor, class_names: Sequence[str], number: int = 0) -> Episode:
    """A batch of an ordinary labelled set as an episode, for the paper's supervised and all-class training.

    The first clip of each class in the batch becomes its support; ActionCLIP's loss treats all clips alike.

    Args:
        clips: of ``b`` videos, as in an episode.
        labels: ``(b)`` class ids.
        class_names: the ``C`` names of the set.
        number: of the batch; with torch's seed it decides the sentences that are drawn.
    """
    clips = as_clips(clips, "clips")
    present, inverse = labels.unique(return_inverse=True)
    position = torch.arange(len(labels), device=labels.device)
    first = torch.full_like(present, len(labels)).scatter_reduce(0, inverse, position, "amin")
    rest = position[~torch.isin(position, first)]
    return Episode(
        support=clips.at(first),
        query=clips.at(rest),
        support_labels=inverse[first],
        query_labels=inverse[rest],
        classes=present,
        class_names=tuple(class_names),
        number=torch.tensor(number, device=labels.device),
    )


FUSION = r"fusion\.(?:module\.)?"
RELEASED_NAMES: dict[str, str | None] = {
    FUSION + r"frame_position_embeddings\.weight$": "head.positions",
    FUSION + r"transformer\.": "head.",
    FUSION + r"(?=(?:lstm_visual|shift)\.)": "head.",
    r"(?:module\.)?visual\.": "encoder.visual.",
    r"(?:module\.)?logit_scale$": "log_scale",
    r"(?:module\.)?(?=(?:transformer|token_embedding|ln_final)\.|(?:positional_embedding|text_projection)$)": (
        "encoder.text.tower."
    ),
}


def convert_released(state: dict[str, Tensor], positions: bool = True) -> dict[str, Tensor]:
    """Weights of the authors' checkpoint under the names of :class:`ActionCLIP`.

    Args:
        state: its ``model_state_dict``, and its ``fusion_model_state_dict`` with ``fusion.`` before every name.
        positions: of frames; they stand beside every released head, but only ``Transf`` reads them.

    Raises:
        ValueError: for a name that the released model does not have.
    """
    renamed = rename_released(state, RELEASED_NAMES, "ActionCLIP: those of CLIP, and of its video head")
    return renamed if positions else {name: x for name, x in renamed.items() if name != "head.positions"}
