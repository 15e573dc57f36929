"""A method trained with objectives beside its own loss: what they need is gathered once per step, whatever the method.

What the method encodes in a step is recorded on its way, so no clip is encoded twice; features that an objective
:attr:`~fsar.objectives.Objective.needs` beyond the method's are computed in the same pass.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from episodes.clips import Clips, Features, LowerHalf, Streams, combined
from episodes.episode import Episode
from episodes.files import write_atomically
from episodes.words import pluralise
from fsar.encoders.frame import FrameEncoder
from fsar.method import Method
from fsar.objectives import Objective, Step
from fsar.text import TextBank

Losses = dict[str, Tensor]
SUMMARY = "objectives.json"
"""In a run folder: what the objectives told once training had ended."""


class Together(nn.ModuleList):
    """Objectives that share the steps of a method.

    Args:
        objectives: in the order in which they are logged.
        method: it is told to read what they need.

    Raises:
        ValueError: a need that the encoder cannot meet; it names the objective and the encoder.
    """

    def __init__(self, objectives: Sequence[Objective], method: Method) -> None:
        for objective in objectives:
            check_objective(objective, method)
        super().__init__(objectives)
        extra = [name for each in objectives for name in each.needs if name not in method.needs]
        if extra:
            method.needs = (*method.needs, *dict.fromkeys(extra))
        self._frozen: list[FrameEncoder] = []  # a list, so that it is no part of the weights

    @property
    def members(self) -> dict[str, Objective]:
        """The objectives by the name that each is logged under; a second of a kind is ``<name>_2``."""
        found: dict[str, Objective] = {}
        for each in self:
            assert isinstance(each, Objective)
            count = sum(type(other) is type(each) for other in found.values())
            found[f"{each.name}_{count + 1}" if count else each.name] = each
        return found

    def keep_frozen(self, encoder: FrameEncoder) -> None:
        """Copy the encoder as it is before training, where an objective compares with it and training changes it."""
        if not self._frozen and not encoder.frozen and any(each.needs_frozen for each in self.members.values()):
            self._frozen.append(frozen_copy(encoder))

    def resume(self, steps: int) -> None:
        """Tell the objectives whether so many steps were done before this training begins."""
        for each in self.members.values():
            each.resumed = steps > 0

    @contextmanager
    def recorded(self, method: Method) -> Iterator[list[Features]]:
        """What the method encodes meanwhile, in the order in which it does."""
        seen: list[Features] = []
        if not len(self):
            yield seen
            return
        encode = method.features_of

        def record(clips: Clips, text: Tensor | None = None) -> Features:
            seen.append(encode(clips, text))
            return seen[-1]

        vars(method)["features_of"] = record
        try:
            yield seen
        finally:
            del vars(method)["features_of"]

    def add_losses(self, losses: Losses, seen: Sequence[Features], method: Method, episode: Episode) -> Losses:
        """The method's losses and then those of the objectives; ``loss`` is what is minimised of all, and
        ``method_loss`` the method's own."""
        if not len(self):
            return losses
        step = self.make_step(seen, method, episode)
        own = losses["loss"]
        total, named = own, {"method_loss": own, **{name: x for name, x in losses.items() if name != "loss"}}
        for name, objective in self.members.items():
            found: Losses = objective(step)
            total = total + objective.weight * found["loss"]
            named |= {name if key == "loss" else f"{name}_{key}": value for key, value in found.items()}
        return {"loss": total, **named}

    def make_step(self, seen: Sequence[Features], method: Method, episode: Episode) -> Step:
        """All that the objectives may ask for, of every clip of the episode or episodes."""
        axis, encoder = episode.support_labels.dim() - 1, method.encoder
        wanted = set(dict.fromkeys(name for each in self.members.values() for name in each.needs))
        if not seen or any(name not in some for some in seen for name in wanted):
            raise ValueError(
                f"{method.describe()} encodes clips in a way of its own, which gave "
                f"{' and '.join(seen[0]) if seen else 'nothing'}, but its objectives read "
                f"{' and '.join(sorted(wanted))}: leave them out, or use another method."
            )
        features = _joined(seen, axis) if len(seen) > 1 else seen[0]
        joint = {"patches"} & {name for each in self.members.values() for name in each.needs_joint}
        given = {name: project(encoder, x) if name in joint else x for name, x in features.items() if name in wanted}
        frozen = None
        if any(each.needs_frozen for each in self.members.values()):
            found = features if encoder.frozen else self.frozen_features(encoder, episode, axis)
            frozen = Features(frames=found["frames"].detach().flatten(0, axis))
        labels = episode.clip_classes.flatten()
        said = _captions(episode, axis)
        return Step(_flat(Features(given), axis), labels, episode.class_names, encoder.text, frozen, said)

    @torch.no_grad()
    def frozen_features(self, encoder: FrameEncoder, episode: Episode, axis: int) -> Features:
        """Frames of all clips by the encoder as it was before training."""
        self.keep_frozen(encoder)
        (kept,) = self._frozen
        clips = combined(partial(torch.cat, dim=axis), [episode.support, episode.query])
        kept.to(episode.support_labels.device)
        if isinstance(clips, Streams):
            return kept.features(clips)
        return kept.above(clips) if isinstance(clips, LowerHalf) else Features(clips)

    def tell(self, trainer: Trainer) -> None:
        """Say, and write to :data:`SUMMARY` of the run folder, what the objectives have to tell after training."""
        told = {name: found for name, each in self.members.items() if (found := each.summary())}
        if not told or not trainer.is_global_zero:
            return
        with write_atomically(Path(trainer.default_root_dir, SUMMARY)) as part:
            part.write_text(json.dumps(told, indent=1), encoding="utf-8")
        for name, found in told.items():
            first = ", ".join(f"{what} ({pluralise(count, 'step')})" for what, count in list(found.items())[:3])
            rank_zero_info(
                f"{name} merged {pluralise(len(found), 'pair')} of classes: {first}; all are in {SUMMARY} of the run."
            )


