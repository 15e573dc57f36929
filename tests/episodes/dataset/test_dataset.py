"""Clips and episodes from real files: frame i of video v is one flat colour that says both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from episodes.dataset import (
    ClipDataset,
    ClipLoader,
    EpisodeDataset,
    EpisodeLoader,
    IndexEpisodes,
    index_episodes,
    leave_out_broken,
    needed_videos,
)
from episodes.episode import Episode
from episodes.frames import SegmentCentre, SegmentRandom
from episodes.sampler import EpisodeSampler, StridedSampler
from episodes.splits import Split
from episodes.video import VideoError

CLASSES, CLIPS, FRAMES = 3, 4, 12


@pytest.fixture(scope="session")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Twelve folders of frames; red is the video's number, green the frame's."""
    root = tmp_path_factory.mktemp("clips")
    for video in range(CLASSES * CLIPS):
        (root / str(video)).mkdir()
        for frame in range(FRAMES):
            pixels = np.full((6, 8, 3), (video, frame, 0), dtype=np.uint8)
            Image.fromarray(pixels).save(root / str(video) / f"{frame:05d}.png")
    paths = tuple(map(str, range(CLASSES * CLIPS)))
    labels = tuple(np.repeat(np.arange(CLASSES), CLIPS).tolist())
    return Split("train", ("sit", "stand", "walk"), paths, labels, root)


def shade(clip: Tensor, generator: torch.Generator) -> Tensor:
    """A transform that leaves its random draw in the blue channel."""
    clip = clip.clone()
    clip[:, 2] = torch.randint(1, 256, (1,), generator=generator).to(torch.uint8)
    return clip


def clips(split: Split, **changes: Any) -> ClipDataset:
    return ClipDataset(**{"split": split, "sampler": SegmentRandom(), "transform": shade, "frames": 4, **changes})


def video_of(clip: Tensor) -> int:
    """The video that the clips ``(... t c h w)`` were read from."""
    return clip[..., 0, 0, 0, 0]


