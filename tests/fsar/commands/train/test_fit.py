"""Whole runs through the command line, and what it says when something is wrong."""

from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import fsar
from fsar.commands.train.fit import expand, main
from fsar.encoders.tower.text_tower import TextEncoder

MINE = '''
from torch import Tensor
from fsar.alignment import CostAlignment

class {name}(CostAlignment):
    """Cost of the {pick} pair of frames."""

    def align(self, cost: Tensor, mask: Tensor | None = None) -> Tensor:
        return cost.flatten(-2).a{pick}(-1)
'''


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test works in a folder of its own, which must not leak into the next by the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("FSAR_RUN", raising=False)
    monkeypatch.setattr(sys, "argv", ["fsar"])


def fit(config: Path, folder: str = "run", *options: str) -> Path:
    main(["fit", "--debug", "--run", folder, "-c", str(config), *options])
    return Path(folder)


def test(folder: Path, *options: str) -> dict[str, Any]:
    main(["test", "--debug", "--run", str(folder), *options])
    newest = max(folder.glob("results/*/results.json"), key=lambda path: path.stat().st_mtime_ns)
    return json.loads(newest.read_text())


test.__test__ = False  # type: ignore[attr-defined]


def test_a_run_folder_holds_all_that_is_needed(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fit(config)
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    assert saved["model"]["method"]["init_args"]["depth"] == 1  # a default, written down
    assert {p.name for p in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert "val_accuracy" in (folder / "csv" / "version_0" / "metrics.csv").read_text()
    assert list((folder / "tensorboard").rglob("events*"))
    stored = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert not any("encoder" in name for name in stored["state_dict"])
    assert len(stored["frozen_weights_sha256"]) == 64
    result = test(folder)
    assert result["episodes"] == 30
    assert 0 < result["interval_95"] < 0.5
    assert f"± {100 * result['interval_95']:.2f} % (30 episodes)" in capsys.readouterr().out
    zero_shot = test(folder, "--model.method", "ZeroShot", "--ckpt_path", "null")
    assert result["zero_shot_accuracy"] == zero_shot["accuracy"]  # the floor is the method itself
    assert result["encoder_forwards"] <= 15  # the test videos, each once


def test_a_metric_on_the_command_line_wins_over_the_checkpoint(config: Path) -> None:
    folder = fit(config)
    trained_with = test(folder)
    other = test(folder, "--model.alignment", "FrameMean")
    assert trained_with["config"]["model"]["method"]["init_args"]["alignment"]["class_path"] == "fsar.alignment.OTAM"
    assert other["config"]["model"]["method"]["init_args"]["alignment"]["class_path"] == "fsar.alignment.FrameMean"
    predictor = fsar.load(folder)
    predictor.learner.method.alignment = fsar.alignment.FrameMean()  # type: ignore[assignment]
    assert len(list(folder.glob("results/*/results.json"))) == 2  # the first result is still there
    assert other["accuracy"] == pytest.approx(accuracy_of(predictor), abs=1e-12)


def accuracy_of(predictor: fsar.Predictor) -> float:
    """Test accuracy of a method as it is, episode by episode from pixels."""
    data, method = predictor.data, predictor.learner.method
    data.setup("test")
    episodes = data.episode_sampler("test")
    from episodes.dataset import EpisodeDataset

    dataset = EpisodeDataset(data.clips(data.splits["test"]), episodes)
    with torch.no_grad():
        scored = [(method(e := dataset[i]).logits.argmax(-1), e.query_labels) for i in range(data.counts["test"])]
    return float(torch.stack([(guess == truth).double().mean() for guess, truth in scored]).mean())


def test_encoding_once_equals_episode_by_episode(config: Path) -> None:
    folder = fit(config)
    assert test(folder)["accuracy"] == pytest.approx(accuracy_of(fsar.load(folder)), abs=1e-12)


def test_resumed_training_equals_uninterrupted(config: Path) -> None:
    whole = fit(config, "whole", "--trainer.max_epochs", "3")
    part = fit(config, "part", "--trainer.max_epochs", "1")
    last = str(part / "checkpoints" / "last.ckpt")
    fit(config, "part", "--trainer.max_epochs", "3", "--ckpt_path", last)
    one, other = (torch.load(f / "checkpoints" / "last.ckpt", weights_only=True) for f in (whole, part))
    assert one["global_step"] == other["global_step"] == 12
    for name, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][name]), name


def test_testing_on_trained_classes_is_said(config: Path) -> None:
    folder = fit(config)
    assert test(folder)["classes_seen_in_training"] == []
    swapped = [
        "--data.benchmark.test",
        "[class_0, class_1, class_2]",
        "--data.benchmark.train",
        "[class_6, class_7, class_8]",
    ]
    with pytest.warns(UserWarning, match="3 test classes trained on"):
        assert test(folder, *swapped)["classes_seen_in_training"] == ["class 0", "class 1", "class 2"]


