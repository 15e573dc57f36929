"""What a fit was worth, in one line at its end: is validation above chance, and above what needs no training?

The floor without training is the frozen frame mean: cosine of the mean frames, as the encoder gives them before the
first step (``FrameMean`` on ``Prototype``), scored on the same validation episodes. A frozen encoder gives the same
features in every validation, so the first one serves; one that is trained encodes the validation clips once more,
before the first step.
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from fsar.alignment.direct import FrameMean
from fsar.evaluation.accuracy import plus_minus
from fsar.evaluation.bank import VideoBank, score_episodes
from fsar.evaluation.marks import marks, method_marks
from fsar.evaluation.metrics import Accuracy, EpisodeAccuracy
from fsar.method import Method
from fsar.methods.prototype import Prototype


class Worth(Callback):
    """Scores the floor once, and remembers the best validation; both stand in every checkpoint."""

    def __init__(self) -> None:
        self.floor: Accuracy | None = None
        self.best: Accuracy | None = None
        self.bank: VideoBank | None = None
        self.ways, self.mark = 0, ""

    def state_dict(self) -> dict[str, Any]:
        """Plain values, which a checkpoint may hold."""
        return {name: list(value) for name in ("floor", "best") if (value := getattr(self, name)) is not None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Of the fit that is resumed."""
        for name, value in state_dict.items():
            setattr(self, name, Accuracy(*value))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What chance is; also where a resumed fit has no epoch left to train."""
        learner: Any = pl_module
        self.mark = marks(method_marks(learner.method))
        self.ways = getattr(trainer.datamodule, "test_ways", 0)  # type: ignore[attr-defined]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A floor that the first step would change is taken before it."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        learner: Any = pl_module
        if not self.ways:
            return
        if self.floor is not None or trainer.global_step or not data.has_validation or not trainer.limit_val_batches:
            return
        bank = VideoBank(Prototype(learner.method.encoder, FrameMean()), floor=False)
        if shares_features(learner.method):
            self.bank = learner.beside = bank
            return
        videos, episodes = data.val_dataloader()
        modes = {part: part.training for part in learner.modules()}
        learner.eval()
        for batch in videos:
            bank.add(trainer.strategy.batch_to_device(batch))
        self.floor = score(bank, episodes, trainer, learner)
        for part, mode in modes.items():
            part.training = mode

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Of the first one, the floor of a frozen encoder."""
        learner: Any = pl_module
        if self.bank is not None and not trainer.sanity_checking:
            loaders: Any = trainer.val_dataloaders
            self.floor = score(self.bank, loaders[1], trainer, learner)
            self.bank = learner.beside = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the best, as the best checkpoint is kept."""
        learner: Any = pl_module
        if not trainer.sanity_checking and trainer.state.fn == "fit" and "accuracy" in learner.result:
            found = Accuracy(*(learner.result[key] for key in ("accuracy", "interval_95", "episodes")))
            if self.best is None or found.mean > self.best.mean:
                self.best = found

    def line(self) -> str:
        """What matters; "" without a validation. The frame mean knows less than a method with marks, which are said."""
        told = "" if self.best is None or not self.ways else tell(self.best, self.floor, self.ways)
        besides = "" if self.floor is None else "; the frame mean is not"
        return f"{told} Marked: {self.mark}{besides}." if told and self.mark else told


def shares_features(method: Any) -> bool:
    """Whether every validation gives the features that there were before training."""
    return bool(method.encoder.frozen) and not method.text_conditioned and type(method).encode is Method.encode


def score(bank: VideoBank, episodes: Any, trainer: Trainer, learner: LightningModule) -> Accuracy:
    """Of all processes together; each scores its own share of the episodes."""
    bank.close()  # also by a process that has no episode
    accuracy = EpisodeAccuracy().to(learner.device)
    for batch in episodes:
        batch = trainer.strategy.batch_to_device(batch)
        accuracy.update(score_episodes(bank, batch).logits, batch.query_labels)
    found: Accuracy = accuracy.compute()
    return found


def tell(best: Accuracy, floor: Accuracy | None, ways: int) -> str:
    """The best validation beside chance and beside the floor.

    Examples:
        >>> tell(Accuracy(0.613, 0.012, 1000), Accuracy(0.665, 0.011, 1000), 5)
        'validation: 61.30 %, and the frozen frame mean, without training, is 5.2 above: this training did not help.'
        >>> tell(Accuracy(0.205, 0.012, 1000), None, 5)
        'validation is at chance: 20.50 ± 1.20 %, chance 20 %. Nothing was learned that serves new classes.'
        >>> tell(Accuracy(0.8, float("nan"), 1), None, 5)
        'validation: 80.00 % of one episode, which says nothing yet: set data.val_episodes.'
    """
    if best.episodes == 1:
        return f"validation: {100 * best.mean:.2f} % of one episode, which says nothing yet: set data.val_episodes."
    low, high = best.mean - best.interval, best.mean + best.interval
    if not low > 1 / ways:
        word = "at" if high >= 1 / ways else "below"
        start = f"validation is {word} chance: {plus_minus(best.mean, best.interval)} %, chance "
        line = f"{start}{100 / ways:.3g} %. Nothing was learned that serves new classes."
        return line if floor is None else f"{line} The frozen frame mean, without training: {100 * floor.mean:.2f} %."
    if floor is None:
        return f"validation: {100 * best.mean:.2f} %, chance {100 / ways:.3g} %."
    gap = 100 * (floor.mean - best.mean)
    start = f"validation: {100 * best.mean:.2f} %, and the frozen frame mean, without training, is "
    if abs(gap) < 0.05:
        return f"{start}just as good."
    return start + (f"{gap:.1f} above: this training did not help." if gap > 0 else f"{-gap:.1f} below.")
