"""What a run shows while it trains: the progress bar, and pictures of every validation for the loggers."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import MLFlowLogger, WandbLogger
from matplotlib.figure import Figure
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text
from torch import nn

from episodes.datamodule import EpisodicDataModule
from episodes.dataset import IndexEpisodes, index_episodes
from fsar.alignment.maps import alignment_maps
from fsar.drawing import draw, draw_confusion
from fsar.evaluation.bank import VideoBank, score_episodes
from fsar.evaluation.results import summarise
from fsar.training.learner import Learner


def count_weights(method: nn.Module) -> str:
    """How many weights there are, and how many of them are trained."""
    sizes = [(p.numel(), p.requires_grad) for p in method.parameters()]
    trained = sum(size for size, wanted in sizes if wanted)
    return f"{type(method).__name__}: {sum(size for size, _ in sizes):,} weights, {trained:,} of them trained"


class EpisodeProgress(RichProgressBar):
    """Loss, accuracy of this epoch's training episodes with its 95 % interval, last validation accuracy with its own,
    and episodes per second.

    Training episodes are those of this process; validation is over all. One process draws: what it alone does must not
    wait for the others.
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        ask_all(trainer)
        super().on_train_epoch_end(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        ask_all(trainer)
        super().on_validation_end(trainer, pl_module)

    def configure_columns(self, trainer: Trainer) -> list[ProgressColumn]:
        return [
            TextColumn("{task.description}"),
            BarColumn(12),
            Counted(trainer),
            TimeRemainingColumn(elapsed_when_finished=True),
            Speed(trainer),
        ]

    number: int | None = None
    """Of the loader whose batches an evaluation takes now."""

    def has_dataloader_changed(self, dataloader_idx: int) -> bool:
        self.number = dataloader_idx
        return super().has_dataloader_changed(dataloader_idx)

    @property
    def validation_description(self) -> str:
        return describe_loader(self.trainer, self.number)

    @property
    def test_description(self) -> str:
        return describe_loader(self.trainer, self.number)

    @property
    def predict_description(self) -> str:
        return "encoding"  # fsar extract

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        found, shown = trainer.callback_metrics, {}
        if "train_loss" in found:
            shown["loss"] = f"{float(found['train_loss']):.3f}"
        if isinstance(pl_module, Learner) and pl_module.training_accuracy.update_called:
            accuracy = pl_module.training_accuracy.compute()
            shown["accuracy"] = percent(accuracy.mean, accuracy.interval)
        if "val_accuracy" in found:
            shown["val"] = percent(float(found["val_accuracy"]), float(found["val_interval"]))
        return shown


def describe_loader(trainer: Trainer, number: int | None) -> str:
    """What is done with the batches of a loader: clips are encoded once, then episodes are scored on them."""
    found = loaders(trainer)
    return "scoring" if found and isinstance(found[number or 0], IndexEpisodes) else "encoding"


def loaders(trainer: Trainer) -> Any:
    """Those of the evaluation that runs."""
    found: Any = trainer.test_dataloaders if trainer.testing else trainer.val_dataloaders
    return found if isinstance(found, list) else [found]


def ask_all(trainer: Trainer) -> None:
    """Let every process come by the metrics before one shows them: at the end of an epoch, asking for one that is
    logged with ``sync_dist``, as a method or callback of one's own may do, adds it up over processes."""
    _ = trainer.callback_metrics


def percent(mean: float, interval: float) -> str:
    """``63.2±1.9%`` of shares in 0..1, for a narrow line; a single episode has no interval."""
    return f"{100 * mean:.1f}" + ("" if math.isnan(interval) else f"±{100 * interval:.1f}") + "%"


def batch_sizes(trainer: Trainer, task: Task) -> tuple[list[int], str]:
    """How many clips or episodes each batch of an evaluation or an extraction holds, and which; none of all else."""
    if task.description not in ("encoding", "scoring") or not task.total:
        return [], ""
    if trainer.predicting:
        module: Any = trainer.lightning_module
        return module.batch_sizes, "clip"
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    clips = task.description == "encoding"
    size = data.video_batch if clips else data.episode_batch
    loader: Any = next((one for one in loaders(trainer) if isinstance(one, IndexEpisodes) != clips), None)
    if loader is None:
        return [], ""
    whole = len(getattr(loader, "videos", None) or loader.sampler) if clips else len(loader.numbers)
    return [min(size, whole - start) for start in range(0, whole, size)], "clip" if clips else "episode"


class Counted(MofNCompleteColumn):
    """How many batches, and of an evaluation or an extraction how many clips or episodes, are done of how many."""

    def __init__(self, trainer: Trainer) -> None:
        super().__init__()
        self.trainer = trainer

    def render(self, task: Task) -> Text:
        sizes, word = batch_sizes(self.trainer, task)
        return Text(f"{sum(sizes[: int(task.completed)]):,}/{sum(sizes):,} {word}s") if sizes else super().render(task)


class Speed(ProgressColumn):
    """Episodes per second of training over all processes; clips or episodes per second of an evaluation or extraction,
    and elsewhere batches; of slow work seconds."""

    def __init__(self, trainer: Trainer) -> None:
        super().__init__()
        self.trainer = trainer

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed or 0.0
        if task.description.startswith("Epoch"):
            data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
            return Text(rate(speed * data.episodes_per_batch * self.trainer.world_size, "episode"), style="dim")
        sizes, word = batch_sizes(self.trainer, task)
        found = rate(speed * sum(sizes) / len(sizes), word) if sizes else rate(speed, "batch", "batches")
        return Text(found, style="dim")


def rate(speed: float, one: str, several: str = "") -> str:
    """So many per second, or of slow work the seconds for one; nothing before anything is done."""
    if not speed:
        return ""
    return f"{speed:,.1f} {several or one + 's'}/s" if speed >= 1 else f"{1 / speed:.1f} s/{one}"


class Pictures(Callback):
    """Hands two figures of every validation to the loggers that take some: TensorBoard, W&B, MLflow.

    The confusion matrix of all validation episodes; and how the first query of one validation episode is aligned with
    the prototype of its true class, always the same two clips, so that the path can be watched as it forms. Nothing is
    encoded for them. There is no alignment figure for a method that matches no frames (such as zero-shot), nor where
    features are trained on and the video files are not at hand.

    Args:
        episode: number of the validation episode whose first query is shown.

    Raises:
        ValueError: before training, when there is no such episode.
    """

    def __init__(self, episode: int = 0) -> None:
        self.episode = episode

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data: EpisodicDataModule = trainer.datamodule  # type: ignore[attr-defined]
        if data.has_validation and not 0 <= self.episode < data.counts["val"]:
            raise ValueError(
                f"fsar.training.Pictures: there is no validation episode {self.episode}; data.val_episodes is "
                f"{data.counts['val']}."
            )

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Learner)
        if not trainer.loggers or trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        rows = pl_module.predictions.arrays()  # of all processes, which must all come here
        loggers = [logger for logger in trainer.loggers if takes_figures(logger)]
        if not loggers or not trainer.is_global_zero:
            return
        names = pl_module.predictions.class_names
        figures = {"confusion": draw_confusion(summarise(rows, names)["confusion"], names)}
        if pl_module.bank is not None:
            data: EpisodicDataModule = trainer.datamodule  # type: ignore[attr-defined]
            alignment = draw_alignment(pl_module, pl_module.bank, data, self.episode)
            figures |= {} if alignment is None else {"alignment": alignment}
        for logger in loggers:
            for name, figure in figures.items():
                log_figure(logger, name, figure, trainer.global_step - 1)  # as Lightning counts for what it logs


