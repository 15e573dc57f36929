"""What a run folder is after a test alone, after a fit that was killed, and after one that failed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import fsar
from episodes.files.locks import held_alone
from fsar.commands.train.fit import main
from fsar.training.learner import Learner

FRAME_MEAN = ["--model.method", "Prototype", "--model.alignment", "FrameMean"]


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FSAR_RUN", raising=False)
    monkeypatch.setattr("sys.argv", ["fsar"])


def run(command: str, *options: Any) -> None:
    main([command, "--debug", "--run", "run", *map(str, options)])


def accuracies() -> list[str]:
    return sorted(path.parent.name for path in Path("run").glob("results/*/results.json"))


def test_a_run_that_was_only_tested_is_a_run(config: Path, support: Path, clips: Path) -> None:
    run("test", "-c", config, *FRAME_MEAN)
    run("test")  # by its own configuration, into the same results
    assert accuracies() == ["test_3way_1shot"]
    run("validate")
    saved = yaml.safe_load(Path("run/config.yaml").read_text())
    assert saved["model"]["method"]["init_args"]["alignment"]["class_path"] == "fsar.alignment.FrameMean"
    predictor = fsar.load("run", device="cpu")
    assert type(predictor.learner.method).__name__ == "Prototype"
    named = {folder.name: [str(clip) for clip in folder.iterdir()] for folder in support.iterdir()}
    assert len(predictor.predict(named, [str(clips / "class_1" / "4.mp4")])) == 1


def test_files_given_to_a_tested_run_say_all(config: Path) -> None:
    run("test", "-c", config, *FRAME_MEAN, "--data.test_queries", 2)
    run("test", "-c", config, *FRAME_MEAN)  # nothing of the former command is beneath
    assert len(accuracies()) == 2
    assert yaml.safe_load(Path("run/config.yaml").read_text())["data"]["test_queries"] is not 2  # noqa: F632


def test_a_tested_checkpoint_belongs_to_the_run(config: Path) -> None:
    run("fit", "-c", config)
    shutil.move("run", "former")
    checkpoint = Path("former/checkpoints/best.ckpt")
    run("test", "-c", config, "--ckpt_path", checkpoint)
    trained = torch.load(checkpoint, weights_only=True)["state_dict"]
    state = fsar.load("run", device="cpu").learner.state_dict()
    assert all(torch.equal(state[name], value) for name, value in trained.items())
    with pytest.raises(FileExistsError, match="already holds a run"):
        run("fit", "-c", config)


def test_a_fit_that_was_killed_in_its_first_epoch_is_begun_again(
    config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run("fit", "-c", config)
    shutil.rmtree("run/checkpoints")
    with caplog.at_level("INFO"):
        run("fit", "-c", config)
    assert "it is begun again" in caplog.text
    with pytest.raises(FileExistsError, match=r"continue this one with --ckpt_path .*\.ckpt"):
        run("fit", "-c", config)


def test_two_fits_do_not_share_a_folder(config: Path) -> None:
    with held_alone(Path("run")), pytest.raises(BlockingIOError, match="is writing run"):
        run("fit", "-c", config)


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_what_fails_leaves_no_folder(config: Path, command: str) -> None:
    with pytest.raises(ValueError, match="ways"):
        main([command, "--debug", "--run", "new/run", "-c", str(config), "--data.ways", "99"])
    assert not Path("new").exists()


def test_a_fit_broken_off_in_its_first_epoch_leaves_no_empty_table(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(self: Learner, batch: Any, number: int) -> None:
        if number == 1:
            raise KeyboardInterrupt

    step = Learner.training_step
    monkeypatch.setattr(Learner, "training_step", lambda self, *args: (press(self, *args), step(self, *args))[1])
    with pytest.raises(SystemExit):
        main(["fit", "--run", "run", "-c", str(config)])
    assert Path("run/checkpoints/interrupted.ckpt").is_file()
    assert not Path("run/csv").exists()
    assert not [path for path in Path("run").rglob("*") if path.is_dir() and not any(path.iterdir())]


def test_what_fails_leaves_a_folder_that_was_there(config: Path) -> None:
    Path("run").mkdir()
    Path("run/notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="ways"):
        run("test", "-c", config, "--data.ways", 99)
    assert Path("run/notes.txt").read_text() == "mine"
