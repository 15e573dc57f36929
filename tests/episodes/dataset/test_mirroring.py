"""Mirrored training clips: of opposite classes the other one's, no clip twice, and nothing where nothing is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from episodes.datamodule import EpisodicDataModule
from episodes.dataset import Mirroring
from episodes.splits import Folder, Split
from episodes.transforms import ClipTransform, StrongTransform

CLASSES = ("left", "right", "still")
SPLIT = Split(
    "train", CLASSES, tuple(f"{c}/{i}" for c in CLASSES for i in range(20)), tuple(np.repeat(range(3), 20)), Path()
)


def test_mirrored_clips_are_of_the_opposite_class_and_none_stands_twice() -> None:
    mirroring, swapped, flips = Mirroring(SPLIT, {"Left": "right"}, seed=5), {0: 1, 1: 0, 2: 2}, []
    videos = [0, 1, 2, 20, 21, 22, 40, 41, 42]
    for number in range(200):
        drawn = mirroring.draw(videos, number)
        for video, (read, mirrored) in zip(videos, drawn, strict=True):
            assert SPLIT.labels[read] == (swapped[SPLIT.labels[video]] if mirrored else SPLIT.labels[video])
            assert mirrored or read == video
            assert not mirrored or SPLIT.labels[video] < 2 or read == video
        assert len({read for read, _ in drawn}) == len(videos)
        flips += [mirrored for _, mirrored in drawn]
    assert 0.45 < np.mean(flips) < 0.55
    assert mirroring.draw(videos, 7) == mirroring.draw(videos, 7) != mirroring.draw(videos, 8)


def test_a_clip_stays_as_it_is_where_the_opposite_class_has_none_to_spare() -> None:
    few = Split("train", CLASSES[:2], ("a", "b"), (0, 1), Path())
    for number in range(20):
        assert Mirroring(few, {"left": "right"}).draw([0, 1], number) == [(0, False), (1, False)]


@pytest.mark.parametrize(
    ("table", "message"),
    [({"left": "up"}, "no class 'up'"), ({"left": "right", "still": "right"}, "'right' has two opposites")],
)
def test_wrong_tables_are_refused(table: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mirroring(SPLIT, table)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three classes of six clips; the left half shows the class, the right half is black."""
    for label, name in enumerate(CLASSES):
        for clip in range(6):
            (tmp_path / name / str(clip)).mkdir(parents=True)
            pixels = np.zeros((8, 8, 3), dtype=np.uint8)
            pixels[:, :4] = (label + 1) * 60, clip * 40, 0
            Image.fromarray(pixels).save(tmp_path / name / str(clip) / "0.png")
    return tmp_path


def make(root: Path, **options: Any) -> EpisodicDataModule:
    plain = ClipTransform(8, resize_to=8)
    given = {
        "ways": 2,
        "queries": 2,
        "frames": 2,
        "size": 8,
        "workers": 0,
        "train_episodes": 12,
        "train_transform": plain,
    }
    data = EpisodicDataModule(Folder(root, train=list(CLASSES), val=[], test=[]), **{**given, **options})
    data.setup("fit")
    return data


def test_episodes_hold_mirrored_clips_of_the_class_beside(root: Path) -> None:
    found = {False: 0, True: 0}
    for episode in make(root, mirrored={"left": "right"}).train_dataloader():
        classes = torch.cat([episode.support_classes, episode.classes.gather(-1, episode.query_labels)], -1)[0]
        for clip, label in zip(
            torch.cat([episode.support["frames"], episode.query["frames"]], 1)[0], classes, strict=True
        ):
            mirrored = bool(clip[0, 0, 0, 0] == 0)
            shown = int(clip[0, 0].max()) // 60 - 1
            assert shown == ({0: 1, 1: 0, 2: 2}[int(label)] if mirrored else int(label))
            found[mirrored] += 1
    assert min(found.values()) > 20