def takes_figures(logger: Any) -> bool:
    """Whether :func:`log_figure` knows how to hand a figure to this logger."""
    return isinstance(logger, WandbLogger | MLFlowLogger) or hasattr(logger.experiment, "add_figure")


def log_figure(logger: Any, name: str, figure: Figure, step: int) -> None:
    """Hand over a figure in the logger's own way: an image in W&B, an artifact ``name/step.png`` in MLflow, a figure
    in TensorBoard and whatever else has its ``add_figure``."""
    if isinstance(logger, WandbLogger):
        logger.log_image(name, [figure], step)
    elif isinstance(logger, MLFlowLogger):
        logger.experiment.log_figure(logger.run_id, figure, f"{name}/{step:07d}.png")
    else:
        logger.experiment.add_figure(name, figure, step)


@torch.no_grad()
def draw_alignment(learner: Learner, bank: VideoBank, data: EpisodicDataModule, number: int = 0) -> Figure | None:
    """The first query of a validation episode against its true class; None when no frames are matched or at hand.

    Args:
        learner: whose method is asked.
        bank: with the videos of the validation episodes.
        data: which episodes, and where the videos are.
        number: of the episode.
    """
    split = data.splits["val"]
    episode = index_episodes(data.episode_sampler("val"), [number]).to(learner.device)
    probabilities = score_episodes(bank, episode).probabilities[0, 0]
    compared = bank.compared(episode)
    if compared is None:
        return None
    label = int(episode.query_labels[0, 0])
    metric: Any = learner.method.alignment
    found = alignment_maps(metric, compared[0][0, :1], compared[1][0, label, None])[0]
    shots = episode.support[0, episode.support_labels[0] == label].tolist()
    videos = [int(episode.query[0, 0]), shots[0]]
    if not found or not all(split.path(video).exists() for video in videos):
        return None
    source = data.clips(split)
    seen, shown = (source.clip(video)["frames"].movedim(-3, -1).numpy() for video in videos)
    steps = learner.method.encoder.steps
    if found[0].cost.shape != (steps(len(seen)), steps(len(shown))):
        return None  # what is compared is not one vector for each step
    names = [split.class_names[c] for c in episode.classes[0].tolist()]
    guess = int(probabilities.argmax())
    answer = "named right" if guess == label else f"taken for {names[guess]}"
    title = f"{names[label]}: {answer} ({float(probabilities[guess]):.0%})"
    title += f"; above, the first of {len(shots)} support clips" if len(shots) > 1 else ""
    return draw(seen, shown, found[0].cost, found[0].path, title, found[0].paths)