def test_damaged_results_are_told_before_the_work(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    method = ["-c", str(config), "--model.method", "Prototype", "--model.alignment", "FrameMean"]
    main(["test", "--debug", "--run", "run", *method])
    path = next(Path("run").glob("results/*/results.json"))
    path.write_text(path.read_text()[:100])
    main(["test", "--debug", "--run", "run", *method])
    assert json.loads(path.read_text())["accuracy"] >= 0
    assert len(path.with_name("results.damaged.json").read_text()) == 100


def test_a_full_disk_after_an_evaluation_does_not_cost_its_number(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(record: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "results.json")

    monkeypatch.setattr("fsar.evaluation.results.to_json", refuse)
    with pytest.raises(SystemExit, match=r"results\.json: No space left on device"):
        main(["test", "--run", "run", "-c", str(config), "--model.method", "Prototype"])
    assert re.search(r"^test: 3-way 1-shot accuracy \d+\.\d+ ± ", capsys.readouterr().out, re.MULTILINE)


def test_no_text_of_a_test_class_is_read_in_training(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[str] = set()
    encode = TextEncoder._compute
    monkeypatch.setattr(TextEncoder, "_compute", lambda self, texts: (read.update(texts), encode(self, texts))[1])
    main(["fit", "--debug", "--run", "texts", "-c", str(config)])
    assert {i for i in range(9) if any(f"class {i}" in text for text in read)} == set(range(6))  # training, validation
    main(["test", "--debug", "--run", "texts"])
    assert any("class 6" in text for text in read)


def test_a_metric_of_ones_own_is_used_in_fit_and_test(config: Path, tmp_path: Path) -> None:
    (tmp_path / "metrics_of_a_test.py").write_text(MINE.format(name="ClosestPair", pick="min"))
    folder = fit(config, "run", "--model.alignment", "metrics_of_a_test.ClosestPair")
    method = test(folder)["config"]["model"]["method"]
    assert method["init_args"]["alignment"]["class_path"] == "metrics_of_a_test.ClosestPair"


@pytest.mark.parametrize("without", [("--data.benchmark.val", "[]"), ("--trainer.limit_val_batches", "0")])
def test_without_validation_the_last_checkpoint_is_the_best(without: tuple[str, str], config: Path) -> None:
    folder = fit(config, "run", *without, "--trainer.max_epochs", "2")
    best, last = (torch.load(folder / "checkpoints" / f"{n}.ckpt", weights_only=True) for n in ("best", "last"))
    assert best["global_step"] == last["global_step"] == 8
    assert test(folder)["episodes"] == 30


def test_what_is_trained_after_the_last_validation_is_kept(config: Path) -> None:
    never = fit(config, "never", "--trainer.check_val_every_n_epoch", "5")
    seldom = fit(config, "seldom", "--trainer.check_val_every_n_epoch", "2", "--trainer.max_epochs", "3")
    within = fit(config, "within", "--trainer.val_check_interval", "3")
    for folder, best, last in ((never, 4, 4), (seldom, 8, 12), (within, 3, 4)):
        saved = {n: torch.load(folder / "checkpoints" / f"{n}.ckpt", weights_only=True) for n in ("best", "last")}
        assert {name: content["global_step"] for name, content in saved.items()} == {"best": best, "last": last}
    assert test(never)["checkpoint"] == str(never / "checkpoints" / "best.ckpt")


def test_a_broken_video_is_left_out_when_asked(config: Path, tmp_path: Path, clips: Path) -> None:
    for source in clips.rglob("*.mp4"):
        target = tmp_path / "data" / source.relative_to(clips)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    broken = tmp_path / "data" / "class_1" / "3.mp4"
    broken.write_bytes(broken.read_bytes()[:300])
    options = ["--data.benchmark.root", str(tmp_path / "data"), "--data.skip_unreadable", "true"]
    with pytest.warns(UserWarning, match="1 of the 15 videos of split train"):
        folder = fit(config, "run", *options)
    assert (folder / "checkpoints" / "best.ckpt").is_file()


def test_shorthands() -> None:
    assert expand(["fit", "--model.alignment", "OTAM"]) == ["fit", "--model.method.alignment", "OTAM"]
    assert expand(["fit", "--model.lr_scheduler=None"]) == ["fit", "--model.lr_scheduler=None"]
    assert expand(["fit", "--model.alignment.help", "OTAM"])[1:3] == ["--model.method", "ClipFSAR"]
    assert expand(["fit", "--run=x"]) == ["fit", "--run", "x"]


def test_help_on_a_metric_prints_its_docstring(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--model.alignment.help", "OTAM"])
    assert "temperature" in capsys.readouterr().out


@pytest.mark.parametrize("more", [[], ["--data.ways", "2"]])
def test_help_on_the_benchmark_lists_the_sources(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["fit", "--data.benchmark.help", *more])
    assert not end.value.code
    printed = capsys.readouterr().out
    assert "episodes.splits.Table\n    Your own clips by a list" in printed
    assert re.search(r"\n    root \[train\] \[val\].*\[clips\]\n", printed)


def test_help_is_answered_without_importing_torch() -> None:
    code = "import sys, fsar.__main__ as m; m.main(['--help']); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "usage: fsar" in done.stdout
