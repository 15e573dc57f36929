"""A path and frame numbers -> uint8 pixels ``(t h w c)``; every failure is one :class:`VideoError` that names the file.

A video is a file, or a folder of numbered images. :func:`read_clip` is what a dataset calls: it opens the file once,
says how many frames there are, lets the caller choose and reads those. The default reader, ``auto``, gives exactly the
frames that decoding from the start would give, on every file; it decodes only the groups of pictures that are needed
where that is plainly safe. See :mod:`episodes.video.reading` for the readers and :mod:`episodes.video.check` for
finding the unreadable files of a data set before training does.

>>> from PIL import Image
>>> Path("clip").mkdir()
>>> for t in range(5):
...     Image.new("RGB", (32, 24), (50 * t, 0, 0)).save(f"clip/{t}.png")
>>> probe("clip").frames
5
>>> read_frames("clip", [0, 4])[:, 0, 0, 0].tolist()  # (t h w c), the red of two frames
[0, 200]
>>> read_clip("clip", lambda frames, fps: [frames - 1]).shape  # whoever chooses is told how many there are
(1, 24, 32, 3)
>>> read_frames("clip", [5])
Traceback (most recent call last):
    ...
episodes.video.info.VideoError: clip: ...
"""

from episodes.video.check import ClipCheck, check_videos, find_unreadable
from episodes.video.info import VideoError, VideoInfo
from episodes.video.limits import time_limit
from episodes.video.reading import Reader, decord_exact, probe, read_clip, read_frames, verify

__all__ = [
    "ClipCheck",
    "Reader",
    "VideoError",
    "VideoInfo",
    "check_videos",
    "decord_exact",
    "find_unreadable",
    "probe",
    "read_clip",
    "read_frames",
    "time_limit",
    "verify",
]
