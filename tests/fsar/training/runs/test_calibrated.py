"""A fit leaves the temperature of its validation episodes with the weights; test and predict take it from there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import fsar
from fsar.__main__ import main
from fsar.evaluation.calibration import Calibration


@pytest.fixture(scope="module")
def run(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was fitted."""
    folder = tmp_path_factory.mktemp("calibrated")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("FSAR_RUN", raising=False)
        patch.setattr(sys, "argv", ["fsar"])
        main(["fit", "--debug", "--run", "run", "-c", str(config)])
    return folder / "run"


@pytest.fixture(autouse=True)
def _scratch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fsar"])
    monkeypatch.delenv("FSAR_RUN", raising=False)


def test_of(run: Path, *options: str) -> dict[str, Any]:
    main(["test", "--debug", "--run", str(run), *options])
    newest = max(run.glob("results/*/results.json"), key=lambda path: path.stat().st_mtime_ns)
    return json.loads(newest.read_text())


test_of.__test__ = False  # type: ignore[attr-defined]


def test_a_fit_keeps_its_temperature(run: Path) -> None:
    kept = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["calibration"]
    assert kept["source"] == "18 queries of validation episodes"
    assert kept["method"] == "ClipFSAR with OTAM"
    found = test_of(run)
    assert found["temperature"] == kept["temperature"] > 0
    assert 0 <= found["expected_calibration_error"] <= 1
    other = test_of(run, "--model.alignment", "DTW")
    assert other["temperature"] is None  # these are not the logits that it was fitted to


def test_predict_takes_it_and_says_so(run: Path, clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    support = {name: clips / name / "0.mp4" for name in ("class_6", "class_7", "class_8")}
    query = clips / "class_6" / "3.mp4"
    model = fsar.load(run, device="cpu")
    assert isinstance(model.calibration, Calibration)
    (answer,) = model.predict(support, query)
    logits = torch.tensor([answer.similarities[name] for name, _ in answer.ranking])
    expected = (logits / model.calibration.temperature).softmax(-1)
    torch.testing.assert_close(torch.tensor([p for _, p in answer.ranking]), expected, atol=1e-5, rtol=0)
    assert answer.measure == "probability"
    assert set(answer.record()["ranking"][0]) == {"class", "probability"}
    for name, clip in support.items():
        Path("support", name).mkdir(parents=True)
        Path("support", name, "0.mp4").symlink_to(clip)
    main(["predict", "--run", str(run), "--support", "support", "--query", str(query)])
    assert "calibrated on 18 queries of validation episodes" in capsys.readouterr().out
    plain = fsar.load(run, overrides=["--model.alignment", "DTW"], device="cpu")
    assert plain.calibration is None
    (alone,) = plain.predict(support, query)
    assert set(alone.record()["ranking"][0]) == {"class", "share"}


def test_two_clips_of_every_class_calibrate_what_was_not_trained(run: Path, clips: Path) -> None:
    model = fsar.load(run, overrides=["--model.alignment", "FrameMean"], device="cpu")
    support = {name: sorted((clips / name).iterdir())[:2] for name in ("class_6", "class_7", "class_8")}
    (answer,) = model.predict(support, clips / "class_6" / "4.mp4")
    assert answer.calibration is not None
    assert answer.calibration.source == "6 support clips, each left out of its class"
    fewer = {**support, "class_6": support["class_6"][:1]}
    assert model.predict(fewer, clips / "class_6" / "4.mp4")[0].calibration is None
