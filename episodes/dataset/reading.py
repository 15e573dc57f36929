"""Clips of videos as pixels: what an evaluation encodes once, and which videos cannot be read."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, distributed
from torch.utils.data import Dataset

from episodes.clips import Clips, Streams
from episodes.dataset.beside import Captions, Joints, Regions, are_joints, find_no_joints
from episodes.frames import FrameSampler
from episodes.sampler import hash_words
from episodes.splits import Split
from episodes.video import Reader, VideoError, find_unreadable, read_clip
from episodes.video.sound import Sound
from episodes.views import Views
from episodes.words import pluralise

Transform = Callable[[Tensor, torch.Generator], Any]
"""What is done to one clip, uint8 ``(t c h w)`` to ``(t c h w)``: see :mod:`episodes.transforms`. (The result is a
Tensor; jsonargparse takes a class path for such an argument only when the annotation leaves it open.)"""

LISTED = 3
"""Broken videos that a message names."""


class ClipSource(Protocol):
    """Where episodes take their clips from: pixels of videos, or features that were stored before."""

    split: Split

    def clip(self, video: int, *key: int) -> Clips:
        """The clip of a video; ``key`` picks the random view, the same key gives the same view."""


class ClipDataset(Dataset[tuple[int, Streams]]):
    """Clips of a split's videos as pixels. Item ``i`` is ``(i, clip)``: what an evaluation encodes once.

    All randomness comes from generators seeded by (seed, video, key), so neither the number of workers nor the order
    of reading can change a clip.

    Args:
        split: names the videos.
        sampler: chooses the frames.
        transform: makes them ``(t c h w)`` of the encoder's size.
        frames: number of frames, ``t``.
        reader: how videos are decoded, see :func:`episodes.video.read_clip`.
        seed: of the random views.
        regions: boxes that are tinted before the transform.
        joints: a stream ``joints (t J 3)`` beside the frames; or alone, where the clips are files of joints.
        sound: a stream ``sound (samples)`` beside the frames, NaN of a video without a track.
        captions: a stream ``captions (m l)`` of sentences beside the frames.
        views: several of each clip, ``frames (m t c h w)``.

    Raises:
        ValueError: joints beside a transform that mirrors the frames alone.
        VideoError: on reading a video that cannot be read; nothing takes its place.
    """

    def __init__(
        self,
        split: Split,
        sampler: FrameSampler,
        transform: Transform,
        frames: int = 8,
        reader: Reader = "auto",
        seed: int = 0,
        regions: Regions | None = None,
        joints: Joints | None = None,
        sound: Sound | None = None,
        captions: Captions | None = None,
        views: Views | None = None,
    ) -> None:
        if joints is not None and getattr(transform, "flip", False):
            raise ValueError(
                "data.joints: the transform mirrors frames (flip) and not their joints: set flip to false."
            )
        beside = {"regions": regions, "sound_rate": sound, "joints": joints and joints.root}
        wrong = [f"data.{name}" for name, given in beside.items() if given is not None]
        if are_joints(split) and wrong:
            raise ValueError(
                f"{wrong[0]}: clips of split {split.name} are files of joints and no videos: leave it out."
            )
        self.split, self.sampler, self.transform = split, sampler, transform
        self.frames, self.reader, self.seed = frames, reader, seed
        self.regions, self.joints, self.sound, self.captions = regions, joints, sound, captions
        if views is not None and (joints is not None or sound is not None):
            raise ValueError(
                "data.test_views are views of the frames alone: leave out data.joints and data.sound_rate."
            )
        self.views = views

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, video: int) -> tuple[int, Streams]:
        return video, self.clip(video)

    def clip(self, video: int, *key: int) -> Streams:
        """``frames (t c h w)``, uint8, ``joints`` and ``sound``; without a key what evaluation uses."""
        frame_seed, pixel_seed = map(int, hash_words(self.seed, video, *key, [0, 1]))
        generator = np.random.default_rng(frame_seed)

        span = self.split.span(video)
        taken: list[tuple[np.ndarray, int]] = []
        times: list[tuple[float, float]] = []

        def choose(frames: int, fps: float) -> np.ndarray:
            part = range(frames) if span is None else span.frames(frames, fps)
            times.append((part.start / fps, part.stop / fps) if fps > 0 else (0.0, 0.0))
            if self.views is None:
                chosen = self.sampler(len(part), self.frames, generator, fps)
            else:
                chosen = self.views.choose(self.sampler, len(part), self.frames, generator, fps)
            taken.append((part.start + chosen, frames))
            return taken[-1][0]

        if self.joints is not None and self.joints.root is None:
            return self._with_captions(Streams(joints=self.joints.read_clip(self.split, video, choose)), video)
        read = torch.from_numpy(read_clip(self.split.path(video), choose, self.reader))
        pixels, dice = rearrange(read, "t h w c -> t c h w"), torch.Generator().manual_seed(pixel_seed)
        if self.regions is not None:
            pixels = self.regions.tint(pixels, self.split, video, *taken[-1])
        if self.views is not None:
            several = [
                f(clip, dice) for clip in pixels.chunk(self.views.clips) for f in self.views.transforms(self.transform)
            ]
            return Streams(frames=torch.stack(several))
        streams = Streams(frames=self.transform(pixels, dice))
        if self.joints is not None:
            streams["joints"] = self.joints.read(self.split, video, *taken[-1])
        if self.sound is not None:
            streams["sound"] = torch.from_numpy(self.sound.read(self.split.path(video), *times[-1]))
        return self._with_captions(streams, video)

    def _with_captions(self, streams: Streams, video: int) -> Streams:
        if self.captions is not None:
            streams["captions"] = self.captions.read(self.split, video)
        return streams


def leave_out_broken(
    split: Split, workers: int = 1, rank: int = 0, world: int = 1, skip: bool = False, order: str = "ntu"
) -> tuple[Split, dict[str, str], dict[str, str]]:
    """Looks at every video of a split; each process takes its share, and all know the result.

    Args:
        split: names the videos.
        workers: how many are looked at together, in each process.
        rank: of this process.
        world: number of processes.
        skip: leave out the broken videos, with a warning.
        order: of clips that are files of joints.

    Returns:
        The split, less the broken videos; ``{path: cause}`` of those; and ``{path: which}`` of folders of frames that
        hold images which do not belong to the sequence and are not read.

    Raises:
        VideoError: when some cannot be read and ``skip`` is false; it names the first.
    """
    paths: dict[str, list[str]] = {}  # several videos may be parts of one file
    for video, relative in enumerate(split.paths):
        paths.setdefault(str(split.path(video)), []).append(relative)
    images: dict[str, str] = {}
    own = list(paths)[rank::world]
    broken = find_no_joints(own, order) if are_joints(split) else find_unreadable(own, max(workers, 1), images=images)
    if world > 1:
        shares: list[tuple[dict[str, str], dict[str, str]]] = [({}, {})] * world
        distributed.all_gather_object(shares, (broken, images))
        broken, images = ({path: told for share in shares for path, told in share[i].items()} for i in (0, 1))
    images = {relative: which for path, which in sorted(images.items()) for relative in paths[path]}
    if not broken:
        return split, {}, images
    listed = [f"\n  {path}: {cause}" for path, cause in sorted(broken.items())]
    more = f"\n  and {len(listed) - LISTED} more; fsar check-videos lists them all" if len(listed) > LISTED else ""
    message = f"{len(broken)} of the {pluralise(len(split), 'video')} of split {split.name} cannot be read:"
    message += "".join(listed[:LISTED]) + more
    if not skip:
        raise VideoError(f"{message}\nReplace them, or leave them out with --data.skip_unreadable=true.")
    if rank == 0:
        warnings.warn(f"{message}\nThey are left out.", stacklevel=2)
    left_out = {relative: cause for path, cause in sorted(broken.items()) for relative in paths[path]}
    return split.without(left_out), left_out, images
