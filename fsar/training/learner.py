"""Training and evaluation of any method; knows no paper."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.optim import Adam

from episodes.clips import Contents
from episodes.episode import Episode, IndexEpisode, VideoBatch
from episodes.framing import Framing
from fsar.encoders.adapted import Adapted
from fsar.encoders.beside import Beside
from fsar.encoders.cost import added_cost
from fsar.encoders.weights.state import frozen_fingerprint, frozen_names, refuse_other_kinds
from fsar.evaluation.bank import Scoring, VideoBank, cache_key, contents, feature_key
from fsar.evaluation.calibration import Calibration, calibrate, calibration_facts, read_calibration
from fsar.evaluation.metrics import EpisodeAccuracy
from fsar.evaluation.provenance import Phases
from fsar.evaluation.results import Predictions, summarise
from fsar.method import Method
from fsar.objectives import Objective
from fsar.refinement import Refinement
from fsar.training.joining import check_classes
from fsar.training.objectives import Together
from fsar.training.pixels import PIXELS_KEY, check_framing, check_statistics

METHOD_KEY = "fsar_method"
CLASSES_KEY = "trained_classes"
FROZEN_KEY = "frozen_weights_sha256"
CALIBRATION_KEY = "calibration"


class Learner(LightningModule):
    """Trains a method on episodes, and evaluates it on videos encoded once.

    Args:
        method: the few-shot method, with its encoder, alignment and other parts.
        optimizer: made from parameter groups; the learning rate is the base rate.
        lr_scheduler: made from the optimizer, stepped after every optimiser step; none keeps the rate constant.
        no_weight_decay: parameters whose name contains one of these strings are not decayed.
        lr_factors: of the base rate, by the (longest) beginning of a parameter's name, ``{encoder: 0.1}``.
        refine: of fsar.refinement: queries of an episode refine its scores in evaluation; results are marked.
        scoring: precision of matrix products when episodes are scored in evaluation, float32 or bf16, see
            :class:`fsar.evaluation.bank.Scoring`.
        objectives: losses beside the method's own, each with its weight (fsar.objectives).
    """

    def __init__(
        self,
        method: Method,
        optimizer: OptimizerCallable = Adam,
        lr_scheduler: LRSchedulerCallable | None = None,
        no_weight_decay: list[str] | None = None,
        lr_factors: dict[str, float] | None = None,
        objectives: list[Objective] | None = None,
        refine: Refinement | None = None,
        scoring: Literal["float32", "bf16"] = "float32",
    ) -> None:
        super().__init__()
        self.method = method
        if refine:
            method.refine_with(refine)
        self.objectives, self.scoring = Together(objectives or [], method), Scoring(scoring)
        self.make_optimizer, self.make_lr_scheduler = optimizer, lr_scheduler
        self.no_weight_decay, self.lr_factors = no_weight_decay or [], lr_factors or {}
        self.training_accuracy = EpisodeAccuracy(alone=True)  # of this epoch's episodes so far
        self.accuracy, self.zero_shot = EpisodeAccuracy(), EpisodeAccuracy()  # of the class names alone, the second
        self.bank: VideoBank | None = None
        self.beside: VideoBank | None = None  # gets the same features, see fsar.training.worth
        self.keeps_bank = False  # for another evaluation, of the same videos and weights
        self.predictions = Predictions()
        self.phases = Phases()
        self.rows: dict[str, np.ndarray] = {}
        self.result: dict[str, Any] = {}  # of the last test: accuracy, interval, confusion, seconds, ...
        self.trained_classes: tuple[str, ...] = ()  # names of the classes that the weights were trained on
        self.calibration: Calibration | None = None  # by the last validation of a fit; of weights that were read
        self.strict_loading = False  # checkpoints hold what is trained; on_load_checkpoint checks the rest

    def prepare_data(self) -> None:
        """Refuses classes of which nothing is said, before any video is read."""
        check_classes(self.method, self.objectives, getattr(self.trainer, "datamodule", None), self.trainer.state.fn)

    def setup(self, stage: str) -> None:
        if stage == "fit":  # before weights of an interrupted run are loaded
            self.objectives.keep_frozen(self.method.encoder)

    def on_fit_start(self) -> None:
        if isinstance(self.method.encoder, Adapted | Beside):
            rank_zero_info(f"adapter: {added_cost(self.method.encoder)}")
        self.base_seed = torch.initial_seed()

    def on_train_start(self) -> None:
        self.objectives.resume(self.global_step)

    def on_fit_end(self) -> None:
        self.objectives.tell(self.trainer)

    def on_train_epoch_start(self) -> None:
        self.training_accuracy.reset()

    def training_step(self, episode: Episode, batch_idx: int) -> Tensor:
        # dropout and texts are functions of (seed, episode number): a resumed run goes on as if never interrupted
        torch.manual_seed(seed := (self.base_seed * 1_000_003 + int(episode.number.flatten()[0])) % 2**63)
        self.trained_classes = episode.class_names
        with self.objectives.recorded(self.method) as seen, self.method.drawing_texts(seed):
            scores = self.method(episode)
        losses = self.objectives.add_losses(self.method.loss(scores, episode), seen, self.method, episode)
        self._refuse_nan(losses, episode)
        right = (scores.few_shot.argmax(-1) == episode.query_labels).float().mean()
        self.training_accuracy.update(scores.few_shot.detach(), episode.query_labels)
        size = episode.number.numel()
        self.log_dict({f"train_{k}": v.detach() for k, v in losses.items()}, batch_size=size)
        self.log("train_accuracy", right, prog_bar=True, batch_size=size)
        return losses["loss"]

    def _refuse_nan(self, losses: dict[str, Tensor], episode: Episode) -> None:
        bad = [f"{name} is {value.item()}" for name, value in losses.items() if not torch.isfinite(value)]
        if bad:
            raise FloatingPointError(
                f"{', '.join(bad)} in training episode {episode.number.flatten().tolist()} (optimiser step "
                f"{self.global_step}). Nothing was updated by it. Lower the learning rate, clip gradients "
                "(--trainer.gradient_clip_val 1) or train in fp32; an alignment of your own: fsar check-alignment."
            )

    def on_validation_epoch_start(self) -> None:
        self._start()

    def validation_step(self, batch: VideoBatch | IndexEpisode, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        self._finish("val")

    def on_test_epoch_start(self) -> None:
        self._start()

    def test_step(self, batch: VideoBatch | IndexEpisode, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate(batch)

    def on_test_epoch_end(self) -> None:
        self._finish("test")

    def _start(self) -> None:
        self.scoring.check(self.device)
        self.bank = self.bank if self.keeps_bank else None
        self.predictions, self.phases = Predictions(), Phases()

    def _evaluate(self, batch: VideoBatch | IndexEpisode) -> None:
        """Keep the parts of a batch of videos, or score a batch of episodes on what was kept."""
        if isinstance(batch, VideoBatch):
            with self.phases.measure("encode", self.device):
                cache: Any = getattr(getattr(self.trainer, "datamodule", None), "kept", None)
                self.bank = self.bank or VideoBank(self.method, keep=cache and cache.keep)
                self.bank.beside = self.beside
                self.bank.add(batch)
        elif not self.trainer.sanity_checking:  # then a few videos only were encoded
            with self.phases.measure("score", self.device):
                scores = self.method(batch) if self.bank is None else self.scoring(self.bank, batch)
                self.accuracy.update(scores.logits, batch.query_labels)
                self.predictions.add(batch, scores.logits)
                floor = None if self.bank is None else self.bank.zero_shot(batch)
                if floor is not None:
                    self.zero_shot.update(floor, batch.query_labels)

    def _finish(self, stage: str) -> None:
        forwards = 0 if self.bank is None else self.bank.forwards
        self.bank = self.bank if self.keeps_bank else None
        if self.trainer.sanity_checking:
            return
        accuracy = self.accuracy.compute()
        self.log(f"{stage}_accuracy", accuracy.mean, prog_bar=True, sync_dist=True)
        self.log(f"{stage}_interval", accuracy.interval, sync_dist=True)
        self.accuracy.reset()
        if not self.trainer.training:
            self.rows = self.predictions.arrays()
            summary = summarise(self.rows, self.predictions.class_names)
            if self.trainer.state.fn == "fit":
                self.calibration = calibrate(self.rows, self.method.describe())
            said = calibration_facts(self.rows, self.calibration)
            self.result = {**summary, **said, **self.phases.record(), "encoder_forwards": forwards}
            self.result |= self.scoring.record()
            if self.zero_shot.update_called:
                floor = self.zero_shot.compute()
                self.result |= {"zero_shot_accuracy": floor.mean, "zero_shot_interval_95": floor.interval}
        self.zero_shot.reset()

    @property
    def framing(self) -> Framing:
        """How the encoder wants its frames; the data module follows it."""
        return self.method.encoder.framing

    def feature_key(self) -> dict[str, Any]:
        """What turns clips into features; a store of features made by anything else is refused."""
        return feature_key(self.method, training=self.trainer.training)

    def contents(self) -> Contents:
        """What is stored of a clip."""
        return contents(self.method)

    def cache_key(self) -> dict[str, Any] | None:
        """What turns clips into features where a cache of them can serve, see that function."""
        return cache_key(self.method, self.device, str(self.trainer.precision))

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(self.parameter_groups())
        if self.make_lr_scheduler is None:
            return optimizer
        schedule = {"scheduler": self.make_lr_scheduler(optimizer), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Trained parameters by learning-rate factor and weight decay.

        Raises:
            ValueError: nothing is trained, the optimizer refuses its arguments, or a key of ``lr_factors`` fits none.
        """
        groups: dict[tuple[float, bool], list[Tensor]] = {}
        used = set()
        trained = ((name.removeprefix("method."), p) for name, p in self.named_parameters() if p.requires_grad)
        for name, parameter in trained:
            prefix = max((p for p in self.lr_factors if name.startswith(p)), key=len, default=None)
            used.add(prefix)
            plain = name.startswith("objectives.") or any(part in name for part in self.no_weight_decay)
            groups.setdefault((self.lr_factors.get(prefix or "", 1.0), plain), []).append(parameter)
        if not any(parameter.requires_grad for parameter in self.method.parameters()):
            raise ValueError(
                f"{type(self.method).__name__} has no trained parameters: there is nothing to fit; use `fsar test`."
            )
        if unused := set(self.lr_factors) - used:
            known = sorted({".".join(n.split(".")[:2]) for n, p in self.method.named_parameters() if p.requires_grad})
            raise ValueError(f"lr_factors {sorted(unused)} fit no trained parameter; trained are {known}.")
        try:
            base = self.make_optimizer([nn.Parameter(torch.zeros(1))]).defaults["lr"]
        except (ValueError, TypeError) as error:
            raise ValueError(f"model.optimizer: {str(error).replace(': ', ' ')}; see its init_args.") from error
        return [
            {"params": parameters, "lr": base * factor, **({"weight_decay": 0.0} if plain else {})}
            for (factor, plain), parameters in groups.items()
        ]

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """What training changes; frozen weights stay out and are named by their hash instead."""
        prefix = kwargs.get("prefix", "")
        frozen = frozen_names(self)
        state = super().state_dict(*args, **kwargs)
        return {k: v for k, v in state.items() if k.removeprefix(prefix) not in frozen}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[METHOD_KEY] = type(self.method).__name__
        checkpoint[CLASSES_KEY] = list(self.trained_classes)
        checkpoint[FROZEN_KEY] = frozen_fingerprint(self.method)
        checkpoint[PIXELS_KEY] = self.method.encoder.pixels
        if self.calibration is not None:
            checkpoint[CALIBRATION_KEY] = asdict(self.calibration)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        check_checkpoint(self, checkpoint)
        if self._trainer is not None:
            check_framing(self.method.encoder, getattr(self.trainer, "datamodule", None), checkpoint)
        self.trained_classes = tuple(checkpoint.get(CLASSES_KEY, ()))
        self.calibration = read_calibration(checkpoint.get(CALIBRATION_KEY), self.method.describe())


