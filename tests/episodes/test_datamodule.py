"""The data module: what each loader gives, to whom, in which epoch, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from episodes.datamodule import EpisodicDataModule
from episodes.dataset import reading
from episodes.episode import Episode, IndexEpisode
from episodes.splits import Folder
from episodes.video import VideoError

QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,  # of a few videos no episode can be scored
}
pytestmark = pytest.mark.filterwarnings(  # of Lightning, about itself and about our tiny loaders
    "ignore:.*isinstance.treespec, LeafSpec:FutureWarning",
    "ignore:The '.*dataloader' does not have many workers",
    "ignore:.*in eval mode at the start of training",
    "ignore:Total length of `list` across ranks is zero",
)


def source(root: Path, val: bool = True) -> Folder:
    names = [f"class_{label}" for label in range(9)]
    return Folder(root, train=names[:3], val=names[3:6] if val else [], test=names[6:])


def data(root: Path, val: bool = True, **changes: Any) -> EpisodicDataModule:
    defaults: dict[str, Any] = {
        "benchmark": source(root, val),
        "ways": 2,
        "queries": 2,
        "frames": 2,
        "size": 8,
        "train_episodes": 6,
        "val_episodes": 5,
        "test_episodes": 7,
        "episode_batch": 3,
        "video_batch": 4,
        "workers": 0,
        "check_videos": False,
    }
    return EpisodicDataModule(**{**defaults, **changes})


def as_rank(module: EpisodicDataModule, rank: int, world: int) -> EpisodicDataModule:
    """The module as one of several processes sees it."""
    trainer = SimpleNamespace(global_rank=rank, world_size=world, num_devices=world)
    module.trainer = trainer  # type: ignore[assignment]
    return module


class Recorder(LightningModule):
    """Trains nothing, remembers which episodes came."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.trained: list[list[int]] = []
        self.evaluated: list[tuple[int, list[int]]] = []

    def training_step(self, batch: Episode, index: int) -> Tensor:
        self.trained.append(batch.number.tolist())
        return self.layer(torch.ones(1)).sum()

    def validation_step(self, batch: Any, index: int, dataloader_idx: int = 0) -> None:
        numbers = batch.number if isinstance(batch, IndexEpisode) else batch.videos
        self.evaluated.append((dataloader_idx, numbers.tolist()))

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_training_batch_is_pixels_with_a_leading_axis(root: Path) -> None:
    module = data(root, episodes_per_batch=3, shots=2)
    module.setup("fit")
    batches = list(module.train_dataloader())
    assert [batch.number.tolist() for batch in batches] == [[0, 1, 2], [3, 4, 5]]
    assert batches[0].support["frames"].shape == (3, 4, 2, 3, 8, 8)
    assert batches[0].query["frames"].shape == (3, 4, 2, 3, 8, 8)
    assert batches[0].support["frames"].dtype == torch.uint8
    assert batches[0].class_names == ("class 0", "class 1", "class 2")


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_evaluation_gives_needed_videos_then_index_episodes(root: Path, stage: str) -> None:
    module = data(root, shots=1, test_shots=2, test_queries=1)
    module.setup(stage)
    videos, episodes = module.val_dataloader() if stage == "validate" else module.test_dataloader()
    batches = list(episodes)
    assert torch.cat([batch.number for batch in batches]).tolist() == list(range(5 if stage == "validate" else 7))
    assert batches[0].support.shape == (3, 4)
    assert batches[0].query.shape == (3, 2)
    needed = torch.cat([torch.cat([batch.support, batch.query], dim=1).ravel() for batch in batches]).unique()
    given = torch.cat([batch.videos for batch in videos])
    assert given.tolist() == needed.tolist()
    first = next(iter(videos))
    assert first.clips["frames"].shape == (4, 2, 3, 8, 8)
    assert first.class_names == module.splits["val" if stage == "validate" else "test"].class_names
    shades = first.clips["frames"][:, 0, 0, 0, 0] - (60 if stage == "validate" else 120)  # class * 20 + clip, as drawn
    assert torch.equal(shades // 20, first.classes)
    assert torch.equal(shades % 20, first.videos % 5)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_share_everything_exactly_once(root: Path, world: int) -> None:
    trained, videos, episodes = [], [], []
    for rank in range(world):
        module = data(root)
        module.setup("fit")
        as_rank(module, rank, world)
        trained += [batch.number for batch in module.train_dataloader()]
        loaders = module.val_dataloader()
        videos += [batch.videos for batch in loaders[0]]
        episodes += [batch.number for batch in loaders[1]]
    alone = data(root)
    alone.setup("fit")
    assert sorted(torch.cat(trained).tolist()) == list(range(6))
    assert sorted(torch.cat(episodes).tolist()) == list(range(5))
    assert sorted(torch.cat(videos).tolist()) == [int(i) for batch in alone.val_dataloader()[0] for i in batch.videos]


def test_seeds_choose_the_lists(root: Path) -> None:
    def lists(**changes: Any) -> tuple[str, str]:
        module = data(root, **changes)
        module.setup("fit")
        return module.record("train")["episodes_sha256"], module.record("val")["episodes_sha256"]

    train, val = lists()
    assert lists(seed=1)[0] != train
    assert lists(seed=1)[1] == val
    assert lists(test_seed=1)[0] == train
    assert lists(test_seed=1)[1] != val


def test_fit_numbers_episodes_by_epoch_and_repeats_validation(root: Path) -> None:
    model = Recorder()
    Trainer(max_epochs=3, enable_checkpointing=False, **QUIET).fit(model, data(root, episodes_per_batch=2))
    assert [number for batch in model.trained for number in batch] == list(range(18))
    third = len(model.evaluated) // 3
    assert model.evaluated[:third] == model.evaluated[third : 2 * third] == model.evaluated[2 * third :]
    assert [numbers for loader, numbers in model.evaluated[:third] if loader == 1] == [[0, 1, 2], [3, 4]]


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks")
@pytest.mark.parametrize("every", [{"every_n_train_steps": 2}, {"every_n_epochs": 1}])
def test_resumed_training_sees_the_episodes_of_uninterrupted_training(
    root: Path, tmp_path: Path, every: dict[str, int]
) -> None:
    def train(resume: Path | None) -> list[list[int]]:
        model = Recorder()
        keep = {"callbacks": [ModelCheckpoint(tmp_path, save_top_k=-1, filename="{step}", **every)]}
        trainer = Trainer(max_epochs=3, **QUIET, **({"enable_checkpointing": False} if resume else keep))
        module = data(root, val=False, train_episodes=3)
        trainer.fit(model, module, ckpt_path=resume, weights_only=False)
        return model.trained

    whole = train(None)
    assert whole == [[number] for number in range(9)]
    checkpoints = list(tmp_path.iterdir())
    assert len(checkpoints) > 2
    for checkpoint in checkpoints:
        done = int(checkpoint.stem.removeprefix("step="))
        assert train(checkpoint) == whole[done:]


def test_no_validation_classes(root: Path) -> None:
    module = data(root, val=False)
    assert not module.has_validation
    assert data(root).has_validation
    model = Recorder()
    Trainer(max_epochs=1, enable_checkpointing=False, **QUIET).fit(model, module)
    assert len(model.trained) == 6
    assert not model.evaluated


def test_the_trainer_is_left_as_it_is(root: Path) -> None:
    trainer = Trainer(max_epochs=1, enable_checkpointing=False, **{**QUIET, "num_sanity_val_steps": 1})
    trainer.fit(Recorder(), data(root, val=False))
    assert (trainer.num_sanity_val_steps, trainer.limit_val_batches) == (1, 1.0)


@pytest.mark.parametrize(
    ("trainer", "limit"),
    [
        ({"limit_val_batches": 1}, "limit_val_batches=1"),
        ({"fast_dev_run": True}, "limit_val_batches=1"),
        ({"overfit_batches": 2}, "overfit_batches=2"),
    ],
)
def test_loaders_that_would_be_cut_short(root: Path, trainer: dict[str, Any], limit: str) -> None:
    with pytest.raises(ValueError, match=rf"trainer\.{limit} .* lower train_episodes, val_episodes"):
        Trainer(max_epochs=1, enable_checkpointing=False, **QUIET, **trainer).fit(Recorder(), data(root))


def test_test_stage_counts_every_episode_once(root: Path) -> None:
    model = Recorder()
    Trainer(**QUIET).test(model, data(root), verbose=False)
    assert [number for loader, numbers in model.evaluated if loader == 1 for number in numbers] == list(range(7))


@pytest.mark.parametrize(
    ("changes", "world", "message"),
    [
        ({"train_episodes": 7}, 2, r"train_episodes=7 .* 2 processes .* multiple of 2, such as 6"),
        ({"train_episodes": 1, "episodes_per_batch": 3}, 1, "multiple of 3, such as 3"),
        ({"ways": 4}, 1, r"split train of benchmark folder0: 4-way .* need 4 classes"),
        ({"shots": 5}, 1, r"split train .*'class 0' \(5\)"),
        ({"opposites": True}, 1, "split train .* names no two classes"),
        ({"benchmark": None}, 1, "no benchmark: give one"),
    ],
)
def test_errors(root: Path, changes: dict[str, Any], world: int, message: str) -> None:
    def start() -> None:
        module = as_rank(data(root, **changes), 0, world)
        module.setup("fit")
        module.train_dataloader()

    with pytest.raises(ValueError, match=message):
        start()


def test_fewer_episodes_than_processes(root: Path) -> None:
    module = as_rank(data(root, test_episodes=2), 0, 3)
    module.setup("test")
    with pytest.raises(ValueError, match=r"2 items .* 3 processes"):
        module.test_dataloader()


def test_broken_videos_stop_the_start_or_are_left_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = str(root / "class_1" / "clip3")
    looked: list[str] = []

    def find_unreadable(paths: list[str], workers: int, images: dict[str, str]) -> dict[str, str]:
        images[paths[-1]] = "1 of its 9 images left out"
        looked.extend(paths)
        return {path: "cut off" for path in paths if path == broken}

    monkeypatch.setattr(reading, "find_unreadable", find_unreadable)
    with pytest.raises(VideoError, match=r"class_1/clip3: cut off\n.*skip_unreadable=true"):
        data(root, check_videos=True).setup("fit")
    module = data(root, check_videos=True, skip_unreadable=True)
    looked.clear()
    with pytest.warns(UserWarning, match="class_1/clip3: cut off"):
        module.setup("fit")
    module.setup("fit")
    module.setup("validate")
    assert len(looked) == 30  # each video once
    assert len(module.splits["train"]) == 14
    record = module.record("train")
    assert record["videos"] == 14
    assert record["videos_left_out"] == {"class_1/clip3": "cut off"}
    assert list(record["images_left_out"].values()) == ["1 of its 9 images left out"]
    assert record["split_sha256"] != module.load().train.fingerprint()
    data(root).setup("fit")
    assert len(looked) == 30


def test_processes_tell_each_other_of_broken_videos(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_unreadable(paths: list[str], workers: int, images: dict[str, str]) -> dict[str, str]:
        images[paths[1]] = "1 of its 9"
        assert len(paths) == 7  # the odd ones of fifteen
        return {paths[0]: "here"}

    def all_gather_object(shares: list[Any], mine: tuple[dict[str, str], ...]) -> None:
        shares[:] = [
            ({str(root / "class_6" / "clip0"): "there"}, {str(root / "class_6" / "clip2"): "2 of its 9"}),
            mine,
        ]

    monkeypatch.setattr(reading, "find_unreadable", find_unreadable)
    monkeypatch.setattr(reading.distributed, "all_gather_object", all_gather_object)
    module = as_rank(data(root, check_videos=True, skip_unreadable=True), 1, 2)
    module.setup("test")
    assert module.left_out["test"] == {"class_6/clip0": "there", "class_6/clip1": "here"}
    assert module.images_left_out["test"] == {"class_6/clip2": "2 of its 9", "class_6/clip3": "1 of its 9"}
