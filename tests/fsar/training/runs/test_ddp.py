"""Two processes do the work of one, and come to the same result to the last digit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor, nn

from episodes.datamodule import EpisodicDataModule
from episodes.episode import Episode, VideoBatch
from episodes.splits import Folder
from episodes.transforms import ClipTransform
from fsar.alignment import OTAM
from fsar.encoders.frame import FrameEncoder
from fsar.methods import Prototype
from fsar.training.learner import Learner

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, about itself, in the processes that it starts
EPISODES = 31  # odd: the two shares differ


class Recorder(Learner):
    """Leaves what each process did and found in a file of its own."""

    folder: Path

    def setup(self, stage: str) -> None:
        self.seen: dict[str, list[int]] = {"train": [], "videos": [], "episodes": []}

    def training_step(self, episode: Episode, batch_idx: int) -> Tensor:
        self.seen["train"] += episode.number.tolist()
        return super().training_step(episode, batch_idx)

    def _evaluate(self, batch: VideoBatch | Episode) -> None:
        if isinstance(batch, VideoBatch):
            self.seen["videos"] += batch.videos.tolist()
        else:
            self.seen["episodes"] += batch.number.tolist()
        super()._evaluate(batch)

    def on_fit_end(self) -> None:
        self.save("fit")

    def on_test_end(self) -> None:
        self.save("test")

    def save(self, stage: str) -> None:
        facts = {key: self.result[key] for key in ("accuracy", "interval_95", "confusion", "encoder_forwards")}
        metrics = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        record = {"seen": self.seen, "metrics": metrics, "result": facts if stage == "test" else {}}
        (self.folder / f"{stage}{self.global_rank}.json").write_text(json.dumps(record))
        if stage == "test":
            np.savez(self.folder / f"rows{self.global_rank}.npz", **self.rows)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine classes of five folders of two noisy frames."""
    root, rng = tmp_path_factory.mktemp("videos"), np.random.default_rng(0)
    for label in range(9):
        for clip in range(5):
            folder = root / f"class_{label}" / str(clip)
            folder.mkdir(parents=True)
            for frame in range(2):
                pixels = rng.integers(0, 200, (8, 8, 3), dtype=np.uint8) + np.uint8(4 * label)
                Image.fromarray(pixels).save(folder / f"{frame}.png")
    return root


def data(root: Path) -> EpisodicDataModule:
    names = [f"class_{label}" for label in range(9)]
    return EpisodicDataModule(
        Folder(root, train=names[:3], val=names[3:6], test=names[6:]),
        ways=3,
        queries=2,
        frames=2,
        size=8,
        train_transform=ClipTransform(8, resize_to=8),
        test_transform=ClipTransform(8, resize_to=8),
        train_episodes=6,
        val_episodes=9,
        test_episodes=EPISODES,
        video_batch=2,
        episode_batch=4,
        workers=0,
    )


def run(root: Path, folder: Path, devices: int) -> list[dict[str, Any]]:
    """Fit one epoch, test; what each process recorded."""
    folder.mkdir()
    torch.manual_seed(0)
    tower = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 16))
    encoder = FrameEncoder(tower, 16, 8, (0.5,) * 3, (0.3,) * 3, tune="full")
    learner = Recorder(Prototype(encoder, OTAM()), lambda parameters: torch.optim.SGD(parameters, lr=0.0))
    learner.folder = folder
    trainer = Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp_fork" if devices > 1 else "auto",
        max_epochs=1,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=False,
    )
    learner.result = dict.fromkeys(("accuracy", "interval_95", "confusion", "encoder_forwards"))
    trainer.fit(learner, data(root))
    trainer.test(learner, data(root), verbose=False)
    records = [json.loads((folder / f"fit{rank}.json").read_text()) for rank in range(devices)]
    return records + [json.loads((folder / f"test{rank}.json").read_text()) for rank in range(devices)]


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="this torch was built without gloo")
def test_two_processes_equal_one(videos: Path, tmp_path: Path) -> None:
    fit, test = run(videos, tmp_path / "one", 1)
    *fits, left, right = run(videos, tmp_path / "two", 2)
    # every training episode, test video and test episode is one process's and no other's
    shares = [record["seen"]["train"] for record in fits]
    assert sorted(shares[0] + shares[1]) == sorted(fit["seen"]["train"]) == list(range(6))
    for kind in ("videos", "episodes"):
        assert sorted(left["seen"][kind] + right["seen"][kind]) == sorted(test["seen"][kind])
        assert min(len(left["seen"][kind]), len(right["seen"][kind])) > 0
    assert sorted(test["seen"]["episodes"]) == list(range(EPISODES))
    # and the results are the same numbers, on both
    assert left["result"] == right["result"] == test["result"]
    assert 0.2 < test["result"]["accuracy"] < 1
    for record in fits:
        assert record["metrics"]["val_accuracy"] == fit["metrics"]["val_accuracy"]
    for record in (left, right):
        assert record["metrics"]["test_accuracy"] == test["metrics"]["test_accuracy"]
    expected = np.load(tmp_path / "one" / "rows0.npz")
    for rank in range(2):
        rows = np.load(tmp_path / "two" / f"rows{rank}.npz")
        for name in ("number", "classes", "truth", "video"):
            assert np.array_equal(rows[name], expected[name])
        assert np.array_equal(rows["scores"].argmax(-1), expected["scores"].argmax(-1))
        np.testing.assert_allclose(rows["scores"], expected["scores"], rtol=1e-5, atol=1e-5)
