"""Extraction from the command line: killed, resumed, spread over processes; and runs that read what it stored."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from PIL import Image
from torch.multiprocessing import ProcessRaisedException

from episodes.features import FeatureWriter
from episodes.files.locks import held_alone
from fsar.commands.train import fit

ROOT = Path(__file__).resolve().parents[5]
CLASSES = [f"class_{label}" for label in range(9)]
pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, about itself and about our tiny loaders


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a tool by its name."""
    return importlib.import_module


@pytest.fixture
def tool(tools: Any) -> ModuleType:
    module: ModuleType = tools("fsar.commands.data.extract")
    return module


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine classes of fourteen folders of four frames, and the CLIP that ships."""
    root, rng = tmp_path_factory.mktemp("videos"), np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        for clip in range(14):
            folder = root / name / f"{clip:02d}"
            folder.mkdir(parents=True)
            for frame in range(4):
                pixels = rng.integers(0, 150, (64, 64, 3), dtype=np.uint8) + np.uint8(10 * label)
                Image.fromarray(pixels).save(folder / f"{frame}.jpg")
    splits = {"train": CLASSES[:3], "val": CLASSES[3:6], "test": CLASSES[6:]}
    same = {"class_path": "episodes.transforms.ClipTransform", "init_args": {"size": 64, "resize_to": 64}}
    content = {
        "trainer": {"accelerator": "cpu", "devices": 1, "enable_progress_bar": False},
        "data": {
            "benchmark": {"class_path": "episodes.splits.Folder", "init_args": {"root": str(root), **splits}},
            "ways": 3,
            "frames": 4,
            "size": 64,
            "train_sampler": {"class_path": "episodes.frames.SegmentCentre"},
            "train_transform": same,
            "test_transform": same,
            "train_episodes": 3,
            "val_episodes": 5,
            "test_episodes": 60,
            "workers": 0,
        },
        "model": yaml.safe_load((ROOT / "configs/method/clip_fsar_tiny.yaml").read_text())["model"],
    }
    path = tmp_path_factory.mktemp("config") / "run.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def store(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All three splits, extracted in one go."""
    root = tmp_path_factory.mktemp("store")
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        importlib.import_module("fsar.commands.data.extract").main(
            ["--store", str(root), "-c", str(config), "--verify"]
        )
    finally:
        sys.path.remove(str(ROOT / "tools"))
    return root


def contents(root: Path) -> dict[str, bytes]:
    """Every store's features as they lie on disk."""
    return {path.parent.name: path.read_bytes() for path in root.glob("*/frames.npy")}


