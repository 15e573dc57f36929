"""Which packets must be decoded for which frames: pure arithmetic over the packets of a stream.

The frames of a video, in the order in which they are shown, are its packets in the order of their time stamps, as long
as every packet holds one shown picture. A *group* begins at a packet from which decoding may start afresh and which
time divides cleanly: all packets before it are shown before it, all after it are shown after it. Open groups of
pictures do not divide cleanly and so melt into the one before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from episodes.video.packets.bitstream import Picture


@dataclass(frozen=True)
class Plan:
    """A stream that can be entered at any group.

    Args:
        order: ``(frames)`` int64, the packet that holds each frame.
        times: ``(frames)`` int64, the time stamp of each *packet*, in decoding order.
        starts: ``(groups)`` int64, the packets at which groups begin, in increasing order; the first is 0.
        unused: ``(frames)`` bool, packets that no other one refers to, in decoding order.
        delay: how many packets the decoder must have seen, at most, before a frame comes out.
    """

    order: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    unused: npt.NDArray[np.bool_]
    delay: int

    def __len__(self) -> int:
        return len(self.order)

    def runs(self, frames: npt.ArrayLike) -> Iterator[list[int]]:
        """For each group that holds wanted frames, the packets to decode: none after the last one that is wanted."""
        wanted = np.unique(self.order[np.asarray(frames)])
        group = np.searchsorted(self.starts, wanted, side="right") - 1
        for number in np.unique(group):
            inside = wanted[group == number]
            packets = np.arange(self.starts[number], inside[-1] + 1)
            yield packets[~self.unused[packets] | np.isin(packets, inside)].tolist()


def plan(times: Sequence[int | None], pictures: Sequence[Picture | None]) -> Plan | None:
    """Plan a stream, or None when it is not plainly safe to enter it anywhere but at its start.

    Args:
        times: presentation time of each packet, in decoding order.
        pictures: what each packet says of itself.
    """
    known = [time for time in times if time is not None]
    seen = [picture for picture in pictures if picture is not None]
    if not known or len(known) < len(times) or len(seen) < len(pictures) or len(set(known)) < len(known):
        return None
    stamps = np.array(known, dtype=np.int64)
    order = np.argsort(stamps)
    fresh = np.array([picture.fresh for picture in seen])
    earlier = np.maximum.accumulate(stamps)
    later = np.minimum.accumulate(stamps[::-1])[::-1]
    clean = fresh & (stamps == later) & (stamps == earlier)
    # Parameter sets inside the stream: each fresh picture must bring the same ones, else groups are not independent.
    sets = {picture.parameters for picture in seen if picture.fresh}
    if not clean[0] or len(sets) > 1 or any(picture.parameters for picture in seen if not picture.fresh):
        return None
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    delay = int((np.arange(len(order)) - rank).max())
    return Plan(order, stamps, np.flatnonzero(clean), np.array([picture.unused for picture in seen]), delay)
