"""The one line at a fit's end: chance, and the floor that needs no training, on the same validation episodes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
import yaml

from fsar.__main__ import main
from fsar.evaluation.bank import VideoBank
from fsar.evaluation.metrics import Accuracy
from fsar.training.worth import Worth, tell


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FSAR_RUN", raising=False)
    monkeypatch.setattr(sys, "argv", ["fsar"])


def floor_alone(config: Path) -> dict[str, float]:
    """The frozen frame mean on the validation episodes, by a command of its own."""
    method = ["--model.method", "Prototype", "--model.alignment", "FrameMean"]
    main(["validate", "--debug", "--run", "floor", "-c", str(config), *method, "--model.encoder.tune", "frozen"])
    return json.loads(next(Path("floor").glob("results/*/results.json")).read_text())


@pytest.mark.parametrize("tune", ["frozen", "full"])
def test_the_floor_is_the_frame_mean_before_training(
    tune: str, config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clips: list[int] = []
    add = VideoBank.add

    def counted(bank: VideoBank, batch: object) -> None:
        clips.append("Streams" in type(batch.clips).__name__ and len(batch.videos))  # type: ignore[attr-defined]
        add(bank, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(VideoBank, "add", counted)
    encoder = ["--model.encoder.tune", tune, "--model.optimizer.lr", "0.1"]
    main(["fit", "--debug", "--run", "run", "-c", str(config), *encoder])
    assert sum(clips) == (14 if tune == "frozen" else 28)  # a frozen encoder encodes nothing twice
    told = capsys.readouterr().out
    kept = torch.load("run/checkpoints/last.ckpt", weights_only=True)["callbacks"]["Worth"]
    alone = floor_alone(config)
    assert kept["floor"] == [alone["accuracy"], alone["interval_95"], alone["episodes"]]
    worth = Worth()
    worth.load_state_dict(kept)
    worth.ways = 3
    assert worth.line() in told
    assert worth.floor == Accuracy(*kept["floor"])


def test_without_validation_nothing_is_said(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = yaml.safe_load(config.read_text())
    content["data"]["benchmark"]["init_args"]["val"] = []
    Path("run.yaml").write_text(yaml.safe_dump(content))
    main(["fit", "--debug", "--run", "run", "-c", "run.yaml"])
    assert "validation" not in capsys.readouterr().out


def test_what_is_said() -> None:
    good, better, chance = (Accuracy(mean, 0.01, 100) for mean in (0.6, 0.65, 0.205))
    assert "is 5.0 above: this training did not help" in tell(good, better, 5)
    assert "is 5.0 below." in tell(better, good, 5)
    assert "just as good" in tell(good, good, 5)
    assert tell(chance, good, 5).startswith("validation is at chance: 20.50 ± 1.00 %, chance 20 %")
    assert "frame mean, without training: 60.00 %" in tell(chance, good, 5)
    assert "below chance" in tell(Accuracy(0.1, 0.01, 100), None, 5)


def test_what_a_marked_method_is_compared_with_is_not_marked(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(
        [
            "fit",
            "--debug",
            "--run",
            "run",
            "-c",
            str(config),
            "--model.method",
            "ClipMEI",
            "--model.published_text=true",
        ]
    )
    told = "Marked: transductive, reads the queries' labels; the frame mean is not."
    assert told in capsys.readouterr().out
