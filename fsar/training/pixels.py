"""Whether a checkpoint meets the pixels that it was trained on.

A checkpoint records what a frame was to its encoder. Those without a record were written when every image network got
ImageNet's mean and deviation and frames resized bilinearly to 8/7 of its size, whatever it had been trained on itself.
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from episodes.framing import Framing
from fsar.encoders import FrameEncoder, ImageEncoder
from fsar.encoders.image_networks import IMAGENET

PIXELS_KEY = "pixels"
STATISTICS = ("mean", "std")


def check_statistics(encoder: FrameEncoder, checkpoint: dict[str, Any]) -> None:
    """Refuse other statistics than those of training: all features would be others.

    Raises:
        ValueError: names both, and the options that bring those of training back.
    """
    trained, now = trained_pixels(encoder, checkpoint), encoder.pixels
    if differ := [key for key in STATISTICS if key in trained and not _near(trained[key], now[key])]:
        raise ValueError(
            f"the checkpoint was trained on pixels with {_listed(trained, differ)}{_unsaid(checkpoint)}, but "
            f"{encoder.identity} now has {_listed(now, differ)}. "
            f"For those of training give {_options(trained, differ)}; for the network's own train again."
        )


def check_framing(encoder: FrameEncoder, data: Any, checkpoint: dict[str, Any]) -> None:
    """Warn when the frames that ``data`` make for this encoder are resized otherwise than in training."""
    if getattr(data, "given_transforms", (True, True))[1] is not None:
        return
    trained, now = trained_pixels(encoder, checkpoint), encoder.pixels
    if differ := [key for key in now if key not in STATISTICS and trained.get(key, now[key]) != now[key]]:
        rank_zero_warn(
            f"the checkpoint was trained on frames with {_listed(trained, differ)}{_unsaid(checkpoint)}; now they have "
            f"{_listed(now, differ)}, as {encoder.identity} asks. "
            f"For those of training give {_options(trained, differ)}."
        )


def trained_pixels(encoder: FrameEncoder, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """What the checkpoint records; or what was usual before there was a record, which for CLIP was as it is now."""
    if PIXELS_KEY in checkpoint:
        return dict(checkpoint[PIXELS_KEY])
    if not isinstance(encoder, ImageEncoder):
        return {}
    usual = Framing.usual(encoder.image_size)
    resized = {"resize_to": usual.resize_to, "resize": usual.resize, "interpolation": usual.interpolation}
    return {"mean": list(IMAGENET[0]), "std": list(IMAGENET[1]), **resized}


def _near(trained: list[float], now: list[float]) -> bool:
    return all(abs(a - b) < 1e-6 for a, b in zip(trained, now, strict=True))


def _listed(pixels: dict[str, Any], keys: list[str]) -> str:
    return ", ".join(f"{key} {pixels[key]}" for key in keys)


def _unsaid(checkpoint: dict[str, Any]) -> str:
    return "" if PIXELS_KEY in checkpoint else " (it has no record of them; this was usual when there was none)"


def _options(pixels: dict[str, Any], keys: list[str]) -> str:
    names = {"size": "image_size"}
    values = {key: str(pixels[key]).replace(" ", "") for key in keys}
    return " ".join(f"--model.encoder.{names.get(key, key)} {value}" for key, value in values.items())
