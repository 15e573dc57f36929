"""A folder of numbered images is a video too: ``00001.jpg``, ``img_00001.jpg``, ``frame_000001.png`` ..."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from PIL import Image

from episodes.video.info import Choose, Pixels, VideoError, VideoInfo, checked_indices

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


def image_files(folder: Path) -> list[Path]:
    """The images of a folder by the last number in their names (by name where one has none).

    Raises:
        VideoError: for a folder without images, or with one number twice.
    """
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.name[0] != ".")
    if not files:
        raise VideoError(
            folder, f"a folder without images ({', '.join(sorted(SUFFIXES))}): give a file or such a folder"
        )
    found = [re.findall(r"\d+", file.stem) for file in files]
    if not all(found):
        return files
    numbers = [int(digits[-1]) for digits in found]
    if len(set(numbers)) < len(numbers):
        twice = next(number for number in numbers if numbers.count(number) > 1)
        raise VideoError(folder, f"two of its images have the number {twice}: keep one sequence in a folder")
    return [file for _, file in sorted(zip(numbers, files, strict=True))]


def refuse_image(path: Path) -> None:
    """Raise VideoError for an image: decoders would serve it as a video of one frame."""
    if path.suffix.lower() in SUFFIXES and path.is_file():
        raise VideoError(path, "an image, not a video: give the video, or the folder that holds all its frames")


def _image(folder: Path, file: Path) -> Pixels:
    try:
        with Image.open(file) as image:
            return np.array(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise VideoError(folder, f"{file.name} cannot be read ({error}): extract it again") from error


def read(folder: Path, choose: Choose) -> Pixels:
    """``(t h w c)`` uint8 RGB of the images that ``choose`` wants; it is told 0 frames per second, which is unknown."""
    files = image_files(folder)
    indices = checked_indices(folder, choose, len(files), 0.0)
    pixels = {index: _image(folder, files[index]) for index in set(indices.tolist())}
    shapes = {image.shape for image in pixels.values()}
    if len(shapes) > 1:
        raise VideoError(folder, f"its images differ in size, {sorted(shapes)}: extract them to one size")
    return np.stack([pixels[index] for index in indices.tolist()])


def inspect(folder: Path) -> VideoInfo:
    """How many images a folder holds, and the size of the first."""
    files = image_files(folder)
    height, width, _ = _image(folder, files[0]).shape
    return VideoInfo(len(files), 0.0, height, width)


def verify(folder: Path) -> None:
    """Read every image of a folder."""
    for file in image_files(folder):
        _image(folder, file)
