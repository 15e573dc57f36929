"""What an objective is: a loss beside the method's own, that asks for what it needs by name.

An objective knows no method. The learner hands it a :class:`Step` once per training step, adds ``weight`` times what it
gives to the loss of the method, and logs it under its ``name``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from episodes.annotations.captions import read_captions
from episodes.clips import Features
from fsar.text.bank import ClassTexts, TextBank
from fsar.text.chunks import Encodes, encode_whole
from fsar.text.kinds import Kind

ClipKind = Kind | Literal["caption"]
"""Of what is said in training: about a class, or about one clip alone (CapFSAR's captions, ``data.captions``)."""


NO_CAPTIONS = (
    "an objective reads texts of kind 'caption', but clips have none: give data.captions, a folder with "
    "<class>/<clip>.txt of every training video, and leave out data.features."
)


class Said(NamedTuple):
    """Texts of the classes of a step, and of its clips.

    >>> Said(torch.rand(2, 3, 64), torch.ones(2, 3).bool(), torch.tensor([0, 1])).flat()[0].shape
    torch.Size([6, 64])
    """

    features: Tensor  # (r m d) of unit length; zeros where a row has fewer than m
    mask: Tensor  # (r m) bool, true where there is a text
    owners: Tensor  # (r) the class that each row speaks of, its place in Step.classes

    def flat(self) -> tuple[Tensor, Tensor]:
        """``(c d)`` all texts that there are, and ``(c)`` their owners."""
        return self.features[self.mask], self.owners[self.mask.nonzero()[:, 0]]


@dataclass(frozen=True)
class Step:
    """What one training step is about.

    Args:
        features: of its ``b`` clips, supports first, such as ``frames (b t d)``; whatever an objective needs.
        labels: ``(b)`` split-wide class of each clip.
        class_names: the ``C`` names of the split.
        text: the text tower; None where the encoder has none.
        frozen: the same features by the encoder as it was before training, where an objective needs them.
        captions: ``(b m l)`` what is said of each clip alone, see :func:`episodes.dataset.read_captions`; None without.

    >>> step = Step(Features(frames=torch.rand(3, 8, 64)), torch.tensor([4, 1, 4]), tuple("abcde"))
    >>> step.names, step.rows
    (['b', 'e'], tensor([1, 0, 1]))
    """

    features: Features
    labels: Tensor
    class_names: tuple[str, ...]
    text: Encodes | None = None
    frozen: Features | None = None
    captions: Tensor | None = None

    @cached_property
    def classes(self) -> Tensor:
        """``(n)`` the classes that have a clip here, in rising order."""
        return self.labels.unique()

    @cached_property
    def rows(self) -> Tensor:
        """``(b)`` the place of each clip's class in :attr:`classes`."""
        return torch.searchsorted(self.classes, self.labels)

    @property
    def names(self) -> list[str]:
        """Of :attr:`classes`."""
        return [self.class_names[c] for c in self.classes.tolist()]

    def videos(self, frozen: bool = False) -> Tensor:
        """``(b d)`` unit vectors, the means over the frames."""
        source = self.frozen if frozen and self.frozen is not None else self.features
        return normalize(source["frames"].mean(-2).float(), dim=-1)

    def tokens(self, name: str) -> Tensor:
        """``frames (b t d)`` as they are, ``patches (b t p d)`` as ``(b t·p d)``."""
        found = self.features[name].float()
        return found if found.dim() == 3 else found.flatten(1, -2)

    def texts(self, bank: TextBank, kinds: Sequence[Kind]) -> ClassTexts:
        """Unit features ``(n m d)`` of what the bank says about :attr:`classes`, and which of them there are.

        Raises:
            ValueError: a class without a text of these kinds; an encoder without a text tower.
        """
        found = bank.features(self.tower, self.names, kinds)
        device = self.labels.device
        return ClassTexts(normalize(found.features.float(), dim=-1).to(device), found.mask.to(device))

    def read_texts(self, bank: TextBank, kinds: Sequence[ClipKind]) -> Said:
        """As :meth:`texts`, and with the kind "caption" a row for every clip, whose texts belong to all of its class.

        Raises:
            ValueError: as there; clips without captions.
        """
        of_class: list[Kind] = [kind for kind in kinds if kind != "caption"]
        rows: list[ClassTexts] = [self.texts(bank, of_class)] if of_class else []
        owners = [torch.arange(len(self.classes), device=self.labels.device)] if of_class else []
        if "caption" in kinds:
            rows.append(self.of_clips())
            owners.append(self.rows)
        widest = max(row.mask.shape[1] for row in rows)
        padded = [pad(row.features, (0, 0, 0, widest - row.mask.shape[1])) for row in rows]
        masks = [pad(row.mask, (0, widest - row.mask.shape[1])) for row in rows]
        return Said(torch.cat(padded), torch.cat(masks), torch.cat(owners))

    def of_clips(self) -> ClassTexts:
        """Unit features ``(b m d)`` of the captions of each clip."""
        if self.captions is None:
            raise ValueError(NO_CAPTIONS)
        texts = [text for clip in self.captions for text in read_captions(clip)]
        features = encode_whole(self.tower, texts).unflatten(0, self.captions.shape[:2])
        there = torch.ones(self.captions.shape[:2], dtype=torch.bool, device=self.labels.device)
        return ClassTexts(normalize(features.float(), dim=-1).to(self.labels.device), there)

    @property
    def tower(self) -> Encodes:
        """The text tower.

        Raises:
            ValueError: when the encoder has none.
        """
        if self.text is None:
            raise ValueError(
                "an objective reads texts, but the encoder has no text tower: use fsar.encoders.ClipEncoder."
            )
        return self.text


class Objective(nn.Module):
    """Base of every objective; a subclass writes :meth:`forward`.

    Args:
        weight: what its loss is multiplied by.

    Raises:
        ValueError: a negative weight.

    >>> class Length(Objective):
    ...     name = "length"
    ...
    ...     def forward(self, step):
    ...         return {"loss": step.features["frames"].square().mean()}
    >>> sorted(Length(weight=0.1)(step))  # that of fsar.objectives
    ['loss']
    """

    name: str = "objective"
    """Under which the loss is logged: ``train_<name>``."""

    needs: tuple[str, ...] = ("frames",)
    """Names of the features that it reads of every clip."""

    needs_joint: tuple[str, ...] = ("frames",)
    """Those of :attr:`needs` that are compared with texts, so they must lie in the space of the text tower."""

    needs_frozen: bool = False
    """Whether it reads :attr:`Step.frozen`."""

    needs_training: bool = True
    """Whether it does nothing where the encoder stays as it is."""

    reads_text: bool = True
    """Whether it needs a text tower."""

    resumed: bool = False
    """Whether its training goes on from steps that an earlier process did."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        if not weight >= 0:
            raise ValueError(f"{type(self).__name__}: weight must not be negative, found {weight}.")
        self.weight = weight

    def check_widths(self, frames: int, words: int) -> None:
        """Refuse, when it joins a method, features and texts of so many channels, where it was made for others."""

    def check_classes(self, names: Sequence[str], frames: int) -> None:
        """Refuse, before any video is read, classes of which nothing is said that it reads.

        Args:
            names: of the classes that are trained on.
            frames: of a clip.

        Raises:
            ValueError: names the objective and the first class without a text of its kinds.
        """
        bank, kinds = getattr(self, "texts", None), [kind for kind in getattr(self, "kinds", ()) if kind != "caption"]
        if isinstance(bank, TextBank) and kinds:
            bank.check(names, kinds, type(self).__name__)

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Named scalars; the one called ``loss`` is minimised, the others are logged as ``<name>_<key>``."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(step).")

    def summary(self) -> dict[str, int]:
        """What is worth telling once training has ended, by a name each; nothing by default."""
        return {}
