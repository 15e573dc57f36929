"""The little world that the code in the pages runs in: clips, a trained run, the configurations."""

from __future__ import annotations

import itertools
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from episodes.datamodule import EpisodicDataModule
from episodes.shapes import motion
from episodes.shapes.source import write_video
from fsar.__main__ import main as fsar
from fsar.build import Parser
from fsar.commands.train import fit
from fsar.training.learner import Learner

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ["arm_circles", "bowing", "burpee", "clapping", "high_knees", "jumping_jack", "kicking", "lunge", "plank"]
CLASSES += ["push_up", "sit_up", "squat", "stretching", "turning", "waving"]
SHORT = ["--data.ways=3", "--data.size=64", "--data.train_episodes=2", "--data.val_episodes=2", "--data.workers=0"]
SHORT += ["--data.test_episodes=12", "--data.check_videos=false", "--data.benchmark.root=my_clips"]
SHORT += ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]


class Reading(fit.CLI):
    """The command line, stopped when its parser is complete."""

    def parse_arguments(self, parser: Any, args: Any) -> NoReturn:
        raise StopIteration(parser)


@pytest.fixture(scope="session")
def parser() -> Any:
    """The parser of ``fsar fit`` and the others."""
    options: dict[str, Any] = {"parser_class": Parser, "parser_kwargs": {"allow_abbrev": False}}
    with pytest.raises(StopIteration) as found:
        Reading(Learner, EpisodicDataModule, args=[], auto_configure_optimizers=False, **options)
    return found.value.args[0]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``my_clips`` of 15 classes, ``my_support``, ``my_queries``, ``a.mp4`` and others; ``runs/mine``, tested."""
    folder = tmp_path_factory.mktemp("world")
    for (name, moves), number in itertools.product(zip(CLASSES, motion.CLASSES["train"], strict=False), range(6)):
        path = folder / "my_clips" / name / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, motion.render(moves, 0, "train", moves, f"{number:03d}"))
    for name, clip in zip(("a", "b", "c", "query", "support"), sorted(folder.glob("my_clips/*/0.mp4")), strict=False):
        shutil.copy(clip, folder / f"{name}.mp4")
    for name in CLASSES[:2]:
        shutil.copytree(folder / "my_clips" / name, folder / "my_support" / name)
    (folder / "my_support" / CLASSES[0] / "5.mp4").unlink()
    shutil.copytree(folder / "my_clips" / CLASSES[0], folder / "my_queries")
    shutil.copytree(ROOT / "configs", folder / "configs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv(fit.RUN_VARIABLE, raising=False)
        files = ("trainer", "data/folder", "method/clip_fsar_tiny")
        options = [part for file in files for part in ("-c", f"configs/{file}.yaml")]
        fsar(["fit", "--debug", "--run", "runs/mine", *options, *SHORT])
        fsar(["test", "--debug", "--run", "runs/mine"])
        patch.delenv(fit.RUN_VARIABLE)
    for name in ("demo", "other"):
        shutil.copytree(folder / "runs" / "mine", folder / "runs" / name)
    return folder


@pytest.fixture
def place(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the world to work in, whose modules can be imported and are forgotten afterwards."""
    shutil.copytree(world, tmp_path, symlinks=True, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv(fit.RUN_VARIABLE, raising=False)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
