"""The feature store: what it gives back, what may interrupt it, and what it refuses."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from episodes.clips import Contents, Features, LowerHalf, Streams
from episodes.dataset import ClipDataset, EpisodeDataset
from episodes.features import FeatureStore, FeatureWriter, open_store, store_key
from episodes.features.checks import sum_of
from episodes.features.key import describe
from episodes.features.store import CHUNK
from episodes.frames import SegmentCentre, SegmentRandom, UniformLinspace
from episodes.sampler import EpisodeSampler
from episodes.splits import Split
from episodes.transforms import ClipTransform

VIDEOS = CHUNK + 4
ENCODER = "a" * 64


@pytest.fixture
def split(tmp_path: Path) -> Split:
    """Twenty folders of three grey frames, of five classes."""
    for video in range(VIDEOS):
        folder = tmp_path / "videos" / f"{video:02d}"
        folder.mkdir(parents=True)
        for frame in range(3):
            Image.new("L", (6, 5), 10 * video + frame).save(folder / f"{frame}.png")
    labels = tuple(video % 5 for video in range(VIDEOS))
    paths = tuple(f"{video:02d}" for video in range(VIDEOS))
    return Split("test", tuple("abcde"), paths, labels, tmp_path / "videos")


def pixels(split: Split, random: bool = False, **changes: Any) -> ClipDataset:
    sampler = SegmentRandom() if random else SegmentCentre()
    settings: dict[str, Any] = {"sampler": sampler, "transform": ClipTransform(4, resize_to=5), "frames": 2}
    return ClipDataset(split, **{**settings, **changes})


class Plain:
    """A transform that does not say whether it is random."""

    def __call__(self, clip: Tensor, generator: torch.Generator) -> Tensor:
        return clip


def encode(clips: Streams) -> Features:
    """``frames (... t 3)``: a stand-in for an encoder."""
    return Features(frames=clips["frames"].float().mean((-1, -2)) / 7)


def fill(root: Path, clips: ClipDataset, **options: Any) -> FeatureStore:
    writer = FeatureWriter(root, clips, ENCODER, **options)
    for chunk in writer.pending():
        writer.write(chunk, encode(writer.read(chunk)))
    return writer.finish()


def test_float32_comes_back_exactly_and_16_bits_rounded(tmp_path: Path, split: Split) -> None:
    clips = pixels(split)
    expected = torch.stack([encode(clips.clip(video))["frames"] for video in range(VIDEOS)])
    for dtype, tolerance in (("float32", 0.0), ("float16", 2**-11), ("bfloat16", 2**-8)):
        fill(tmp_path / dtype, clips, dtype=dtype).verify()
        stored = open_store(tmp_path / dtype, clips, ENCODER)
        found = torch.stack([stored.clip(video)["frames"] for video in range(VIDEOS)])
        assert found.dtype == getattr(torch, dtype)
        assert torch.equal(found, expected.to(found.dtype))
        torch.testing.assert_close(found.float(), expected, rtol=tolerance, atol=0)
        assert torch.equal(stored.store.take([3, 1])["frames"], found[[3, 1]])
        assert stored[3][0] == 3
        assert len(stored) == VIDEOS


def test_the_file_is_plain_numpy(tmp_path: Path, split: Split) -> None:
    store = fill(tmp_path, pixels(split))
    assert np.load(store.folder / "frames.npy").shape == (VIDEOS, 1, 2, 3)
    assert {path.name for path in store.folder.iterdir()} == {"frames.npy", "checksums.json", "meta.json"}


def test_tokens_are_stored_as_features_are_and_bfloat16_keeps_its_range(tmp_path: Path, split: Split) -> None:
    clips = pixels(split)
    tokens = LowerHalf({f"layer {i}": torch.randn(VIDEOS, 1, 2, 5, 3).bfloat16() * 1e30 for i in (0, 2)})
    kept = Contents(LowerHalf, tuple(tokens))
    writer = FeatureWriter(tmp_path, clips, ENCODER, dtype="bfloat16", contents=kept)
    for chunk in writer.pending():
        writer.write(chunk, tokens.at(torch.tensor(writer.videos(chunk))))
    store = writer.finish()
    store.verify()
    clip = open_store(tmp_path, clips, ENCODER, kept).clip(17)
    assert isinstance(clip, LowerHalf)
    assert all(torch.equal(clip[name], tokens[name][17, 0]) for name in tokens)
    assert list(open_store(tmp_path, clips, ENCODER, Contents(LowerHalf, ("layer 2",))).clip(17)) == ["layer 2"]
    bits = np.load(store.folder / "layer_2.npy")
    bits[2, 0, 0, 0, 0] = 0x7F80  # infinity
    np.save(store.folder / "layer_2.npy", bits)
    sums = json.loads((store.folder / "checksums.json").read_text())
    sums["arrays"]["layer 2"]["crc32"][2] = [sum_of(bits[2, 0])]
    (store.folder / "checksums.json").write_text(json.dumps(sums))
    for read in (FeatureStore.verify, lambda store: store.take([1, 2])):
        with pytest.raises(ValueError, match=r"holds NaN or infinity among the features of 02 \(video 2, view 0\)"):
            read(FeatureStore(store.folder))


def test_an_interrupted_extraction_goes_on(tmp_path: Path, split: Split) -> None:
    clips = pixels(split)
    first = FeatureWriter(tmp_path, clips, ENCODER)
    assert first.pending() == [0, 1]
    first.write(0, encode(first.read(0)))
    (first.parts / ".000001.npy.host-1").write_bytes(b"half a chunk")  # what a killed writer leaves
    with pytest.raises(FileNotFoundError, match="is not finished \\(1 chunk of 16 videos"):
        open_store(tmp_path, clips, ENCODER)
    second = FeatureWriter(tmp_path, clips, ENCODER)
    assert second.pending() == [1]
    with pytest.raises(RuntimeError, match="lacks 1 of 2 chunks"):
        second.finish()
    second.write(1, encode(second.read(1)))
    store = second.finish()
    store.verify()
    whole = fill(tmp_path / "whole", clips)
    assert (store.folder / "frames.npy").read_bytes() == (whole.folder / "frames.npy").read_bytes()


def test_of_two_writers_the_first_counts(tmp_path: Path, split: Split) -> None:
    clips = pixels(split)
    writers = [FeatureWriter(tmp_path, clips, ENCODER) for _ in range(2)]
    for chunk in range(2):
        features = encode(writers[0].read(chunk))
        writers[0].write(chunk, features)
        writers[1].write(chunk, features.map(lambda x: x + 1))  # a moment later
    stores = [writer.finish() for writer in writers]
    assert not writers[1].pending()
    stores[1].verify()
    assert torch.equal(stores[1].take(0)["frames"], encode(clips.clip(0))["frames"])


def test_a_writer_whose_parts_were_joined_by_another_is_done(
    tmp_path: Path, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = pixels(split)
    slow = FeatureWriter(tmp_path, clips, ENCODER)
    for chunk in slow.pending():
        slow.write(chunk, encode(slow.read(chunk)))
    join = slow._join

    def joined_by_another_before() -> None:
        FeatureWriter(tmp_path, clips, ENCODER).finish()
        join()

    monkeypatch.setattr(slow, "_join", joined_by_another_before)
    slow.finish().verify()


CHANGES: list[tuple[str, Callable[[Split], ClipDataset], str]] = [
    ("frames", lambda split: pixels(split, frames=3), "frames: stored 2, asked for 3"),
    (
        "sampler",
        lambda split: pixels(split, sampler=UniformLinspace()),
        "sampler class: stored episodes.frames.S",
    ),
    ("short", lambda split: pixels(split, sampler=SegmentCentre("loop")), "sampler short: stored repeat_last"),
    (
        "transform",
        lambda split: pixels(split, transform=ClipTransform(4, resize_to=6)),
        "transform resize_to: stored 5,",
    ),
    ("reader", lambda split: pixels(split, reader="pyav"), "reader: stored auto, asked for pyav"),
    ("videos", lambda split: pixels(split.without({"03"})), "videos: stored 20, sha256 \\w+, asked for 19"),
    (
        "other videos",
        lambda split: pixels(replace(split, paths=split.paths[::-1])),
        "videos: stored 20, sha256 \\w+, asked for 20",
    ),
    (
        "random transform",
        lambda split: pixels(split, transform=ClipTransform(4, resize_to=5, crop="random"), seed=5),
        "seed: stored None, asked for 5",
    ),
    ("random", lambda split: pixels(split, random=True, seed=5), "seed: stored None, asked for 5"),
]


@pytest.mark.parametrize(("clips", "message"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES])
def test_a_stale_store_is_refused_and_says_what_changed(
    tmp_path: Path, split: Split, clips: Callable[[Split], ClipDataset], message: str
) -> None:
    fill(tmp_path, pixels(split))
    with pytest.raises(FileNotFoundError, match=message):
        open_store(tmp_path, clips(split), ENCODER)


def test_another_encoder_is_refused(tmp_path: Path, split: Split) -> None:
    fill(tmp_path, pixels(split))
    fill(tmp_path, pixels(split, frames=3))  # differs in more
    lines = f"differs in\n  encoder: stored {'a' * 12}, asked for {'b' * 12}\n`fsar"
    with pytest.raises(FileNotFoundError, match=lines):
        open_store(tmp_path, pixels(split), "b" * 64)
    with pytest.raises(FileNotFoundError, match="holds no features of split train"):
        open_store(tmp_path, pixels(replace(split, name="train")), ENCODER)


def test_a_seed_that_changes_nothing_does_not_matter(tmp_path: Path, split: Split) -> None:
    fill(tmp_path, pixels(split))
    assert len(open_store(tmp_path, pixels(split, seed=9), ENCODER)) == VIDEOS


def test_a_changed_video_is_refused(tmp_path: Path, split: Split) -> None:
    fill(tmp_path, pixels(split))
    Image.new("L", (6, 5)).save(split.path(7) / "4.png")
    with pytest.raises(ValueError, match=r"07 has changed since .*: 3 files then, 4 now"):
        open_store(tmp_path, pixels(split), ENCODER)


def test_a_store_serves_without_its_videos(tmp_path: Path, split: Split) -> None:
    expected = fill(tmp_path, pixels(split)).take(7)["frames"]
    shutil.rmtree(split.path(7))
    assert torch.equal(open_store(tmp_path, pixels(split), ENCODER).clip(7)["frames"], expected)


def test_changed_bytes_are_found(tmp_path: Path, split: Split) -> None:
    store = fill(tmp_path, pixels(split))
    content = bytearray((store.folder / "frames.npy").read_bytes())
    content[-1] ^= 1
    (store.folder / "frames.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"frames\.npy does not hold what was written of 19 \(video 19, view 0\)\."):
        FeatureStore(store.folder).verify()


def test_views_are_drawn_by_the_episode_s_key(tmp_path: Path, split: Split) -> None:
    noise = np.random.default_rng(0)
    for path in sorted((tmp_path / "videos").rglob("*.png")):
        Image.fromarray(noise.integers(0, 255, (24, 24), np.uint8)).save(path)
    clips = pixels(split, random=True, transform=ClipTransform(4, resize_to=24, crop="random"), frames=2)
    store = fill(tmp_path, clips, views=3)
    stored_views, others = (store.take(np.full(3, video), np.arange(3))["frames"] for video in (2, 3))
    assert not any(torch.equal(stored_views[i], stored_views[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert torch.equal(stored_views[0], encode(clips.clip(2))["frames"])  # the view that evaluation uses
    stored = open_store(tmp_path, clips, ENCODER)
    assert torch.equal(stored.clip(2)["frames"], stored_views[0])
    drawn = [stored.clip(2, number, 0)["frames"] for number in range(60)]
    assert all(torch.equal(view, stored.clip(2, number, 0)["frames"]) for number, view in enumerate(drawn))
    counts = [sum(torch.equal(view, one) for view in drawn) for one in stored_views]
    assert min(counts) >= 10
    beside = [stored.clip(3, number, 0)["frames"] for number in range(60)]  # another video draws views of its own
    views = ((number, i) for number in range(60) for i in range(3) if torch.equal(drawn[number], stored_views[i]))
    assert 10 <= sum(torch.equal(beside[number], others[i]) for number, i in views) <= 30


def test_an_episode_of_features_is_a_function_of_its_number(tmp_path: Path, split: Split) -> None:
    clips = pixels(split, random=True, seed=0)
    fill(tmp_path, clips, views=2)
    sampler = EpisodeSampler(split.labels, ways=3, shots=1, queries=2, class_names=split.class_names)
    episodes = EpisodeDataset(open_store(tmp_path, clips, ENCODER), sampler)
    assert episodes[5].support["frames"].shape == (3, 2, 3)
    assert torch.equal(episodes[5].query["frames"], episodes[5].query["frames"])
    copy = pickle.loads(pickle.dumps(episodes))
    assert torch.equal(copy[5].query["frames"], episodes[5].query["frames"])
    assert episodes.source.store.arrays["frames"].tobytes() not in pickle.dumps(episodes)


def test_what_cannot_be_stored_is_refused(tmp_path: Path, split: Split) -> None:
    clips = pixels(split)
    with pytest.raises(ValueError, match=r"2 views of split test were asked for, but neither"):
        FeatureWriter(tmp_path, clips, ENCODER, views=2)
    writer = FeatureWriter(tmp_path, clips, ENCODER, dtype="float16")
    features = encode(writer.read(0))
    features["frames"][3, 0, 0, 0] = 1e6
    with pytest.raises(ValueError, match=re.escape(f"{split.path(3)} are not finite in float16")):
        writer.write(0, features)
    with pytest.raises(ValueError, match=r"frames of chunk 0 must begin with shape \(16, 1\), found \(16, 2, 3\)"):
        writer.write(0, features.map(lambda x: x[:, 0]))
    with pytest.raises(ValueError, match="holds 1 views in float16, but 1 in float32 were asked"):
        FeatureWriter(tmp_path, clips, ENCODER)


def test_a_part_without_plain_attributes_is_refused(split: Split) -> None:
    clips = pixels(split, transform=lambda clip, generator: clip)
    with pytest.raises(ValueError, match=r"cannot be stored: builtins\.function"):
        store_key(clips, ENCODER)
    assert "lambda" in describe(clips.transform)["function"]
    assert store_key(pixels(split, transform=Plain(), seed=5), ENCODER)["seed"] == 5  # it may be random
