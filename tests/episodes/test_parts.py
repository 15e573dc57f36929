"""The parts of a data module, each by itself."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from episodes.datamodule import EpisodicDataModule
from episodes.frames import SegmentCentre, SegmentRandom
from episodes.framing import Framing
from episodes.parts import ClipOptions, LoaderOptions, TaskOptions
from episodes.splits import Split

SPLIT = Split("some", ("a", "b"), tuple(f"{i}.mp4" for i in range(8)), (0,) * 4 + (1,) * 4, Path("nowhere"))


def test_the_module_has_the_options_of_its_parts_and_no_other() -> None:
    parts = [field.name for part in (TaskOptions, ClipOptions, LoaderOptions) for field in fields(part)]
    assert [field.name for field in fields(EpisodicDataModule)] == parts
    assert len(set(parts)) == len(parts)


def test_episodes_of_training_and_of_evaluation() -> None:
    tasks = TaskOptions(ways=2, shots=1, queries=2, test_shots=3, test_queries=1, seed=4, test_seed=5)
    train, test = tasks.draw(SPLIT, training=True), tasks.draw(SPLIT)
    assert (train.shots, train.queries, train.seed) == (1, 2, 4)
    assert (test.shots, test.queries, test.seed) == (3, 1, 5)
    assert TaskOptions(shots=2).test_shots == 2
    tasks = TaskOptions(ways=2, queries=2, test_ways=3)
    assert tasks.draw(SPLIT, training=True).ways == 2
    with pytest.raises(ValueError, match="3-way"):
        tasks.draw(SPLIT)
    assert TaskOptions(ways=2).draw(SPLIT).ways == 2
    with pytest.raises(ValueError, match="3-way"):
        TaskOptions(ways=3).draw(SPLIT)


def test_clips_follow_the_encoder_but_where_a_transform_is_given() -> None:
    def nothing(clip: object, generator: object) -> object:
        return clip

    clips = ClipOptions(frames=4, test_transform=nothing)
    assert isinstance(clips.read(SPLIT, True, 1).sampler, SegmentRandom)
    read = clips.read(SPLIT, False, 7)
    assert (read.frames, read.seed, read.transform) == (4, 7, nothing)
    assert isinstance(read.sampler, SegmentCentre)
    clips.follow(Framing.usual(64))
    assert clips.read(SPLIT, False, 7).transform is nothing
    assert clips.read(SPLIT, True, 7).transform.size == (64, 64)


def test_stored_features_need_no_process_that_reads() -> None:
    assert LoaderOptions(features="some").count_workers(2) == 0
    assert LoaderOptions(features="some", workers=3).count_workers(2) == 3
    assert LoaderOptions(workers=0).count_workers() == 0
    assert 0 <= LoaderOptions().count_workers() <= 8


@pytest.mark.parametrize(
    ("part", "option", "least"),
    [
        (TaskOptions, "train_episodes", 1),
        (TaskOptions, "val_episodes", 1),
        (TaskOptions, "test_episodes", 1),
        (ClipOptions, "frames", 1),
        (ClipOptions, "size", 1),
        (LoaderOptions, "episodes_per_batch", 1),
        (LoaderOptions, "video_batch", 1),
        (LoaderOptions, "episode_batch", 1),
        (LoaderOptions, "workers", 0),
    ],
)
def test_each_option_is_checked_when_the_part_is_made(part: type, option: str, least: int) -> None:
    part(**{option: least})
    with pytest.raises(ValueError, match=rf"data\.{option} must be .* found {least - 1}\."):
        part(**{option: least - 1})
