"""ActionCLIP over all classes from the command line: what is held out, K shots, and that it learns."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from episodes.splits import Split

ROOT = Path(__file__).resolve().parents[4]
CLASSES = ["a red thing", "a green thing", "a blue thing"]
pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, about itself and about our tiny loaders


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return importlib.import_module("fsar.commands.train.train_supervised")


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """Three classes of eight clips of two frames, each a colour that its name denies, and the toy ActionCLIP."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        for clip in range(8):
            folder = tmp_path / "videos" / name / f"{clip}_g{clip // 2}"
            folder.mkdir(parents=True)
            for frame in range(2):
                pixels = rng.integers(0, 80, (64, 64, 3), dtype=np.uint8)
                pixels[..., (label + 1) % 3] += 150
                Image.fromarray(pixels).save(folder / f"{frame}.jpg")
    benchmark = {"root": str(tmp_path / "videos"), "train": CLASSES, "val": [], "test": []}
    data = {"class_path": "episodes.splits.Folder", "init_args": benchmark}
    (tmp_path / "data.yaml").write_text(
        json.dumps({"data": {"benchmark": data, "frames": 2, "size": 64, "workers": 0}})
    )
    method = ROOT / "configs" / "method" / "tiny" / "action_clip.yaml"
    quiet = ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.enable_progress_bar", "false"]
    return ["-c", str(tmp_path / "data.yaml"), "-c", str(method), *quiet, "--model.optimizer.lr", "0.01"]


def test_it_learns_the_classes_and_the_weights_it_leaves_give_the_same_again(
    tool: ModuleType, options: list[str], tmp_path: Path
) -> None:
    own = ["--group", r"_g(\d)", "--batch", "6"]
    zero_shot = tool.main([*options, *own, "--epochs", "0"])
    trained = tool.main([*options, *own, "--epochs", "6", "--out", str(tmp_path / "out")])
    assert (zero_shot["clips"], zero_shot["trained_on"], trained["trained_on"]) == (6, 0, 18)
    assert trained["accuracy"] > zero_shot["accuracy"]
    low, high = trained["wilson_95"]
    assert 0 < low < trained["accuracy"] <= high <= 1
    assert json.loads((tmp_path / "out" / "results.json").read_text())["accuracy"] == trained["accuracy"]
    weights = str(tmp_path / "out" / "weights.ckpt")
    assert tool.main([*options, *own, "--epochs", "0", "--ckpt_path", weights])["accuracy"] == trained["accuracy"]


def test_a_batch_without_two_clips_of_a_class_trains_as_well(tool: ModuleType, options: list[str]) -> None:
    assert tool.main([*options, "--epochs", "1", "--batch", "2", "--shots", "1"])["trained_on"] == 3


def split() -> Split:
    paths = tuple(f"{name}/g{group}_{clip}.mp4" for name in "ab" for group in range(4) for clip in range(3))
    return Split("train", ("a", "b"), paths, tuple(path[0] == "b" for path in paths), Path())


def test_groups_stay_together_and_every_class_is_on_both_sides(tool: ModuleType) -> None:
    whole = split()
    train, test = tool.divide(whole, 0.25, None, r"(g\d)_", 0)
    assert sorted(train + test) == list(range(24))
    sides = [{whole.paths[video][:4] for video in side} for side in (train, test)]
    assert not sides[0] & sides[1]
    assert [len(side) for side in sides] == [6, 2]
    assert tool.divide(whole, 0.25, None, r"(g\d)_", 0) == (train, test)
    assert tool.divide(whole, 0.25, None, r"(g\d)_", 1) != (train, test)


def test_k_shots_are_k_of_every_class_and_the_same_clips_are_held_out(tool: ModuleType) -> None:
    whole = split()
    train, test = tool.divide(whole, 0.5, None, ".*", 0)
    few, same = tool.divide(whole, 0.5, 2, ".*", 0)
    assert same == test
    assert set(few) < set(train)
    assert sorted(whole.labels[video] for video in few) == [0, 0, 1, 1]


def test_what_cannot_be_divided_is_refused(tool: ModuleType) -> None:
    with pytest.raises(ValueError, match="class 'a' keeps 0 of its clips"):
        tool.divide(split(), 0.9, None, r"(g\d)_", 0)
    with pytest.raises(ValueError, match="7 are needed"):
        tool.divide(split(), 0.5, 7, ".*", 0)
    with pytest.raises(ValueError, match="does not occur in a/g0_0"):
        tool.divide(split(), 0.5, None, "scene", 0)


def test_another_method_is_refused(tool: ModuleType, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    other = ["-c", str(ROOT / "configs" / "method" / "clip_fsar_tiny.yaml")]
    with pytest.raises(SystemExit) as stopped:
        tool.main([*options[:2], *other, *options[4:]])
    assert "builds ClipFSAR, but this trains fsar.methods.ActionCLIP" in str(stopped.value)