class Unread:
    """A source that must not be asked."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def clip(self, video: int, *key: int) -> Tensor:
        raise AssertionError("nothing may be read here")


def test_a_clip_is_read_where_the_sampler_says(split: Split) -> None:
    video, streams = clips(split, sampler=SegmentCentre())[7]
    clip = streams["frames"]
    assert video == 7
    assert clip.shape == (4, 3, 6, 8)
    assert clip.dtype == torch.uint8
    assert clip[:, 0].unique().tolist() == [7]
    assert clip[:, 1, 0, 0].tolist() == [1, 4, 7, 10]


def test_a_view_depends_on_seed_video_and_key_alone(split: Split) -> None:
    first = clips(split).clip(3, 10, 2)["frames"]
    clips(split).clip(5)
    torch.rand(3)
    assert torch.equal(clips(split).clip(3, 10, 2)["frames"], first)
    views = [clips(split).clip(3, *key) for key in [(), (10,), (10, 3), (11, 2), (10, 2, 0)]]
    views.append(clips(split, seed=1).clip(3, 10, 2))
    assert not any(torch.equal(view["frames"], first) for view in views)


def test_the_sampler_s_complaint_names_the_file(split: Split) -> None:
    with pytest.raises(VideoError, match=r"clips\d+/7: 12 frames, but a clip needs 20"):
        clips(split, sampler=SegmentCentre(short="error"), frames=20).clip(7)


def test_an_episode_holds_the_drawn_clips_and_a_view_for_each(split: Split) -> None:
    sampler = EpisodeSampler(split.labels, 2, 2, 1, class_names=split.class_names)
    episode = EpisodeDataset(clips(split), sampler)[5]
    classes, support, query = sampler.episodes([5])
    assert video_of(episode.support["frames"]).tolist() == support[0].tolist()
    assert video_of(episode.query["frames"]).tolist() == query[0].tolist()
    assert episode.classes.tolist() == classes[0].tolist()
    assert episode.class_names == split.class_names
    assert int(episode.number) == 5
    blue = torch.cat([episode.support["frames"], episode.query["frames"]])[:, 0, 2, 0, 0]
    assert len(set(blue.tolist())) == 6  # six clips, six draws


def test_index_episodes_read_nothing_and_cover_every_number_once(split: Split) -> None:
    sampler = EpisodeSampler(split.labels, 3, 1, 2, class_names=split.class_names)
    for world in (1, 2, 3):
        shares = [IndexEpisodes(sampler, 23, 4, rank, world) for rank in range(world)]
        assert [len(share) for share in shares] == [len(list(share)) for share in shares]
        numbers = torch.cat([batch.number for share in shares for batch in share])
        assert sorted(numbers.tolist()) == list(range(23))
    batch = next(iter(IndexEpisodes(sampler, 23, 4)))
    assert batch.support.shape == (4, 3)
    assert batch.query.shape == (4, 6)
    assert torch.equal(torch.tensor(split.labels)[batch.query], batch.query_classes)
    assert torch.equal(torch.tensor(split.labels)[batch.support], batch.support_classes)
    assert torch.equal(batch.query, index_episodes(sampler, range(4)).query)
    with pytest.raises(ValueError, match=r"2 items .* 3 processes"):
        IndexEpisodes(sampler, 2, 4, 0, 3)


def test_needed_videos_are_those_that_occur(split: Split) -> None:
    sampler = EpisodeSampler(split.labels, 2, 1, 1)
    few = needed_videos(sampler, 2)
    batch = index_episodes(sampler, [0, 1])
    assert set(few) == {*batch.support.ravel().tolist(), *batch.query.ravel().tolist()}
    assert len(few) < len(split)
    assert needed_videos(sampler, 500) == list(range(len(split)))


def loader(split: Split, workers: int, epoch: int = 0) -> EpisodeLoader:
    sampler = EpisodeSampler(split.labels, 2, 1, 1, class_names=split.class_names)
    order = StridedSampler(range(6), renumber=True)
    order.set_epoch(epoch)
    return EpisodeLoader(
        EpisodeDataset(clips(split), sampler),
        batch_size=2,
        sampler=order,
        collate_fn=Episode.stack,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def test_workers_change_nothing(split: Split) -> None:
    alone, helped = loader(split, 0), loader(split, 2)
    for epoch in (0, 1):
        alone.sampler.set_epoch(epoch)
        helped.sampler.set_epoch(epoch)
        for a, b in zip(alone, helped, strict=True):
            assert a.support["frames"].shape == (2, 2, 4, 3, 6, 8)
            assert torch.equal(a.support["frames"], b.support["frames"])
            assert torch.equal(a.query["frames"], b.query["frames"])
            assert torch.equal(a.number, b.number)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_goes_on_where_it_was_interrupted(split: Split, workers: int) -> None:
    whole = [batch.number.tolist() for batch in loader(split, 0, epoch=3)]
    assert whole == [[18, 19], [20, 21], [22, 23]]
    interrupted = loader(split, workers, epoch=3)
    next(iter(interrupted))
    state = interrupted.state_dict()
    assert state == {"epoch": 3, "batches": 1}
    resumed = loader(split, workers)
    resumed.load_state_dict(state)
    begun: Iterator[Episode] = iter(resumed)  # before the epoch is known, as Lightning does
    assert resumed.state_dict() == state  # nothing was given since
    resumed.sampler.set_epoch(3)
    assert [batch.number.tolist() for batch in begun] == whole[1:]
    resumed.sampler.set_epoch(4)
    assert [batch.number.tolist() for batch in resumed] == [[24, 25], [26, 27], [28, 29]]


def test_a_finished_epoch_is_not_left_out_of_the_next(split: Split) -> None:
    done = loader(split, 0, epoch=3)
    list(done)
    resumed = loader(split, 0, epoch=4)
    resumed.load_state_dict(done.state_dict())
    assert len(list(resumed)) == 3


@pytest.fixture
def broken(tmp_path: Path) -> Split:
    """Two sound videos and a text file between them."""
    for name in ("a.mp4", "c.mp4"):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("libx264", rate=10, width=16, height=16, pix_fmt="yuv420p")
            for _ in range(4):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), "rgb24")))
            container.mux(stream.encode())
    (tmp_path / "b.mp4").write_text("this is no video")
    return Split("val", ("x",), ("a.mp4", "b.mp4", "c.mp4"), (0, 0, 0), tmp_path)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_video_is_one_clear_error(broken: Split, workers: int) -> None:
    reading = ClipLoader(clips(broken), batch_size=1, num_workers=workers)
    with pytest.raises(VideoError) as error:
        list(reading)
    assert str(error.value).startswith(f"{broken.path(1)}: ")
    assert "Traceback" not in str(error.value)


def test_broken_videos_are_found_up_front(broken: Split) -> None:
    with pytest.raises(VideoError, match=r"1 of the 3 videos of split val .* read:\n.*b\.mp4: .*\n.*skip_unread"):
        leave_out_broken(broken)
    with pytest.warns(UserWarning, match=r"b\.mp4: .*\nThey are left out"):
        kept, left_out, _ = leave_out_broken(broken, skip=True)
    assert kept.paths == ("a.mp4", "c.mp4")
    assert list(left_out) == ["b.mp4"]
    assert leave_out_broken(kept)[:2] == (kept, {})


def test_the_sampler_never_touches_the_clips(split: Split) -> None:
    unread = Unread(split)
    sampler = EpisodeSampler(unread.split.labels, 2, 1, 1)
    assert len(list(IndexEpisodes(sampler, 100, 10))) == 10
    assert needed_videos(sampler, 100)
    with pytest.raises(AssertionError, match="nothing may be read"):
        EpisodeDataset(unread, sampler)[0]
