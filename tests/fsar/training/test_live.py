"""What a run shows while it trains: the progress bar, and the pictures that its loggers get."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import MLFlowLogger, WandbLogger
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader

import fsar
from episodes.dataset import IndexEpisodes
from fsar.commands.train.fit import main
from fsar.drawing import draw_confusion
from fsar.evaluation.bank import VideoBank
from fsar.methods import ZeroShot
from fsar.training import live
from fsar.training.learner import Learner

PICTURES = json.dumps([{"class_path": "fsar.training.Pictures"}])
EVERY_STEP = ("--trainer.log_every_n_steps", "1")


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FSAR_RUN", raising=False)
    monkeypatch.setattr(sys, "argv", ["fsar"])


def fit(config: Path, *options: str) -> Path:
    main(["fit", "--debug", "--run", "run", "-c", str(config), "--data.check_videos", "false", *options])
    return Path("run")


def metrics(folder: Path, name: str) -> list[float]:
    """Logged values of one name, in the order of the steps."""
    (path,) = folder.glob("csv/*/metrics.csv")
    return [float(row[name]) for row in csv.DictReader(path.read_text().splitlines()) if row[name]]


def test_the_progress_bar_tells_accuracies_with_their_intervals(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    folder = fit(config, "--trainer.enable_progress_bar", "true", "--trainer.max_epochs", "2", *EVERY_STEP)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Epoch 1/1")]
    episodes = np.array(metrics(folder, "train_accuracy")[4:])  # of the second epoch
    spread = 1.96 * episodes.std(ddof=1) / 2
    validation, interval = metrics(folder, "val_accuracy")[-1], metrics(folder, "val_interval")[-1]
    assert f"accuracy: {100 * episodes.mean():.1f}±{100 * spread:.1f}%" in line
    assert f"val: {100 * validation:.1f}±{100 * interval:.1f}%" in line
    assert f"loss: {metrics(folder, 'train_loss')[-1]:.3f}" in line
    assert " episodes/s" in line or " s/episode" in line


def test_a_bar_of_ones_own_takes_its_place(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bar = json.dumps([{"class_path": "lightning.pytorch.callbacks.TQDMProgressBar"}])
    fit(config, "--trainer.enable_progress_bar", "true", "--trainer.callbacks", bar)
    assert not re.search("episodes/s|s/episode", capsys.readouterr().out)


def test_the_interval_of_one_episode_is_left_out() -> None:
    assert live.percent(0.6321, float("nan")) == "63.2%"


def test_the_speed_counts_episodes_of_all_processes() -> None:
    trainer: Any = SimpleNamespace(world_size=2, datamodule=SimpleNamespace(episodes_per_batch=3))
    training: Any = SimpleNamespace(description="Epoch 0/9", speed=2.0, finished_speed=None)
    validation: Any = SimpleNamespace(description="Validation", speed=2.0, finished_speed=None)
    assert live.Speed(trainer).render(training).plain == "12.0 episodes/s"
    assert live.Speed(trainer).render(validation).plain == "2.0 batches/s"
    validation.speed, training.speed = 0.04, None
    assert live.Speed(trainer).render(validation).plain == "25.0 s/batch"
    assert live.Speed(trainer).render(training).plain == ""


def test_an_extraction_counts_clips_and_not_its_chunks() -> None:
    trainer: Any = SimpleNamespace(predicting=True, lightning_module=SimpleNamespace(batch_sizes=[16, 16, 3, 16, 9]))
    task: Any = SimpleNamespace(description="encoding", total=5, completed=3, speed=0.5, finished_speed=None)
    assert live.EpisodeProgress().predict_description == "encoding"
    assert live.Counted(trainer).render(task).plain == "35/60 clips"
    assert live.Speed(trainer).render(task).plain == "6.0 clips/s"


def test_an_evaluation_counts_clips_and_then_episodes() -> None:
    clips, episodes = SimpleNamespace(sampler=range(300)), IndexEpisodes(None, 1000, batch=256)  # type: ignore[arg-type]
    data = SimpleNamespace(video_batch=16, episode_batch=256)
    loaders = [clips, episodes]
    trainer: Any = SimpleNamespace(testing=True, predicting=False, test_dataloaders=loaders, datamodule=data)
    for number, word, total, shown in ((0, "encoding", 19, "208/300 clips"), (1, "scoring", 4, "1,000/1,000 episodes")):
        assert live.describe_loader(trainer, number) == word
        task: Any = SimpleNamespace(description=word, total=total, completed=13 if word == "encoding" else 4)
        assert live.Counted(trainer).render(task).plain == shown


def test_every_validation_gives_tensorboard_two_pictures(config: Path) -> None:
    folder = fit(config, "--trainer.callbacks", PICTURES, "--trainer.max_epochs", "2", *EVERY_STEP)
    events = EventAccumulator(str(folder / "tensorboard" / "version_0"), size_guidance={"images": 0}).Reload()
    steps = [event.step for event in events.Scalars("val_accuracy")]
    assert len(steps) == 2
    for name in ("alignment", "confusion"):
        assert [event.step for event in events.Images(name)] == steps
        assert len({event.encoded_image_string for event in events.Images(name)}) == 2  # training shows in them


@pytest.fixture(scope="module")
def trained(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    main(["fit", "--debug", "--run", str(folder), "-c", str(config), "--data.check_videos", "false"])
    return folder


def test_without_the_callback_there_are_no_pictures(trained: Path) -> None:
    events = EventAccumulator(str(trained / "tensorboard" / "version_0")).Reload()
    assert events.Tags()["images"] == []


@pytest.fixture
def encoded(trained: Path) -> tuple[fsar.Predictor, VideoBank]:
    """A run, and its validation videos as an evaluation keeps them."""
    predictor = fsar.load(trained)
    predictor.data.setup("validate")
    bank = VideoBank(predictor.learner.method)
    videos: DataLoader[Any] = predictor.data.val_dataloader()[0]  # type: ignore[assignment]
    for batch in videos:
        bank.add(batch)
    return predictor, bank


@pytest.mark.parametrize("shots", [1, 3])
def test_the_alignment_shown_is_that_of_the_clips_shown(
    encoded: tuple[fsar.Predictor, VideoBank], shots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, bank = encoded
    learner, data = predictor.learner, predictor.data
    data.test_shots, number = shots, 4
    drawn: list[Any] = []
    monkeypatch.setattr(live, "draw", lambda *args: drawn.extend(args))
    live.draw_alignment(learner, bank, data, number)
    query, support, cost, path, title, _ = drawn

    split = data.splits["val"]
    classes, clips, queries = data.episode_sampler("val").episodes([number])
    supports = [split.path(video) for video in clips[0, :shots]]  # of the first class, whose query is the first
    assert np.array_equal(query, predictor.frames(split.path(queries[0, 0])))
    assert np.array_equal(support, predictor.frames(supports[0]))
    name = split.class_names[classes[0, 0]]
    assert title.startswith(f"{name}: ")
    assert (f"the first of {shots} support clips" in title) == (shots > 1)
    rivals = zip(classes[0, 1:], clips[0, shots::shots], strict=True)
    others = {split.class_names[rival]: [split.path(video)] for rival, video in rivals}
    (answer,) = predictor.predict({name: supports, **others}, [split.path(queries[0, 0])])
    torch.testing.assert_close(cost, answer.alignments[name].cost, atol=1e-5, rtol=0)
    torch.testing.assert_close(path, answer.alignments[name].path, atol=1e-4, rtol=0)


def test_there_is_no_alignment_to_show_without_frames(
    encoded: tuple[fsar.Predictor, VideoBank], tmp_path: Path
) -> None:
    predictor, bank = encoded
    data = predictor.data
    nothing_aligned = Learner(ZeroShot(predictor.learner.method.encoder))
    zero_shot = VideoBank(nothing_aligned.method)
    for batch in data.val_dataloader()[0]:
        zero_shot.add(batch)
    assert live.draw_alignment(nothing_aligned, zero_shot, data) is None
    assert live.draw_alignment(predictor.learner, bank, data) is not None
    object.__setattr__(data.splits["val"], "root", tmp_path / "elsewhere")  # features are here, videos are not
    assert live.draw_alignment(predictor.learner, bank, data) is None


@pytest.mark.parametrize("episode", [6, -1])
def test_an_episode_that_is_not_there_is_refused_before_training(config: Path, episode: int) -> None:
    picture = [{"class_path": "fsar.training.Pictures", "init_args": {"episode": episode}}]
    with pytest.raises(ValueError, match=rf"no validation episode {episode}; data.val_episodes is 6"):
        fit(config, "--trainer.callbacks", json.dumps(picture))
    assert not list(Path("run").glob("checkpoints/*"))
    fit(config, "--trainer.callbacks", json.dumps(picture), "--data.benchmark.val", "[]")  # none is shown


class Wandb(WandbLogger):
    def __init__(self) -> None:
        self.got: list[Any] = []

    def log_image(self, key: str, images: list[Any], step: int | None = None, **_: Any) -> None:
        self.got.append((key, images, step))


class MLFlow(MLFlowLogger):
    run_id = "7"

    def __init__(self) -> None:
        self.got: list[Any] = []

    @property
    def experiment(self) -> Any:
        return SimpleNamespace(log_figure=lambda *args: self.got.append(args))


def test_each_logger_gets_figures_in_its_own_way(tmp_path: Path) -> None:
    figure, wandb, mlflow = Figure(), Wandb(), MLFlow()
    board = SimpleNamespace(experiment=SimpleNamespace(add_figure=lambda *args: got.append(args)))
    got: list[Any] = []
    for logger in (wandb, mlflow, board):
        assert live.takes_figures(logger)
        live.log_figure(logger, "confusion", figure, 39)
    assert wandb.got == [("confusion", [figure], 39)]
    assert mlflow.got == [("7", figure, "confusion/0000039.png")]
    assert got == [("confusion", figure, 39)]
    assert not live.takes_figures(SimpleNamespace(experiment=SimpleNamespace()))


def test_another_logger_leaves_the_run_folder_whole(config: Path) -> None:
    board = {"class_path": "lightning.pytorch.loggers.TensorBoardLogger", "init_args": {"save_dir": "elsewhere"}}
    folder = fit(config, "--trainer.logger", json.dumps([board]))
    assert list(Path("elsewhere").rglob("events*"))
    assert {path.name for path in folder.iterdir()} == {".lock", "checkpoints", "config.yaml", "csv"}
    logged = list(Path("elsewhere").rglob("*"))
    main(["test", "--debug", "--run", str(folder)])
    assert list(Path("elsewhere").rglob("*")) == logged  # results are written, not logged
    assert (folder / "results").is_dir()


def test_no_logger_at_all(config: Path) -> None:
    folder = fit(config, "--trainer.logger", "false", "--trainer.callbacks", PICTURES)
    assert {path.name for path in folder.iterdir()} == {".lock", "checkpoints", "config.yaml"}


def test_confusion_is_in_per_cent_of_the_true_class() -> None:
    names = ["a", "b", "a class whose name takes up far too much room"]
    figure = draw_confusion([[3, 1, 0], [0, 2, 0], [0, 0, 0]], names)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()][:2] == ["a", "b"]
    assert axes.get_yticklabels()[2].get_text().endswith("…")
    assert {text.get_position(): text.get_text() for text in axes.texts} == {
        (0, 0): "75",
        (1, 0): "25",
        (1, 1): "100",
    }


def test_confusion_of_many_classes_has_no_labels() -> None:
    counts: Sequence[Sequence[int]] = np.eye(25, dtype=int).tolist()
    axes = draw_confusion(counts, [str(i) for i in range(25)]).axes[0]
    assert not axes.texts
    assert not axes.get_xticklabels()