def check_checkpoint(learner: Learner, checkpoint: dict[str, Any]) -> None:
    """Refuse a checkpoint that does not fit: a ValueError for another method, missing or unexpected weights, or other
    frozen weights or other statistics of the pixels than it was trained on."""
    ours, theirs = type(learner.method).__name__, checkpoint.get(METHOD_KEY)
    if theirs is not None and ours != theirs:
        raise ValueError(
            f"the checkpoint holds {theirs}, but the configuration builds {ours}: give the configuration it was "
            "trained with (config.yaml of its run folder)."
        )
    expected, found = set(own := learner.state_dict()), set(given := checkpoint["state_dict"])
    if learner._trainer is None or learner.trainer.state.fn != "fit":  # objectives are read by a training alone
        expected, found = ({n for n in names if not n.startswith("objectives.")} for names in (expected, found))
    if expected != found:
        missing, extra = sorted(expected - found), sorted(found - expected)
        raise ValueError(
            f"the checkpoint does not fit {ours}: {len(missing)} trained weights are missing from it "
            f"({', '.join(missing[:3]) or 'none'}), {len(extra)} are not known ({', '.join(extra[:3]) or 'none'}). "
            "Use the configuration it was trained with."
        )
    refuse_other_kinds({name: own[name] for name in expected}, given, f"the checkpoint does not fit {ours}")
    if (recorded := checkpoint.get(FROZEN_KEY)) not in (None, actual := frozen_fingerprint(learner.method)):
        raise ValueError(
            f"the checkpoint was trained on frozen weights {recorded[:12]}, but these are {actual[:12]}: name the same "
            "encoder, `pretrained` file and precision as in training (config.yaml of its run folder)."
        )
    check_statistics(learner.method.encoder, checkpoint)
