"""A part of a video, in seconds."""

from __future__ import annotations

import math
from typing import NamedTuple

from episodes.words import pluralise


class Span(NamedTuple):
    """A part of a video, from ``start`` up to, not including, ``end`` in seconds; None is the video's end.

    Frame ``i`` is shown at ``i / fps``. It belongs to the span when that lies in ``[start, end)``, where half a
    millisecond is forgiven on either side: people write seconds to three digits. Spans that follow one another so
    share no frame and leave none out.

    Examples:
        >>> Span(2.5, 4.0).frames(frames=100, fps=10.0)
        range(25, 40)
    """

    start: float = 0.0
    end: float | None = None

    def __str__(self) -> str:
        """``#t=2.5,4``, as W3C Media Fragments write it."""
        return f"#t={_decimal(self.start)}" + ("" if self.end is None else f",{_decimal(self.end)}")

    def frames(self, frames: int, fps: float) -> range:
        """The frames of a video of ``frames`` frames that belong to the span.

        Raises:
            ValueError: when the span reaches beyond the video or holds no frame, or the rate is unknown.
        """
        if not fps > 0:
            raise ValueError("it has no known rate of frames, as folders of images have none, so seconds mean nothing")
        first = math.ceil((self.start - HALF) * fps)
        stop = frames if self.end is None else math.ceil((self.end - HALF) * fps)
        if max(first + 1, stop) > frames:
            more = "" if self.end is None else "; without an end a span reaches to the video's"
            raise ValueError(
                f"its span of {_decimal(self.start)} s to {_decimal(self.end)} s reaches beyond its "
                f"{pluralise(frames, 'frame')}, {frames / fps:.3f} s at {fps:.4g} frames per second{more}"
            )
        if stop <= first:
            raise ValueError(
                f"its span of {_decimal(self.start)} s to {_decimal(self.end)} s holds no frame at {fps:.4g} frames "
                "per second"
            )
        return range(first, stop)

    def meets(self, other: Span) -> bool:
        """Whether the two have time in common."""
        ends = [math.inf if span.end is None else span.end for span in (self, other)]
        return max(self.start, other.start) < min(ends)


HALF = 0.0005


def _decimal(seconds: float | None) -> str:
    """Without a needless end; an exponent is never written."""
    return "the end" if seconds is None else f"{seconds:.6f}".rstrip("0").rstrip(".")
