"""Training that was stopped, wherever, and goes on: the result is that of training that was never stopped."""

from __future__ import annotations

import csv
import itertools
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fsar.commands.train.fit import main
from fsar.training.learner import Learner

LENGTH = ("--trainer.max_epochs", "2")  # of four batches each
STEP, EVALUATION, UPDATE = (Learner, "_refuse_nan"), (Learner, "_evaluate"), (torch.optim.Adam, "step")


def error() -> None:
    raise RuntimeError("broken on purpose")


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def terminate() -> None:
    signal.raise_signal(signal.SIGTERM)


class Pressed:
    """Ctrl-C comes while it is taken down: Python prints the exception and goes on."""

    def __del__(self) -> None:
        ctrl_c()


def lost_ctrl_c() -> None:
    Pressed()


# options; then each stop: where, in which call since the last start, how, and the optimiser steps that are kept
STOPS: dict[str, tuple[tuple[str, ...], list[tuple[tuple[Any, str], int, Callable[[], None], int]]]] = {
    "in the first step of an epoch, then in its second": (LENGTH, [(STEP, 5, error, 4), (STEP, 2, ctrl_c, 5)]),
    "by SIGTERM, then in validation": (LENGTH, [(STEP, 3, terminate, 3), (EVALUATION, 2, error, 4)]),
    "while the weights change": (LENGTH, [(UPDATE, 3, ctrl_c, 3), (UPDATE, 1, ctrl_c, 4)]),
    "while gradients are accumulated, then in the last validation": (
        (*LENGTH, "--trainer.accumulate_grad_batches", "2"),
        [(STEP, 8, error, 3), (EVALUATION, 1, ctrl_c, 4)],
    ),
    "after a validation between two steps of the optimiser": (
        (*LENGTH, "--trainer.accumulate_grad_batches", "2", "--trainer.val_check_interval", "3"),
        [(STEP, 4, error, 1)],
    ),
    "in a validation inside an epoch, then right after it": (
        (*LENGTH, "--trainer.val_check_interval", "2"),
        [(EVALUATION, 1, error, 2), (STEP, 1, error, 2)],
    ),
    "without validation classes, at the end of an epoch": (
        (*LENGTH, "--data.benchmark.val", "[]"),
        [(UPDATE, 4, ctrl_c, 4), (STEP, 2, error, 5)],
    ),
    "when steps are counted": (("--trainer.max_epochs", "-1", "--trainer.max_steps", "8"), [(STEP, 5, error, 4)]),
}


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FSAR_RUN", raising=False)
    monkeypatch.setattr(sys, "argv", ["fsar"])


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard() -> Iterator[None]:
    """A shell starts what runs in the background with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def whole(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[str, ...]], Path]:
    """Run folders of training that was never stopped, one for each set of options."""
    root, runs = tmp_path_factory.mktemp("whole"), dict[tuple[str, ...], Path]()

    def of(options: tuple[str, ...]) -> Path:
        if options not in runs:
            runs[options] = root / str(len(runs))
            fit(config, runs[options], *options)
        return runs[options]

    return of


def fit(config: Path, folder: Path, *options: str) -> None:
    main(["fit", "--debug", "--run", str(folder), "-c", str(config), "--data.check_videos", "false", *options])


def stopped_fit(
    place: tuple[Any, str], call: int, how: Callable[[], None], config: Path, folder: Path, *options: str
) -> None:
    """A fit that is stopped in a call of a method."""
    owner, name = place
    original, calls = getattr(owner, name), itertools.count(1)

    def stopping(self: Any, *args: Any, closure: Callable[[], Any] | None = None) -> Any:
        if closure is not None:
            closure()  # now the optimiser has its gradients and changes the weights
        if next(calls) == call:
            how()
        return original(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, stopping)
        with pytest.raises((RuntimeError, SystemExit)) as stop:
            fit(config, folder, *options)
    if how is terminate:
        assert stop.value.args == (128 + signal.SIGTERM,)


def checkpoint(folder: Path, name: str) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def validations(folder: Path) -> list[tuple[str, str]]:
    """Step and accuracy of every validation in the logs."""
    rows = [
        row
        for path in sorted(folder.glob("csv/*/metrics.csv"))
        for row in csv.DictReader(path.read_text().splitlines())
    ]
    return [(row["step"], row["val_accuracy"]) for row in rows if row.get("val_accuracy")]


@pytest.mark.parametrize("case", STOPS)
def test_training_that_was_stopped_goes_on_exactly(
    case: str, config: Path, whole: Callable[[tuple[str, ...]], Path], caplog: pytest.LogCaptureFixture
) -> None:
    options, stops = STOPS[case]
    expected = whole(options)
    part, resume = Path("part"), tuple[str, ...]()
    for place, call, how, steps in stops:
        stopped_fit(place, call, how, config, part, *options, *resume)
        assert f"--ckpt_path {part}/checkpoints/interrupted.ckpt" in caplog.messages[-1]
        part = part.rename(f"{part}_moved")
        assert checkpoint(part, "interrupted")["global_step"] == steps
        resume = ("--ckpt_path", f"{part}/checkpoints/interrupted.ckpt")
    fit(config, part, *options, *resume)
    for name in ("last", "best"):
        one, other = checkpoint(expected, name), checkpoint(part, name)
        assert one["global_step"] == other["global_step"]
        assert one["loops"] == other["loops"]
        for key, value in one["state_dict"].items():
            assert torch.equal(value, other["state_dict"][key]), key
    seen = validations(part)  # one between two steps of the optimiser is run, and logged, again
    assert (list(dict.fromkeys(seen)) if "between" in case else seen) == validations(expected)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("place", "call", "steps"),
    [(STEP, 2, 2), (STEP, 4, 4), (EVALUATION, 1, 4), (UPDATE, 3, 3), (STEP, 8, 8), ((Learner, "_finish"), 2, 8)],
)
def test_ctrl_c_in_a_destructor_is_not_lost(place: tuple[Any, str], call: int, steps: int, config: Path) -> None:
    stopped_fit(place, call, lost_ctrl_c, config, Path("part"), *LENGTH)
    assert checkpoint(Path("part"), "interrupted")["global_step"] == steps


def ctrl_c_then_error() -> None:
    ctrl_c()
    error()


@pytest.mark.parametrize("how", [error, ctrl_c_then_error])
def test_weights_that_were_being_changed_are_not_kept(
    how: Callable[[], None], config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stopped_fit(UPDATE, 6, how, config, Path("part"), *LENGTH)
    assert {path.name for path in Path("part/checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert "--ckpt_path part/checkpoints/last.ckpt" in caplog.messages[-1]


def test_before_the_first_step_there_is_nothing_to_keep(config: Path, caplog: pytest.LogCaptureFixture) -> None:
    stopped_fit(STEP, 1, error, config, Path("part"), *LENGTH)
    assert not Path("part/checkpoints/interrupted.ckpt").exists()
    assert not any("--ckpt_path" in message for message in caplog.messages)


def test_the_best_checkpoint_has_the_highest_accuracy_on_validation_classes(config: Path) -> None:
    fit(config, Path("whole"), "--trainer.max_epochs", "4", "--data.val_episodes", "60")
    accuracies = {int(step) + 1: float(accuracy) for step, accuracy in validations(Path("whole"))}
    assert min(accuracies.values()) < max(accuracies.values())
    assert accuracies[checkpoint(Path("whole"), "best")["global_step"]] == max(accuracies.values())


def test_a_job_that_slurm_requeues_goes_on(
    config: Path, whole: Callable[[tuple[str, ...]], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    job = {"NTASKS": 1, "NTASKS_PER_NODE": 1, "JOB_NAME": "fsar", "JOB_ID": 7, "NODEID": 0, "LOCALID": 0, "PROCID": 0}
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))

    def warn_and_kill() -> None:
        signal.raise_signal(signal.SIGUSR1)
        error()

    stopped_fit(STEP, 7, warn_and_kill, config, Path("part"), *LENGTH)
    assert (tmp_path / "asked").read_text() == "requeue 7\n"
    fit(config, Path("part"), *LENGTH)  # the same command again
    one, other = checkpoint(whole(LENGTH), "last"), checkpoint(Path("part"), "last")
    assert one["global_step"] == other["global_step"]
    assert all(torch.equal(value, other["state_dict"][key]) for key, value in one["state_dict"].items())
