"""A folder of numbered images is a video too: ``00001.jpg``, ``img_00001.jpg``, ``frame_000001.png`` ..."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from episodes.video.images import archive
from episodes.video.images.names import order_images
from episodes.video.info import Choose, Pixels, VideoError, VideoInfo, checked_indices, tell_once
from episodes.video.limits import TooManyPixels, check_pixels, check_time

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


def image_files(folder: Path) -> tuple[list[Path], str]:
    """The images of a folder in their order, and what is to be said of those that are left out.

    Raises:
        VideoError: for a folder without images, or whose images are not plainly one sequence.
    """
    inside = [folder / name for name in archive.names(folder)] if archive.is_inside(folder) else folder.iterdir()
    files = [file for file in inside if file.suffix.lower() in SUFFIXES and file.name[0] != "."]
    if not files:
        raise VideoError(
            folder, f"a folder without images ({', '.join(sorted(SUFFIXES))}): give a file or such a folder"
        )
    return order_images(folder, files)


def refuse_image(path: Path) -> None:
    """Raise VideoError for an image: decoders would serve it as a video of one frame."""
    if path.suffix.lower() in SUFFIXES and path.is_file():
        raise VideoError(path, "an image, not a video: give the video, or the folder that holds all its frames")


def _image(folder: Path, file: Path) -> Pixels:
    """``(h w c)`` RGB, upright as its EXIF orientation says; 16-bit gray keeps its range, transparency is dropped."""
    check_time(folder)
    try:
        with warnings.catch_warnings(category=Image.DecompressionBombWarning, action="ignore"):
            opened = Image.open(archive.opened(file))
        with opened as image:
            check_pixels(folder, *image.size, file.name)
            upright = _upright(image)
            if upright.mode.startswith("I"):
                # Pillow would cut 16 bits off at 255. PNG's full scale is 65535 = 257 * 255.
                gray = np.clip((np.asarray(upright, dtype=np.int64) + 128) // 257, 0, 255).astype(np.uint8)
                return np.repeat(gray[..., None], 3, axis=-1)
            return np.array(upright.convert("RGB"))
    except VideoError:
        raise
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)  # Pillow warns at the half of it
        raise TooManyPixels(
            folder, f"{file.name} claims more than {most:,} pixels, and Pillow reads no more: scale it down"
        ) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise VideoError(folder, f"{file.name} cannot be read ({error}): extract it again") from error


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its EXIF orientation says; as it is stored where its EXIF data make no sense, as all viewers do."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return ImageOps.exif_transpose(image)
    except (SyntaxError, ValueError, KeyError, TypeError, struct.error):
        return image


def read(folder: Path, choose: Choose) -> Pixels:
    """``(t h w c)`` uint8 RGB of the images that ``choose`` wants; it is told 0 frames per second, which is unknown."""
    files, note = image_files(folder)
    tell_once(folder, note)
    indices = checked_indices(folder, choose, len(files), 0.0)
    pixels = {index: _image(folder, files[index]) for index in set(indices.tolist())}
    shapes = {image.shape for image in pixels.values()}
    if len(shapes) > 1:
        raise VideoError(folder, f"its images differ in size, {sorted(shapes)}: extract them to one size")
    return np.stack([pixels[index] for index in indices.tolist()])


def inspect(folder: Path) -> VideoInfo:
    """How many images a folder holds, and the size of the first."""
    files, note = image_files(folder)
    height, width, _ = _image(folder, files[0]).shape
    return VideoInfo(len(files), 0.0, height, width, note)


def verify(folder: Path) -> None:
    """Read every image of a folder."""
    for file in image_files(folder)[0]:
        _image(folder, file)
