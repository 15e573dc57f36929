"""Which frames of a video are looked at: index arithmetic. ``sampler(frames, t, generator, fps)`` gives ``(t)`` int64
indices in ``0..frames-1``; two draws from different numpy generators are two views of one video.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from episodes.words import pluralise

Indices = npt.NDArray[np.int64]
Short = Literal["repeat_last", "loop", "error"]


def segment_random(frames: int, t: int, generator: np.random.Generator) -> Indices:
    """One frame drawn uniformly from each of ``t`` segments of ``floor(frames / t)`` frames: ``(t)``.

    The last ``frames mod t`` frames are never seen; that is what the released CLIP-FSAR code does on HMDB51, UCF101
    and Something-Something, in training and in its tests alike. Needs ``frames >= t``.
    """
    length = frames // t
    return np.arange(t) * length + (generator.random(t) * length).astype(np.int64)


def segment_centre(frames: int, t: int) -> Indices:
    """The centre of each of ``t`` equal segments, ``floor((i + 1/2) frames / t)``: ``(t)``; no randomness."""
    return (2 * np.arange(t, dtype=np.int64) + 1) * frames // (2 * t)


def uniform_linspace(frames: int, t: int) -> Indices:
    """``t`` frames evenly from the first to the last, ``round(linspace(0, frames - 1, t))``: ``(t)``."""
    return np.linspace(0, frames - 1, t).round().astype(np.int64)


def trimmed_linspace(frames: int, t: int, generator: np.random.Generator | None = None) -> Indices:
    """``t`` frames evenly from the second to the last but one, cut to whole numbers, as released TRX does: ``(t)``.

    With a generator both ends are drawn, each among the outermost ``p + 1`` frames of its side, where ``p`` is half of
    the frames that are not needed, 5 at most. Where fewer than ``t`` steps lie between the ends, all frames are spread
    over. Of a clip of one frame the release draws that one in tests too; here it is the first end. Needs
    ``frames >= t``. Source: ``video_reader.py`` of https://github.com/tobyperrett/trx.
    """
    start, end = 1, frames - 2
    if generator is not None:
        margin = min(5, (frames - t) // 2)
        start, end = int(generator.integers(margin + 1)), frames - 1 - int(generator.integers(margin + 1))
    if end - start < t:
        start, end = 0, frames - 1
    return np.linspace(start, end, t).astype(np.int64)


def dense_span(
    frames: int,
    t: int,
    fps: float,
    rate: int,
    target_fps: float,
    generator: np.random.Generator | None = None,
    truncate: bool = False,
    place: float = 0.5,
) -> Indices:
    """``t`` frames ``rate`` apart on a clock of ``target_fps``, as released CLIP-FSAR does on Kinetics: ``(t)``.

    The span is ``t * rate * fps / target_fps`` frames, or ``floor(frames / t) * t`` where the video is shorter. It
    starts at a uniform draw, or half-way (at ``place`` of the way) when ``generator`` is None, and its last frame is
    ``start + span - rate``.
    The start is a whole frame and the others are the nearest to their places; the released code keeps the fraction of
    the start and cuts that of every place, which ``truncate`` follows (of clips of 8 it moves almost every second one,
    each by one frame).
    The released code runs backwards when that leaves no room for ``t`` different frames; there the last segment of
    ``span / t`` frames is left out instead. Needs ``frames >= t``.
    """
    span = t * rate * fps / target_fps
    if span > frames:
        span = frames // t * t
    room = frames - span + 1
    start = room * (place if generator is None else generator.random())
    reach = span - rate
    if reach < t - 1:
        reach = span - span / t
    if not truncate:
        start = int(start)
    places = np.linspace(start, start + reach, t)
    return (places if truncate else places.round()).astype(np.int64).clip(0, frames - 1)


class FrameSampler:
    """Base of the samplers: checks what it is given and treats videos shorter than the clip.

    Args:
        short: what happens when a video has fewer than ``t`` frames. ``repeat_last``: all of them, then the last one
            again; ``loop``: all of them, then from the start; ``error``: a ValueError.

    Examples:
        >>> class First(FrameSampler):
        ...     def choose(self, frames, t, generator, fps):
        ...         return np.arange(t)
        >>> First()(frames=100, t=4).tolist()
        [0, 1, 2, 3]
        >>> First(short='loop')(frames=3, t=8).tolist()  # a video shorter than the clip
        [0, 1, 2, 0, 1, 2, 0, 1]
    """

    random: bool = False
    """True when the sampler draws from the generator; False when it gives the same frames every time."""

    def __init__(self, short: Short = "repeat_last") -> None:
        if short not in ("repeat_last", "loop", "error"):
            raise ValueError(f"short must be 'repeat_last', 'loop' or 'error', found {short!r}.")
        self.short = short

    def __call__(self, frames: int, t: int, generator: np.random.Generator | None = None, fps: float = 0.0) -> Indices:
        """Choose ``t`` frames of a video.

        Args:
            frames: how many frames the video has.
            t: how many to choose.
            generator: where randomness comes from; ignored by a sampler that has none.
            fps: frames per second of the video; only :class:`DenseSpan` reads it. 0 means unknown.

        Returns:
            ``(t)`` int64, in increasing order (``loop`` starts anew in a video shorter than ``t``).

        Raises:
            ValueError: for a video or a clip without frames, a missing generator, or ``short="error"``.
        """
        if frames < 1 or t < 1:
            raise ValueError(f"Frames are chosen from at least 1 frame and at least 1 is asked for; {frames=}, {t=}.")
        if self.random and generator is None:
            raise ValueError(f"{type(self).__name__} draws at random: hand in a numpy Generator, not None.")
        if frames >= t:
            return self.choose(frames, t, generator, fps)
        if self.short == "error":
            raise ValueError(
                f"{pluralise(frames, 'frame')}, but a clip needs {t}: leave such videos out, or use "
                "short='repeat_last' or 'loop'."
            )
        positions = np.arange(t, dtype=np.int64)
        return positions % frames if self.short == "loop" else positions.clip(max=frames - 1)

    def choose(self, frames: int, t: int, generator: np.random.Generator | None, fps: float) -> Indices:
        """``(t)`` indices where ``frames >= t``; what a sampler of your own defines."""
        raise NotImplementedError(f"{type(self).__name__} must define choose(frames, t, generator, fps).")

    def several(
        self, frames: int, t: int, clips: int, generator: np.random.Generator | None = None, fps: float = 0.0
    ) -> list[Indices]:
        """Several clips of one video, each ``(t)``: draws, or places between those of one clip, evenly.

        Without randomness, clip ``c`` of ``m`` takes every ``m``-th of the ``m t`` frames that would be chosen of a
        video as long whose frames are ``m`` times as many. A video of fewer than ``t`` frames is the same in all.

        Examples:
            >>> [clip.tolist() for clip in SegmentCentre().several(frames=100, t=4, clips=2)]
            [[6, 31, 56, 81], [18, 43, 68, 93]]
        """
        if self.random or clips == 1 or frames < t:
            return [self(frames, t, generator, fps) for _ in range(clips)]
        return self.spread(frames, t, clips, fps)

    def spread(self, frames: int, t: int, clips: int, fps: float) -> list[Indices]:
        """The clips of :meth:`several` of a sampler that draws nothing, where ``frames >= t``."""
        finer = self.choose(frames * clips, t * clips, None, fps * clips)
        return [finer[c::clips] // clips for c in range(clips)]


class SegmentRandom(FrameSampler):
    """One random frame from each of ``t`` segments; see :func:`segment_random`. The usual choice for training.

    Examples:
        >>> SegmentRandom()(frames=100, t=4, generator=np.random.default_rng(0)).tolist()
        [15, 31, 51, 75]
    """

    random = True

    def choose(self, frames: int, t: int, generator: np.random.Generator | None, fps: float) -> Indices:
        """See :func:`segment_random`."""
        assert generator is not None  # __call__ has seen to it
        return segment_random(frames, t, generator)


class SegmentCentre(FrameSampler):
    """The centre of each of ``t`` segments; see :func:`segment_centre`. Ours, the default for tests: no randomness.

    Examples:
        >>> SegmentCentre()(frames=100, t=4).tolist()
        [12, 37, 62, 87]
    """

    def choose(self, frames: int, t: int, generator: np.random.Generator | None, fps: float) -> Indices:
        """See :func:`segment_centre`."""
        return segment_centre(frames, t)


class UniformLinspace(FrameSampler):
    """First to last frame, evenly; see :func:`uniform_linspace`.

    Examples:
        >>> UniformLinspace()(frames=100, t=4).tolist()
        [0, 33, 66, 99]
    """

    def choose(self, frames: int, t: int, generator: np.random.Generator | None, fps: float) -> Indices:
        """See :func:`uniform_linspace`."""
        return uniform_linspace(frames, t)


class TrimmedLinspace(FrameSampler):
    """Evenly between ends that leave the outermost frames out; see :func:`trimmed_linspace`. The choice of TRX.

    Args:
        random: draw both ends (training), or keep to the second frame and the last but one (test).
        short: see :class:`FrameSampler`.

    Examples:
        >>> TrimmedLinspace()(frames=100, t=4).tolist()
        [1, 33, 65, 98]
    """

    def __init__(self, random: bool = False, short: Short = "repeat_last") -> None:
        super().__init__(short)
        self.random = random

    def choose(self, frames: int, t: int, generator: np.random.Generator | None, fps: float) -> Indices:
        """See :func:`trimmed_linspace`."""
        return trimmed_linspace(frames, t, generator if self.random else None)


class DenseSpan(FrameSampler):
    """A span of the video at a fixed rate; see :func:`dense_span`.

    Args:
        rate: frames between two chosen ones, counted on a clock of ``target_fps``.
        target_fps: that clock, frames per second.
        random: draw where the span starts (training), or start half-way (test).
        short: see :class:`FrameSampler`.
        truncate: cut places between two frames down, as released, instead of taking the nearest frame.

    Examples:
        >>> DenseSpan(rate=8)(frames=100, t=4, fps=24.0).tolist()
        [18, 37, 55, 74]
    """

    def __init__(
        self,
        rate: int = 35,
        target_fps: float = 12.0,
        random: bool = False,
        short: Short = "repeat_last",
        truncate: bool = False,
    ) -> None:
        super().__init__(short)
        if rate < 1 or target_fps <= 0:
            raise ValueError(f"DenseSpan needs rate >= 1 and target_fps > 0, found {rate=}, {target_fps=}.")
        self.rate, self.target_fps, self.random, self.truncate = rate, target_fps, random, truncate

    def choose(self, frames: int, t: int, generator: np.random.Generator | None, fps: float) -> Indices:
        """See :func:`dense_span`."""
        return self._at(0.5, frames, t, fps, generator if self.random else None)

    def _at(self, place: float, frames: int, t: int, fps: float, drawn: np.random.Generator | None = None) -> Indices:
        if not fps > 0:
            raise ValueError(f"DenseSpan needs the frames per second of the video, found {fps}: use another sampler.")
        return dense_span(frames, t, fps, self.rate, self.target_fps, drawn, self.truncate, place)

    def spread(self, frames: int, t: int, clips: int, fps: float) -> list[Indices]:
        """Spans of the one rate that start at even places, ``(c + 1/2) / m`` of the way: windows over the video."""
        return [self._at((c + 0.5) / clips, frames, t, fps) for c in range(clips)]