def test_a_killed_extraction_is_resumed(
    config: Path, store: Path, tmp_path: Path, tool: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "features"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "fsar", "extract", "--store", str(root), "-c", str(config)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        while len(list(root.glob("*/parts/0*.npy"))) < 2 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, process.stderr.read()  # type: ignore[union-attr]
    kept = len(list(root.glob("*/parts/0*.npy")))
    assert 2 <= kept < 9
    assert not contents(root)  # nothing looks complete

    written = []
    write = FeatureWriter.write
    monkeypatch.setattr(FeatureWriter, "write", lambda self, *args: (written.append(args[0]), write(self, *args)))
    tool.main(["--store", str(root), "-c", str(config), "--verify"])
    assert len(written) == 9 - kept
    assert contents(root) == contents(store)


def test_two_processes_store_what_one_stores(config: Path, store: Path, tmp_path: Path, tool: ModuleType) -> None:
    options = ["--devices", "2", "--strategy", "ddp_fork", "--accelerator", "cpu"]
    tool.main(["--store", str(tmp_path), "-c", str(config), *options])
    assert contents(tmp_path) == contents(store)


def test_two_extractions_at_once_store_what_one_stores(config: Path, store: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "fsar", "extract", "--store", str(tmp_path), "-c", str(config)]
    log = tmp_path.parent / "said.txt"
    with ExitStack() as held, log.open("w") as said:
        for folder in store.iterdir():
            held.enter_context(held_alone(tmp_path / folder.name))  # so that both are there before either begins
        pair = [subprocess.Popen(command, env=environment, stdout=said, stderr=said) for _ in range(2)]
        while (text := log.read_text()).count("waiting until it has ended") < 2 and all(p.poll() is None for p in pair):
            time.sleep(0.05)
    assert [process.wait(timeout=300) for process in pair] == [0, 0], log.read_text()
    assert f"is being written by process {os.getpid()} on " in text
    assert contents(tmp_path) == contents(store)
    assert "0 chunks of videos to encode, and 9 there already" in log.read_text()


def test_several_processes_refuse_a_store_that_is_being_written(
    config: Path, store: Path, tmp_path: Path, tool: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--devices", "2", "--strategy", "ddp_fork", "--accelerator", "cpu"]
    monkeypatch.setattr(sys, "argv", ["extract_features", "--debug"])  # the message of a fork is a long one
    refused = f"BlockingIOError: process {os.getpid()} on .* is writing .*: wait until it has ended"
    last = tmp_path / max(folder.name for folder in store.iterdir())
    with held_alone(last), pytest.raises(ProcessRaisedException, match=refused):
        tool.main(["--store", str(tmp_path), "-c", str(config), *options])


@pytest.mark.parametrize("chunks", [0, 1])
def test_a_broken_off_extraction_leaves_nothing_empty(
    chunks: int, config: Path, tmp_path: Path, tool: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, root = FeatureWriter.write, tmp_path / "new"

    def break_off(self: FeatureWriter, chunk: int, clips: Any) -> None:
        if len(list(root.glob("*/parts/0*.npy"))) == chunks:
            raise KeyboardInterrupt
        write(self, chunk, clips)

    monkeypatch.setattr(FeatureWriter, "write", break_off)
    with pytest.raises(SystemExit) as ended:
        tool.main(["--store", str(root), "-c", str(config)])
    assert ended.value.code == 130
    assert len(list(root.glob("*/parts/0*.npy"))) == len(list(root.glob("*"))) == chunks
    assert root.exists() == bool(chunks)


def test_only_damaged_features_are_encoded_again(config: Path, store: Path, tmp_path: Path, tool: ModuleType) -> None:
    root = shutil.copytree(store, tmp_path / "copy")
    file = next(root.glob("test-*/frames.npy"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(SystemExit, match=r"is damaged: frames\.npy does not hold what was written of class_8.13"):
        fit.main(["test", "--run", str(tmp_path / "run"), "-c", str(config), "--data.features", str(root)])
    written = []
    write = FeatureWriter.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureWriter, "write", lambda self, *args: (written.append(args[0]), write(self, *args)))
        tool.main(["--store", str(root), "-c", str(config), "--verify"])
    assert written == [2]
    assert contents(root) == contents(store)


def test_a_stale_store_is_refused(config: Path, store: Path, tools: Any) -> None:
    options = ["-c", str(config), "--data.features", str(store)]
    cli = tools("fsar.build").build_with_trainer([*options, "--data.frames", "3"])
    with pytest.raises(FileNotFoundError, match=r"differs in\n  frames: stored 4, asked for 3\n.*fsar extract"):
        cli.trainer.test(cli.learner, cli.data, verbose=False)
    cli = tools("fsar.build").build_with_trainer(options)
    with torch.no_grad():
        next(cli.learner.method.encoder.visual.parameters())[0] += 0.1
    lines = r"differs in\n  encoder weights or their precision \(hash\): stored \w{12}, asked for \w{12}\n"
    with pytest.raises(FileNotFoundError, match=lines):
        cli.trainer.test(cli.learner, cli.data, verbose=False)


def test_training_and_test_from_a_store_equal_those_from_pixels(config: Path, store: Path, tools: Any) -> None:
    results, weights = [], []
    for source in ([], ["--data.features", str(store)]):
        cli = tools("fsar.build").build_with_trainer(["-c", str(config), *source])
        quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
        trainer = Trainer(accelerator="cpu", max_epochs=1, enable_checkpointing=False, **quiet)
        torch.manual_seed(1)  # of the dropout
        trainer.fit(cli.learner, cli.data)
        weights.append(cli.learner.state_dict())
        trainer.test(cli.learner, cli.data, verbose=False)
        results.append((cli.learner.rows, cli.learner.result))
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-5)
    (pixels, from_pixels), (features, from_features) = results
    assert from_pixels["encoder_forwards"] == 42
    assert from_features["encoder_forwards"] == 0
    assert from_features["accuracy"] == from_pixels["accuracy"]
    assert np.array_equal(features["scores"].argmax(-1), pixels["scores"].argmax(-1))
    np.testing.assert_allclose(features["scores"], pixels["scores"], rtol=1e-3, atol=1e-4)


def test_half_precision_costs_at_most_a_thousandth(
    config: Path, store: Path, tmp_path: Path, tools: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, looked_at = tools("episodes.datamodule").EpisodicDataModule, []
    set_up = data.setup
    monkeypatch.setattr(data, "setup", lambda self, stage: (looked_at.append(stage), set_up(self, stage)))
    options = ["--dtype", "float16", "--splits", "test", "--trainer.enable_progress_bar", "true"]
    tools("fsar.commands.data.extract").main(["--store", str(tmp_path), "-c", str(config), *options])
    assert "42/42 clips" in capsys.readouterr().out  # and not three chunks
    assert looked_at == ["test"]  # other splits may hold nothing that an episode could be made of
    scores = []
    for root in (store, tmp_path):
        cli = tools("fsar.build").build_with_trainer(["-c", str(config), "--data.features", str(root)])
        torch.manual_seed(0)
        cli.trainer.test(cli.learner, cli.data, verbose=False)
        scores.append(cli.learner.rows["scores"])
    assert not np.array_equal(scores[0], scores[1])
    np.testing.assert_allclose(scores[0], scores[1], rtol=2e-3, atol=2e-3)


def test_a_sweep_encodes_once_and_gives_what_tests_give(config: Path, tmp_path: Path, tools: Any) -> None:
    cli = tools("fsar.build").build_with_trainer(["-c", str(config)])
    settings = [(2, 1, "few_shot"), (3, 2, "few_shot"), (3, 2, "text")]
    folders = tools("fsar.commands.measure.sweep").run(cli.learner, cli.data, settings, tmp_path, config={})
    assert [folder.name for folder in folders.values()] == [
        "test_2way_1shot_few_shot",
        "test_3way_2shot_few_shot",
        "test_3way_2shot_text",
    ]
    found = {result.folder.name: result for result in tools("fsar.evaluation.comparing.comparison").find([tmp_path])}
    assert {result.record["encoder_forwards"] for result in found.values()} == {42}
    alone = tools("fsar.build").build_with_trainer(["-c", str(config), "--data.test_shots", "2"])
    alone.learner.load_state_dict(cli.learner.state_dict(), strict=False)
    alone.trainer.test(alone.learner, alone.data, verbose=False)
    record = found["test_3way_2shot_few_shot"].record
    assert record["accuracy"] == alone.learner.result["accuracy"]
    assert record["confusion"] == alone.learner.result["confusion"]
    assert record["data"]["episodes_sha256"] == alone.data.record("test")["episodes_sha256"]
    with pytest.raises(ValueError, match="3 classes"):
        tools("fsar.commands.measure.sweep").run(cli.learner, cli.data, [(5, 1, None)], tmp_path)


def test_joints_are_not_stored_and_that_is_said_before_the_work(tool: ModuleType, config: Path, tmp_path: Path) -> None:
    toy = {"class_path": "fsar.encoders.ClipEncoder", "init_args": {"model": "fsar-tiny", "pretrained": "shapes"}}
    encoder = {"class_path": "fsar.encoders.SkeletonViews", "init_args": {"encoder": toy, "order": "coco"}}
    given = {"encoder": encoder, "alignment": {"class_path": "fsar.alignment.FrameMean"}}
    content = yaml.safe_load(config.read_text()) | {
        "model": {"method": {"class_path": "fsar.methods.Prototype", "init_args": given}}
    }
    (tmp_path / "joints.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(SystemExit) as stopped:
        tool.main(["-c", str(tmp_path / "joints.yaml"), "--store", str(tmp_path / "store")])
    assert "what is made of joints is not stored: SkeletonViews reads their files in fsar fit" in str(stopped.value)
    assert not (tmp_path / "store").exists()
