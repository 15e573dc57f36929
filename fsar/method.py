"""What a few-shot method is: an encoding half, a per-video half and a scoring half.

Evaluation encodes every video once and then scores thousands of episodes on what is stored, so a method says what
belongs to one video alone (``query_parts``, ``support_parts``) and what needs the whole episode (``score``). Training
runs the same three steps in a row on one episode: there is no second code path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from episodes.episode import Episode
from fsar.alignment.base import Alignment
from fsar.encoders.frame import FrameEncoder
from fsar.functional import cross_entropy
from fsar.shots import shot_groups, shot_mean

Parts = dict[str, Tensor]
"""Named tensors of some clips, each ``(... v *)`` with the clip axis at the same place."""


@dataclass
class Scores:
    """What a method says of an episode.

    Args:
        logits: ``(... q n)``; the prediction is the argmax, their softmax the probabilities.
        few_shot: ``(... q n)``, the logits of the few-shot branch alone, which the training loss uses.
        class_logits: ``(... s+q C)`` video-text logits over all classes of the split, supports first (training only).
    """

    logits: Tensor
    few_shot: Tensor
    class_logits: Tensor | None = None

    @property
    def probabilities(self) -> Tensor:
        """``(... q n)``, adding up to 1 over the classes."""
        return self.logits.softmax(-1)


class Method(nn.Module):
    """Base of every method; a subclass writes :meth:`score`, and what it needs of the rest.

    Args:
        encoder: turns frames into features; its ``text`` tower, when it has one, turns class names into features.
    """

    text_conditioned: bool = False
    """True when the encoding of a support clip depends on the name of its class; evaluation then encodes each video
    twice, once in each role."""

    uses_text: bool = True
    """False for methods that never read a class name: they run with an encoder that has no text tower."""

    separate_passes: bool = False
    """True when training sends support and query clips through the encoder one after the other, support first, as most
    released code does. Only layers that look at their whole batch notice, BatchNorm above all: its statistics are then
    those of each role alone, and it counts two steps."""

    averages_shots: bool = False
    """True when scoring uses nothing of a class's support clips but the mean of each of their parts; evaluation then
    averages while it looks the parts up and hands over one support clip per class."""

    def __init__(self, encoder: FrameEncoder) -> None:
        super().__init__()
        if self.uses_text and encoder.text is None:
            raise ValueError(
                f"{type(self).__name__} reads class names, but the encoder {type(encoder).__name__} has no text "
                "tower. Use an image-text encoder such as fsar.encoders.ClipEncoder, or a method that is vision-only."
            )
        self.encoder = encoder

    def encode(self, clips: Tensor, text: Tensor | None = None) -> Tensor:
        """Frame features of clips ``(... t c h w)`` -> ``(... t d)``.

        Args:
            clips: uint8, or float in [0, 1].
            text: ``(... d)`` class text of each clip; handed over for support clips when ``text_conditioned``.
        """
        return self.encoder(clips) if text is None else self.encoder(clips, text)

    def frame_features(self, clips: Tensor, axes: int, text: Tensor | None = None) -> Tensor:
        """Frame features ``(... t d)`` of what an episode or a batch of videos holds, which its axes tell.

        Pixels ``(t c h w)`` are encoded. Tokens ``(t p w)`` are what the frozen half of the encoder gave; the trained
        half goes on from there. Features ``(t d)`` were encoded before.

        Args:
            clips: with ``axes`` leading axes.
            axes: the last of them counts the clips.
            text: as in :meth:`encode`.

        Raises:
            ValueError: when what was stored cannot serve this method.
        """
        kind = clips.dim() - axes
        if kind >= 4:
            return self.encode(clips, text)
        if type(self).encode is Method.encode and kind == 3:
            return self.encoder.above(clips, text)
        if self.text_conditioned or kind == 3:
            raise ValueError(self.store_refusal)
        return clips.float()

    @property
    def store_refusal(self) -> str:
        """Why what was stored does not serve this method."""
        if not self.text_conditioned:
            return (
                f"{type(self).__name__} encodes clips in a way of its own (it defines encode), so what the frozen half "
                "of its encoder gave does not serve it. Leave out data.features and work from pixels."
            )
        return (
            f"{type(self).__name__} encodes a support clip together with the name of its class, so features of the "
            "video alone do not serve it. Leave out data.features and work from pixels; or adapt the last blocks only "
            "(last of fsar.encoders.Adapted), so that what enters the first of them can be stored."
        )

    def class_text(self, names: Sequence[str]) -> Tensor:
        """``(C d)`` text features of class names; ``(C 0)`` for a method that reads none."""
        if self.uses_text and self.encoder.text is not None:
            return self.encoder.text(names)
        return self.no_text(names)

    def no_text(self, names: Sequence[str]) -> Tensor:
        """``(C 0)``: nothing is said about the classes."""
        weight = next(chain(self.parameters(), self.buffers()), None)
        return torch.empty(len(names), 0, device=None if weight is None else weight.device)

    def query_parts(self, features: Tensor) -> Parts:
        """What scoring needs of a query video, from its own features ``(... t d)`` alone."""
        return {"frames": features}

    def support_parts(self, features: Tensor, text: Tensor) -> Parts:
        """What scoring needs of a support video, from its features ``(... t d)`` and its class's text ``(... d)``."""
        return {"frames": features}

    def compared(self, support: Parts, query: Parts, episode: Episode, text: Tensor) -> tuple[Tensor, Tensor] | None:
        """The frames that an alignment compares; None for a method that aligns no frames, see :class:`AlignedMethod`.

        Takes what :meth:`score` takes.

        Returns:
            Frames of the queries ``(... q t d)`` and of the class prototypes ``(... n t d)``.
        """
        return None

    def score(self, support: Parts, query: Parts, episode: Episode, text: Tensor) -> Scores:
        """Scores of every query of the episode (or of each episode in a batch).

        Args:
            support: parts ``(... s *)``.
            query: parts ``(... q *)``.
            episode: labels and classes; what stands in its clips does not matter here.
            text: ``(C d)`` text features of the split's classes; ``(C 0)`` when the method reads none.
        """
        raise NotImplementedError(f"{type(self).__name__} must define score(support, query, episode, text).")

    def describe(self) -> str:
        """What an error calls the method."""
        return type(self).__name__

    def checked(self, scores: Scores, episode: Episode) -> Scores:
        """The scores, once their shape is right and, in evaluation, none is NaN.

        Raises:
            ValueError: for another shape than ``(... q n)``.
            FloatingPointError: for NaN, which would count as a wrong answer.
        """
        maker = self.describe()
        wanted, found = (*episode.query_labels.shape, episode.ways), tuple(scores.logits.shape)
        if found[-len(wanted) :] != wanted:  # hyper-parameters that are tried together stand before them
            raise ValueError(f"{maker} must give one number for each query and class, {wanted}; it gave {found}.")
        if not self.training and bool(scores.logits.isnan().any()):
            bad = scores.logits.isnan().flatten(-2).any(-1).reshape(-1, *episode.number.shape).any(0)
            raise FloatingPointError(
                f"{maker} gave NaN in episode {episode.number[bad].flatten().tolist()[0]}. If the alignment is your "
                "own, try fsar check-alignment on it; if the weights are NaN, use an earlier checkpoint."
            )
        return scores

    def loss(self, scores: Scores, episode: Episode) -> dict[str, Tensor]:
        """Named scalar losses, averaged over episodes; the one called ``loss`` is minimised."""
        few_shot = cross_entropy(scores.few_shot, episode.query_labels)
        return {"loss": few_shot}

    def forward(self, episode: Episode, text: Tensor | None = None) -> Scores:
        """Scores of episodes of pixels ``(... s t c h w)``, or of what a store kept of them.

        Args:
            episode: clips of one or many episodes, see :meth:`frame_features`.
            text: ``(C d)``, to use instead of the encoder's features of ``episode.class_names``.
        """
        if text is None:
            text = self.class_text(episode.class_names)
        support_text = text[episode.support_classes]
        shots = episode.support_labels.shape[-1]
        axes = episode.support_labels.dim()
        if self.text_conditioned or self.separate_passes:
            support = self.frame_features(episode.support, axes, support_text if self.text_conditioned else None)
            query = self.frame_features(episode.query, axes)
        else:
            clips = torch.cat([episode.support, episode.query], axes - 1)
            support, query = self.frame_features(clips, axes).tensor_split([shots], dim=axes - 1)
        scores = self.score(self.support_parts(support, support_text), self.query_parts(query), episode, text)
        return self.checked(scores, episode)