def check_objective(objective: Objective, method: Method) -> None:
    """Refuse an objective whose needs the method's encoder cannot meet.

    Raises:
        ValueError: names the objective, the encoder and the way out.
    """
    encoder, name = method.encoder, type(objective).__name__
    encoder.check_needs(objective.needs, name)
    if method.gives is not None and (lacking := set(objective.needs) - set(method.gives)):
        raise ValueError(
            f"{name} reads {' and '.join(sorted(lacking))}, but {method.describe()} encodes clips in a way of its own, "
            f"which gives {' and '.join(method.gives) or 'no features'}: leave {name} out, or use another method."
        )
    beside = "tower" in encoder.gives
    if objective.needs_training and (encoder.frozen or beside):
        raise ValueError(
            f"{name} trains what the encoder says of a clip, but {encoder.identity} stays as it is, so it would change "
            "nothing: set tune of the encoder to 'full' or to a number of blocks, put an adapter into it, or leave the "
            "objective out."
        )
    if not objective.reads_text:
        return
    if encoder.text is None:
        raise ValueError(
            f"{name} compares clips with texts, but the encoder {type(encoder).__name__} ({encoder.identity}) has no "
            "text tower: use fsar.encoders.ClipEncoder, or leave the objective out."
        )
    check_texts(objective)
    with torch.no_grad():
        width = encoder.text.encode(["a"]).shape[-1]
    if beside or (objective.needs_joint and encoder.channels != width):
        raise ValueError(
            f"{name} compares frames with texts, but those of {encoder.identity} do not lie in the space of its text "
            f"tower ({encoder.channels} against {width} channels): use an encoder whose projection is kept."
        )
    if "patches" in objective.needs_joint:
        projection(encoder)
    objective.check_widths(encoder.channels, width)


def project(encoder: FrameEncoder, patches: Tensor) -> Tensor:
    """Patches ``(... p w)`` in the space of the text, ``(... p d)``."""
    return patches @ projection(encoder).to(patches.dtype)


def projection(encoder: FrameEncoder) -> Tensor:
    """``(w d)``, what a ViT's class token is multiplied with at the end.

    Raises:
        ValueError: an encoder without it.
    """
    weight = getattr(encoder.visual, "proj", None)
    if isinstance(weight, Tensor) and weight.shape[-1] == encoder.channels:
        return weight
    raise ValueError(
        f"patches of {encoder.identity} cannot be projected to the space of its text: it is no ViT of open_clip with a "
        "projection. Use ViT-B-16 or its kin, or tokens: frames."
    )


def frozen_copy(encoder: FrameEncoder) -> FrameEncoder:
    """The encoder as it is now, without its text tower, for evaluation.

    Its weights still say which of them are trained in the original: that is where the frozen half of it ends.
    """
    text, encoder.text = encoder.text, None
    try:
        kept = copy.deepcopy(encoder)
    finally:
        encoder.text = text
    return kept.eval()


def _joined(seen: Sequence[Features], axis: int) -> Features:
    """Supports and queries that were encoded one after the other."""
    joined = combined(partial(torch.cat, dim=axis), list(seen))
    return Features(joined)


def _captions(episode: Episode, axis: int) -> Tensor | None:
    """``(b m l)`` what is said of each clip, where the data say it."""
    if not all(isinstance(clips, Streams) and "captions" in clips for clips in (episode.support, episode.query)):
        return None
    return torch.cat([episode.support["captions"], episode.query["captions"]], dim=axis).flatten(0, axis)


def _flat(features: Features, axis: int) -> Features:
    """``(... v *)`` to ``(b *)``: clips of several episodes are clips of one step."""
    return Features({name: x.flatten(0, axis) for name, x in features.items()})


def check_texts(objective: Objective) -> None:
    """Refuse options of an objective's texts that it does not read.

    Raises:
        ValueError: names the objective and the option to give instead.
    """
    texts: Any = getattr(objective, "texts", None)
    if texts is None:
        return
    name = type(objective).__name__
    if hasattr(objective, "kinds") and texts.kinds != TextBank().kinds:
        raise ValueError(
            f"{name}: kinds stand in its texts ({', '.join(texts.kinds)}), where it does not read them: give them to "
            "the objective itself, as its option kinds."
        )
    if texts.mix or texts.augment:
        option = "mix" if texts.mix else "augment"
        raise ValueError(
            f"{name}: {option} works in the texts of the method, not in those of an objective: leave it out."
        )
