"""The tool that examines a user's alignment: passes the good, tells what is wrong with the bad."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]

METRICS = """
import torch
from fsar.alignment import Alignment, CostAlignment

class Good(CostAlignment):
    def __init__(self, power: float = 1.0) -> None:
        super().__init__()
        self.power = power
    def align(self, cost, mask=None):
        total = (cost.square() + 1e-6).pow(self.power / 2)
        count = cost.shape[-1] * cost.shape[-2] if mask is None else mask.sum((-2, -1))
        return (total if mask is None else total * mask).sum((-2, -1)) / count

class LooksAtTheBatch(CostAlignment):
    def align(self, cost, mask=None):
        return cost.mean((-2, -1)) - cost.mean()

class Overflows(CostAlignment):
    def align(self, cost, mask=None):
        return -(-cost / 0.01).exp().sum((-2, -1)).log()

class PrefersTheFirstClass(CostAlignment):
    def forward(self, query, support, query_mask=None, support_mask=None):
        similarity = super().forward(query, support, query_mask, support_mask)
        return similarity + torch.arange(similarity.shape[-1])
    def align(self, cost, mask=None):
        return cost.mean((-2, -1)) if mask is None else cost.sum((-2, -1)) / mask.sum((-2, -1))

class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, cost):
        return cost.square()
    @staticmethod
    def backward(ctx, upstream):
        return upstream

class WrongGradient(CostAlignment):
    def align(self, cost, mask=None):
        return Wrong.apply(cost).sum((-2, -1))

class IgnoresPadding(CostAlignment):
    def align(self, cost, mask=None):
        return cost.mean((-2, -1))

class CutOff(CostAlignment):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.factor = torch.nn.Parameter(torch.ones(()))
        self.unused = torch.nn.Linear(2, 2)
    def align(self, cost, mask=None):
        mean = cost.mean((-2, -1)) if mask is None else cost.sum((-2, -1)) / mask.sum((-2, -1))
        return mean * self.weight.item() * self.factor

class WrongByItsParameter(CutOff):
    def __init__(self) -> None:
        super().__init__()
        del self.weight, self.unused
    def align(self, cost, mask=None):
        mean = cost.mean((-2, -1)) if mask is None else cost.sum((-2, -1)) / mask.sum((-2, -1))
        return mean * Wrong.apply(self.factor + 1)

class HalfPrecision(Alignment):
    def forward(self, query, support, query_mask=None, support_mask=None):
        return query.mean(-2) @ support.mean(-2).mT
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "mymetrics.py").write_text(METRICS)
    command = [sys.executable, "-m", "fsar", "check-alignment", *arguments]
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": ""}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_a_good_metric_passes_with_its_arguments(tmp_path: Path) -> None:
    done = run(tmp_path, "mymetrics.Good", "--init", '{"power": 1.5}')
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    assert "order of frames: unseen; symmetric: yes" in done.stdout
    assert done.stdout.rstrip().endswith("mymetrics.Good: all passed.")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("LooksAtTheBatch", "differs from the same episode in a batch"),
        ("Overflows", "costs of 2: the value is not finite"),
        ("PrefersTheFirstClass", "permuted classes: the columns do not follow"),
        ("WrongGradient", "the gradient is not the derivative"),
        ("IgnoresPadding", "scores differently than unpadded"),
        ("HalfPrecision", "bfloat16 features"),
        ("CutOff", "no gradient reaches weight, unused.weight, unused.bias: unused, or cut off by .item()"),
        ("WrongByItsParameter", "by its parameters: the gradient is not the derivative"),
    ],
)
def test_a_bad_metric_is_told_what_is_wrong(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / f"bad_{name}.py").write_text(METRICS)
    monkeypatch.syspath_prepend(tmp_path)
    from fsar.commands.look import check_alignment

    with pytest.raises(SystemExit) as stopped:
        check_alignment.main([f"bad_{name}.{name}"])
    assert stopped.value.code == 1
    out = capsys.readouterr().out
    assert words in out
    assert "properties failed" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fsar.alignment.OTAMM"], "cannot be imported"),
        (["nowhere.Metric"], "cannot be imported"),
        (["fsar.alignment.CosineCost"], "is no subclass of fsar.alignment.Alignment"),
        (["fsar.alignment.OTAM", "--init", '{"temperatur": 1}'], "temperatur"),
        (["fsar.alignment.OTAM", "--init", '{"temperature": -1}'], "temperature must be positive"),
    ],
)
def test_what_cannot_be_built_is_said(
    arguments: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from fsar.commands.look import check_alignment

    with pytest.raises(SystemExit) as stopped:
        check_alignment.main(arguments)
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(("epsilon", "word"), [(0.0, "unseen"), (1e-8, "unseen"), (1e-6, "unseen"), (0.01, "seen")])
def test_a_tiny_epsilon_is_no_scale(epsilon: float, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsar.alignment import OTAM, BiMHM, CosineCost, FrameMean
    from fsar.alignment.properties import TriedAlignment, report

    for metric in (FrameMean(CosineCost(epsilon)), BiMHM(cost=CosineCost(epsilon)), OTAM(cost=CosineCost(epsilon))):
        assert f"scale of the features: {word}" in report(TriedAlignment(metric)).split("; ")
