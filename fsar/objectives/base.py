"""What an objective is: a loss beside the method's own, that asks for what it needs by name.

An objective knows no method. The learner hands it a :class:`Step` once per training step, adds ``weight`` times what it
gives to the loss of the method, and logs it under its ``name``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from episodes.clips import Features
from fsar.text.bank import ClassTexts, Kind, TextBank
from fsar.text.chunks import Encodes


@dataclass(frozen=True)
class Step:
    """What one training step is about.

    Args:
        features: of its ``b`` clips, supports first, such as ``frames (b t d)``; whatever an objective needs.
        labels: ``(b)`` split-wide class of each clip.
        class_names: the ``C`` names of the split.
        text: the text tower; None where the encoder has none.
        frozen: the same features by the encoder as it was before training, where an objective needs them.

    >>> step = Step(Features(frames=torch.rand(3, 8, 64)), torch.tensor([4, 1, 4]), tuple("abcde"))
    >>> step.names, step.rows
    (['b', 'e'], tensor([1, 0, 1]))
    """

    features: Features
    labels: Tensor
    class_names: tuple[str, ...]
    text: Encodes | None = None
    frozen: Features | None = None

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
        if self.text is None:
            raise ValueError(
                "an objective reads texts, but the encoder has no text tower: use fsar.encoders.ClipEncoder."
            )
        found = bank.features(self.text, self.names, kinds)
        device = self.labels.device
        return ClassTexts(normalize(found.features.float(), dim=-1).to(device), found.mask.to(device))


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

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        if not weight >= 0:
            raise ValueError(f"{type(self).__name__}: weight must not be negative, found {weight}.")
        self.weight = weight

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Named scalars; the one called ``loss`` is minimised, the others are logged as ``<name>_<key>``."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(step).")

    def summary(self) -> dict[str, int]:
        """What is worth telling once training has ended, by a name each; nothing by default."""
        return {}