def test_queries_have_a_transform_of_their_own(root: Path) -> None:
    plain, own = make(root), make(root, query_transform=ClipTransform(8, resize_to=8, grey=1.0))
    for before, after in zip(plain.train_dataloader(), own.train_dataloader(), strict=True):
        assert torch.equal(before.support["frames"], after.support["frames"])
        grey = after.query["frames"]
        assert torch.equal(grey[..., 0, :, :], grey[..., 1, :, :])
        assert not torch.equal(before.query["frames"], grey)


def test_a_mirrored_clip_keeps_its_sound(root: Path) -> None:
    class Ramp:
        def read(self, path: Path, start: float, end: float) -> np.ndarray:
            return np.arange(5, dtype=np.float32)

    data = make(root, mirrored={})
    loader = data.train_dataloader()
    loader.dataset.source.sound = Ramp()  # type: ignore[attr-defined]
    clips = [x for episode in loader for x in (episode.support, episode.query)]
    assert any(bool((x["frames"][..., 0] == 0).all(-1).any()) for x in clips)
    assert all(torch.equal(x["sound"], torch.arange(5.0).expand_as(x["sound"])) for x in clips)


def test_what_would_mirror_twice_or_reads_no_pixels_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="the transform's flip would mirror once more"):
        make(root, mirrored={}, query_transform=ClipTransform(8, resize_to=8, flip=True)).train_dataloader()
    with pytest.raises(ValueError, match=r"data\.mirrored works on pixels"):
        make(root, mirrored={}, features="store").train_dataloader()
    with pytest.raises(ValueError, match=r"data\.captions are not mirrored"):
        make(root, mirrored={}, captions="said").train_dataloader()


def test_strong_transforms_treat_all_frames_alike_and_draw_from_their_generator() -> None:
    noise = torch.randint(0, 256, (1, 3, 60, 90), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    options: dict[str, Any] = {"scales": [1, 0.875, 0.75, 0.66], "rand_augment": (2, 9), "erase": 0.5}
    transform, before = StrongTransform(48, resize_to=50, **options), torch.get_rng_state()
    outs = [
        transform(noise.expand(4, -1, -1, -1), torch.Generator().manual_seed(seed)) for seed in (0, 0, *range(1, 30))
    ]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(outs[0], outs[1])
    assert len({out.numpy().tobytes() for out in outs}) == 30
    assert all((out == out[:1]).all() for out in outs)
    assert all(out.shape == (4, 3, 48, 48) and out.dtype == torch.uint8 for out in outs)


def test_each_strong_option_does_what_it_says() -> None:
    ramp = torch.arange(60, dtype=torch.uint8).expand(2, 3, 60, 60) + 100
    erase = StrongTransform(48, resize_to=60, erase=1.0)(ramp, torch.Generator().manual_seed(1))
    black = (erase == 0).all(1)[0]
    rows, columns = black.any(1), black.any(0)
    assert black.sum() == rows.sum() * columns.sum() > 0  # one rectangle
    assert torch.equal(erase[0, 0][~black], ramp[0, 0, 6:54, 6:54][~black])
    sides = set()
    for seed in range(60):
        cut = StrongTransform(48, resize_to=60, scales=[1, 0.8])(ramp, torch.Generator().manual_seed(seed))
        sides.add(int(cut[0, 0, 0, -1]) - int(cut[0, 0, 0, 0]))
    assert {59, 47} <= {min((59, 47), key=lambda side: abs(side - found)) for found in sides}
    plain = ClipTransform(48, resize_to=60)(ramp)
    assert torch.equal(StrongTransform(48, resize_to=60)(ramp), plain)
    assert not StrongTransform(48, resize_to=60).random


@pytest.mark.parametrize("options", [{"scales": [1.2]}, {"scales": []}, {"rand_augment": (0, 9)}, {"erase": 2.0}])
def test_values_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="found"):
        StrongTransform(8, resize_to=8, **options)
