"""What a few-shot method is: an encoding half, a per-video half and a scoring half.

Evaluation encodes every video once and then scores thousands of episodes on what is stored, so a method says what
belongs to one video alone (``query_parts``, ``support_parts``) and what needs the whole episode (``score``). Training
runs the same three steps in a row on one episode: there is no second code path.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from episodes.clips import Clips, Features, LowerHalf, Streams, combined
from episodes.episode import Episode, Task
from fsar.alignment.base import Alignment
from fsar.encoders.frame import FrameEncoder
from fsar.functional import cross_entropy
from fsar.refinement import Refinement
from fsar.shots import shot_groups, shot_mean
from fsar.text import TextBank

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

    needs: tuple[str, ...] = ("frames",)
    """Names of the features that it reads, see :meth:`fsar.encoders.FrameEncoder.features`. One that depends on an
    option is set before ``super().__init__``, which looks whether the encoder gives them."""

    gives: tuple[str, ...] | None = None
    """Features of the encoder that an :meth:`encode` of its own gives; None where it is all of :attr:`needs`."""

    text_conditioned: bool = False
    """True when the encoding of a support clip depends on the name of its class; evaluation then encodes each video
    twice, once in each role."""

    uses_text: bool = True
    """False for methods that never read a class name: they run with an encoder that has no text tower."""

    texts: TextBank | None = None
    """What is said about a class, where it is not the sentences of the encoder's templates."""

    separate_passes: bool = False
    """True when training encodes support and then query clips, as most released code does, not all at once. Only layers
    that look at their whole batch notice: BatchNorm's statistics are those of each role alone, and it counts twice."""

    same_in_both_roles: bool = False
    """True when :meth:`support_parts` gives what :meth:`query_parts` does; evaluation keeps a video's parts once."""

    averages_shots: bool = False
    """True when scoring uses nothing of a class's support clips but the mean of each of their parts; evaluation then
    averages while it looks the parts up and hands over one support clip per class."""

    text_tokens: int = 0
    """Tokens of text that the temporal Transformer of the method sees behind the frames of a support clip."""

    sees_other_queries: bool = False
    """True for a transductive method: the scores of a query depend on which other queries stand in its episode.
    Evaluation scores whole episodes and says how many queries of each class they hold; results carry the mark."""

    reads_query_labels: bool = False
    """True when scores depend on the classes of the queries, which nobody knows of a new clip: an upper bound, or a
    published habit. Results carry the mark, and ``predict`` refuses."""

    one_query_each: bool = False
    """True when an episode must hold one query of each class, no more and no fewer: no other can be scored."""

    def __init__(self, encoder: FrameEncoder) -> None:
        super().__init__()
        if self.needs != Method.needs:  # every encoder gives frames
            encoder.check_needs(self.needs, type(self).__name__)
        if self.uses_text and encoder.text is None:
            raise ValueError(
                f"{type(self).__name__} reads class names, but the encoder {type(encoder).__name__} has no text "
                "tower. Use an image-text encoder such as fsar.encoders.ClipEncoder, or a method that is vision-only."
            )
        self.encoder = encoder

    def encode(self, clips: Streams, text: Tensor | None = None) -> Features:
        """What the method :attr:`needs` of clips, such as ``frames (... t d)``.

        Args:
            clips: ``frames (... t c h w)``, uint8, or float in [0, 1].
            text: ``(... d)`` class text of each clip; handed over for support clips when ``text_conditioned``.
        """
        return self.encoder.features(clips, self.needs, text)

    def features_of(self, clips: Clips, text: Tensor | None = None) -> Features:
        """Features of what an episode or a batch of videos holds.

        Streams are encoded. From what the frozen half of the encoder gave the trained half goes on. Features were
        encoded before. ``text`` is as in :meth:`encode`; a ValueError when what was stored cannot serve this method.
        """
        if isinstance(clips, Streams):
            return self.encode(clips, text)
        if isinstance(clips, LowerHalf) and type(self).encode is Method.encode:
            return self.encoder.above(clips, self.needs, text)
        if self.text_conditioned or not isinstance(clips, Features):
            raise ValueError(self.store_refusal)
        if lacking := [name for name in self.needs if name not in clips]:
            raise ValueError(
                f"{type(self).__name__} reads {' and '.join(self.needs)}, but what was stored are "
                f"{' and '.join(clips)}, not {' and '.join(lacking)}. `fsar extract` with this method's configuration "
                "stores what it reads; or leave out data.features and work from pixels."
            )
        return clips.map(Tensor.float)

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
        if not self.uses_text or self.encoder.text is None:
            return self.no_text(names)
        text = self.encoder.text
        return text(names) if self.texts is None else self.texts.features(text, names).plain_mean()

    def drawing_texts(self, seed: int) -> AbstractContextManager[None]:
        """Meanwhile class texts are those of a training step, where :attr:`texts` mixes or augments them."""
        return nullcontext() if self.texts is None else self.texts.drawing(seed)

    def no_text(self, names: Sequence[str]) -> Tensor:
        """``(C 0)``: nothing is said about the classes."""
        weight = next(chain(self.parameters(), self.buffers()), None)
        return torch.empty(len(names), 0, device=None if weight is None else weight.device)

    def query_parts(self, features: Features) -> Parts:
        """What scoring needs of a query video, from its own features alone, such as ``frames (... t d)``."""
        return {"frames": features["frames"]}

    def support_parts(self, features: Features, text: Tensor) -> Parts:
        """The same of a support video, whose class's text ``(... d)`` is known; as of a query if nothing is said."""
        return self.query_parts(features)

    def compared(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> tuple[Tensor, Tensor] | None:
        """The frames that an alignment compares, of queries ``(... q t d)`` and of class prototypes ``(... n t d)``;
        None for a method that aligns no frames, see :class:`AlignedMethod`. Takes what :meth:`score` takes."""
        return None

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
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

    def refine_with(self, refinement: Refinement) -> None:
        """Let an episode's queries refine its scores in evaluation; the method is then transductive and says so. A
        ValueError for one whose scores are not similarities of queries and prototypes."""
        raise ValueError(
            f"{self.describe()} does not score by the similarity of a query's frames and a prototype's, which "
            f"{type(refinement).__name__} refines: leave out model.refine, or take a method such as Prototype."
        )

    def checked(self, scores: Scores, episode: Task) -> Scores:
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

    def loss(self, scores: Scores, episode: Task) -> dict[str, Tensor]:
        """Named scalar losses, averaged over episodes; the one called ``loss`` is minimised."""
        return {"loss": cross_entropy(scores.few_shot, episode.query_labels)}

    def forward(self, episode: Episode, text: Tensor | None = None) -> Scores:
        """Scores of episodes of pixels ``(... s t c h w)``, or of what a store kept of them.

        Args:
            episode: clips of one or many episodes, see :meth:`features_of`.
            text: ``(C d)``, to use instead of the encoder's features of ``episode.class_names``.
        """
        if text is None:
            text = self.class_text(episode.class_names)
        support_text = text[episode.support_classes]
        shots = episode.support_labels.shape[-1]
        axis = episode.support_labels.dim() - 1
        if self.text_conditioned or self.separate_passes:
            support = self.features_of(episode.support, support_text if self.text_conditioned else None)
            query = self.features_of(episode.query)
        else:
            clips = combined(partial(torch.cat, dim=axis), [episode.support, episode.query])
            support, query = self.features_of(clips).split_at(shots, axis)
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

    refinable: bool = False
    """True where a score of its own goes by :meth:`match`."""

    def __init__(self, encoder: FrameEncoder, alignment: Alignment) -> None:
        super().__init__(encoder)
        self.alignment = alignment
        self.averages_shots = not alignment.merges_shots
        self.refinement: Refinement | None = None

    def describe(self) -> str:
        return f"{type(self).__name__} with {type(self.alignment).__name__}"

    def compared(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> tuple[Tensor, Tensor]:
        """Frames of the queries ``(... q t d)`` and of the class prototypes ``(... n t d)``; ``(... n k t d)`` for an
        alignment that merges shots itself."""
        merge_shots = shot_groups if self.alignment.merges_shots else shot_mean
        return query["frames"], merge_shots(support["frames"], episode.support_labels, episode.ways)

    def match(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Tensor:
        """Similarity ``(... q n)`` of the frames that :meth:`compared` gives."""
        frames, prototypes = self.compared(support, query, episode, text)
        if self.refinement is not None and not self.training:
            shots = one_hot(episode.support_labels, episode.ways).sum(-2)
            found: Tensor = self.refinement(frames, prototypes, shots, self.alignment, episode.query_labels)
        else:
            found = self.alignment(frames, prototypes)
        return found

    def refine_with(self, refinement: Refinement) -> None:
        if self.alignment.merges_shots or not (self.refinable or type(self).score is AlignedMethod.score):
            super().refine_with(refinement)
        self.refinement, self.averages_shots = refinement, False  # it asks how many shots there are
        self.sees_other_queries, self.reads_query_labels = True, refinement.reads_labels

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        logits = self.match(support, query, episode, text)
        return Scores(logits, logits)
