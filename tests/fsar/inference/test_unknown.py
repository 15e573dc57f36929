"""The bound of "unlike all" measured: over many draws of clips it keeps its promise."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from episodes.clips import Streams
from episodes.episode import VideoBatch
from episodes.shapes import appearance
from fsar.__main__ import main
from fsar.alignment import FrameMean
from fsar.encoders import ClipEncoder
from fsar.evaluation.bank import VideoBank
from fsar.inference.unknown import area, describe, measure
from fsar.methods import Prototype
from fsar.training.learner import Learner

NAMES = appearance.CLASSES["test"][:8]
CLIPS = 10


@pytest.fixture(scope="module")
def bank() -> VideoBank:
    """Clips of eight classes of Shapes, each encoded once by the frozen tiny CLIP."""
    encoder = ClipEncoder("fsar-tiny", "shapes").eval()
    bank = VideoBank(Prototype(encoder, FrameMean()), floor=False)
    for label, name in enumerate(NAMES):
        clips = [torch.from_numpy(appearance.render(name, 0, "test", name, str(i))[2::4][:4]) for i in range(CLIPS)]
        frames = Streams({"frames": torch.stack(clips).movedim(-1, -3)})
        numbers = torch.arange(label * CLIPS, (label + 1) * CLIPS)
        bank.add(VideoBatch(numbers, frames, torch.full((CLIPS,), label), NAMES))
    bank.close()
    return bank


def measured(bank: VideoBank, **options: float) -> dict[str, float]:
    labels = [label for label in range(len(NAMES)) for _ in range(CLIPS)]
    return measure(bank, labels, NAMES, **({"ways": 3, "shots": 6, "queries": 4, "draws": 80} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{}, {"shots": 4}, {"ways": 5, "keep": 0.75}, {"shots": 8, "queries": 2}])
def test_the_promised_share_of_unseen_clips_is_kept(bank: VideoBank, options: dict[str, float]) -> None:
    found = measured(bank, **options)
    assert found["promised"] <= found["kept"] + found["kept_interval_95"]
    assert options.get("keep", 0.9) <= found["promised"] < 1
    assert found["auroc"] > 0.5
    assert found["rejected"] - found["rejected_interval_95"] > 1 - found["kept"]  # it tells the two apart
    assert measured(bank, **options, draws=5) == measured(bank, **options, draws=5)


def test_a_stricter_bound_keeps_and_passes_less(bank: VideoBank) -> None:
    usual, strict = measured(bank, draws=60), measured(bank, draws=60, keep=0.6)
    assert strict["kept"] < usual["kept"]
    assert strict["rejected"] > usual["rejected"]
    assert strict["auroc"] == usual["auroc"]


def test_too_few_clips_reject_nothing_and_that_is_said(bank: VideoBank) -> None:
    found = measured(bank, shots=2, draws=10)
    assert (found["kept"], found["rejected"], found["promised"]) == (1, 0, 1)
    assert "with so few clips nothing is called unlike all" in describe(found)
    assert "% of known clips kept (95 % promised)" in describe(measured(bank, draws=10))


def test_a_class_must_be_left_to_be_unknown(bank: VideoBank) -> None:
    for wrong in ({"ways": 8}, {"shots": 10}):
        with pytest.raises(ValueError, match=r"needs one more to be unknown; as many clips .* of the 8 test classes"):
            measured(bank, **wrong)


def test_the_area_is_that_of_every_pair() -> None:
    assert area(torch.tensor([2.0, 3.0]), torch.tensor([0.0, 1.0])) == 1
    assert area(torch.ones(3), torch.ones(4)) == 0.5


def test_the_command_measures_what_it_tested(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fsar"])
    monkeypatch.delenv("FSAR_RUN", raising=False)
    options = ["--data.ways", "2", "--data.test_shots", "3", "--model.method", "Prototype"]
    all_known = ["--data.ways", "3", *options[2:]]
    with monkeypatch.context() as patched:
        patched.setattr(Learner, "test_step", lambda *_: pytest.fail("a clip was encoded before"))
        with pytest.raises(ValueError, match="needs one more to be unknown"):
            main(["test", "--debug", "--unknown", "--run", "wrong", "-c", str(config), *all_known])
    main(["test", "--debug", "--unknown", "--run", "run", "-c", str(config), *options])
    (file,) = Path("run").glob("results/*/results.json")
    found = json.loads(file.read_text())["unknown"]
    assert describe(found) in capsys.readouterr().out
    assert (found["draws"], found["ways"], found["shots"]) == (200, 2, 3)
    assert 0 <= found["auroc"] <= 1
