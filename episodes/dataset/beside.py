"""What lies beside the videos in files of its own, one for each: boxes to be tinted, joints, and captions.

The file of ``<class>/<clip>.mp4`` is ``<class>/<clip>.json``, or of another kind, in a folder of its own or in that of
the videos. It speaks of the frames of the whole video; what belongs to the frames of a clip is taken from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from episodes.annotations import JOINT_SUFFIXES
from episodes.annotations.captions import pack_captions
from episodes.annotations.joints import find_order, read_joints
from episodes.annotations.regions import RegionPrompt, read_boxes
from episodes.splits import Split
from episodes.video import VideoError


def find_beside(root: Path, split: Split, video: int, suffixes: Sequence[str], what: str) -> Path:
    """The file that belongs to a video.

    Raises:
        VideoError: when there is none; it names where it was looked for.
    """
    path = split.paths[video].removesuffix(str(split.span(video) or ""))
    stems = [path, str(Path(path).with_suffix(""))]
    for stem in stems:
        for suffix in suffixes:
            if (file := root / f"{stem}{suffix}").is_file():
                return file
    raise VideoError(
        f"{root / stems[-1]}{suffixes[0]} is not there: data.{what} needs a file ({', '.join(suffixes)}) for every "
        f"video of split {split.name}."
    )


def hash_beside(root: Path, split: Split, suffixes: Sequence[str], what: str) -> str:
    """sha256 over the contents of the files of all videos of a split."""
    return hash_files(find_beside(root, split, video, suffixes, what) for video in range(len(split)))


def hash_files(paths: Iterable[Path]) -> str:
    """sha256 over the contents of files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def are_joints(split: Split) -> bool:
    """Whether the clips of a split are files of joints and no videos."""
    return any(path.endswith(JOINT_SUFFIXES) for path in split.paths)


def find_no_joints(paths: Iterable[str], order: str) -> dict[str, str]:
    """``{path: cause}`` of files that hold no joints of this order."""
    broken: dict[str, str] = {}
    for path in paths:
        try:
            read_joints(Path(path), order)
        except ValueError as error:
            broken[path] = str(error).removeprefix(f"{path}: ")
    return broken


class Regions:
    """Boxes of every video, tinted before its frames are resized.

    Args:
        root: folder of the files, see :func:`episodes.annotations.regions.read_boxes`.
        colour: see :class:`episodes.transforms.RegionPrompt`.
    """

    suffixes = (".json", ".npy")

    def __init__(self, root: str, colour: str = "red") -> None:
        self.root, self.prompt = Path(root), RegionPrompt(colour)

    def tint(self, pixels: Tensor, split: Split, video: int, chosen: np.ndarray, count: int) -> Tensor:
        """Frames ``(t c h w)`` of a video of ``count`` frames, of which they are the ``chosen (t)``.

        Raises:
            VideoError: no file, or boxes that do not fit; it names the file.
        """
        path = find_beside(self.root, split, video, self.suffixes, "regions")

        def tinted() -> Tensor:
            boxes = read_boxes(path)
            if boxes.dim() == 3 and len(boxes) > 1:
                boxes = pick_frames(boxes, chosen, count, "boxes")
            return self.prompt(pixels, boxes)

        return naming(path, tinted)

    def facts(self, split: Split) -> dict[str, Any]:
        """What decides the pixels, as plain JSON."""
        found = hash_beside(self.root, split, self.suffixes, "regions")
        return {"colour": list(self.prompt.rgb), "alpha": self.prompt.alpha, "sha256": found}


class Joints:
    """Joints of every video, a stream ``joints (t J 3)`` of its clips.

    Args:
        root: folder of the files, see :func:`episodes.annotations.joints.read_joints`; None where these are the clips
            themselves, and there is no video.
        order: of the joints.
    """

    def __init__(self, root: str | None, order: str = "ntu") -> None:
        self.root, self.order = None if root is None else Path(root), order
        find_order(order)

    def read(self, split: Split, video: int, chosen: np.ndarray, count: int) -> Tensor:
        """``(t J 3)`` at the ``chosen (t)`` of a video's ``count`` frames.

        Raises:
            VideoError: no file, or joints that do not fit; it names the file.
        """
        assert self.root is not None  # else they are read by :meth:`read_clip`
        path = find_beside(self.root, split, video, JOINT_SUFFIXES, "joints")
        return naming(path, lambda: pick_frames(read_joints(path, self.order), chosen, count, "joints"))

    def read_clip(self, split: Split, video: int, choose: Callable[[int, float], np.ndarray]) -> Tensor:
        """``(t J 3)`` of a clip that is a file of joints, at what ``choose`` says to its number of frames; it is told a
        rate of 0, which nothing in the file says.

        Raises:
            VideoError: a file that holds no joints of this order; it names it.
        """
        path = split.path(video)
        joints = naming(path, lambda: read_joints(path, self.order))
        return joints[torch.from_numpy(np.asarray(choose(len(joints), 0.0), dtype=np.int64))]

    def facts(self, split: Split) -> dict[str, Any]:
        """What decides the stream, as plain JSON."""
        if self.root is None:
            return {"order": self.order, "sha256": hash_files(split.path(video) for video in range(len(split)))}
        return {"order": self.order, "sha256": hash_beside(self.root, split, JOINT_SUFFIXES, "joints")}


class Captions:
    """Sentences about every video, a stream ``captions (m l)`` of its clips: bytes of UTF-8, filled up with zeros.

    Args:
        root: folder of the files, ``<class>/<clip>.txt``, a caption a line.
        count: how many of them are read, ``m``.
    """

    def __init__(self, root: str, count: int = 1) -> None:
        self.root, self.count = Path(root), count

    def read(self, split: Split, video: int) -> Tensor:
        """``(m l)`` uint8.

        Raises:
            VideoError: no file, fewer captions, or one that is too long; it names the file.
        """
        path = find_beside(self.root, split, video, (".txt",), "captions")
        return naming(path, lambda: pack_captions(path.read_text(encoding="utf-8").splitlines(), self.count))


def pick_frames(values: Tensor, chosen: np.ndarray, count: int, what: str) -> Tensor:
    """Those of ``(frames *)`` at ``chosen``.

    Raises:
        ValueError: when they are not as many as the video has frames.
    """
    if len(values) != count:
        raise ValueError(f"{what} of {len(values)} frames for a video of {count}: give one set a frame.")
    return values[torch.from_numpy(np.asarray(chosen, dtype=np.int64))]


def naming(path: Path, read: Callable[[], Tensor]) -> Tensor:
    """What ``read`` gives; what it refuses is a VideoError that names the file."""
    try:
        return read()
    except ValueError as error:
        said = str(error)
        raise VideoError(said if str(path) in said else f"{path}: {said}") from error