class AlignedMethod(Method):
    """A method that compares the frames of a query with those of each class.

    A subclass writes what the frames are, in :meth:`query_parts` and :meth:`support_parts`; without a :meth:`score` of
    its own the logits are the similarities.

    Args:
        encoder: turns frames into features.
        alignment: compares query and prototype frames.
    """

    def __init__(self, encoder: FrameEncoder, alignment: Alignment) -> None:
        super().__init__(encoder)
        self.alignment = alignment
        self.averages_shots = not alignment.merges_shots

    def describe(self) -> str:
        return f"{type(self).__name__} with {type(self.alignment).__name__}"

    def compared(self, support: Parts, query: Parts, episode: Episode, text: Tensor) -> tuple[Tensor, Tensor]:
        """Frames of the queries ``(... q t d)`` and of the class prototypes ``(... n t d)``; ``(... n k t d)`` for an
        alignment that merges shots itself."""
        merge_shots = shot_groups if self.alignment.merges_shots else shot_mean
        return query["frames"], merge_shots(support["frames"], episode.support_labels, episode.ways)

    def match(self, support: Parts, query: Parts, episode: Episode, text: Tensor) -> Tensor:
        """Similarity ``(... q n)`` of the frames that :meth:`compared` gives."""
        similarity: Tensor = self.alignment(*self.compared(support, query, episode, text))
        return similarity

    def score(self, support: Parts, query: Parts, episode: Episode, text: Tensor) -> Scores:
        logits = self.match(support, query, episode, text)
        return Scores(logits, logits)
