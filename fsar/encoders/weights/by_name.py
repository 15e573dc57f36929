"""A frozen encoder by one short name, as ``predict --encoder`` takes it."""

from __future__ import annotations

import re
from typing import Any

from fsar.encoders.clip import ClipEncoder
from fsar.encoders.frame import FrameEncoder
from fsar.encoders.image import ImageEncoder
from fsar.encoders.image_networks import cached_weights
from fsar.encoders.video.encoder import VideoEncoder
from fsar.encoders.video.network import VIDEO_NETWORKS
from fsar.encoders.weights.architecture import FOLDER, HUB

USUAL = "usual"

RECOMMENDED = {
    "small": ("MobileCLIP2-S0:dfndr2b", "reads class names too; the one for a CPU"),
    "base": ("ViT-B-16:openai", "reads class names too; what the papers use"),
    "vision": ("timm:vit_small_patch16_dinov3.lvd1689m", "sees images alone; strong without any training"),
}
"""By use: what the short names mean, and what for. ``configs/encoder/`` has the same under the same names."""


def encoder_by_name(model: str, pretrained: str | None = USUAL) -> FrameEncoder:
    """The encoder called ``model``, frozen; see :func:`options_by_name`."""
    made, options = options_by_name(model, pretrained)
    return made(**options)


def options_by_name(model: str, pretrained: str | None = USUAL) -> tuple[type[FrameEncoder], dict[str, Any]]:
    """Class and options of the encoder called ``model``, frozen.

    Args:
        model: what :class:`ClipEncoder` takes, or ``timm:NAME`` or ``torchvision:NAME``.
        pretrained: a file with the weights, or a tag of open_clip; None leaves them random. "usual" are OpenAI's for
            CLIP, and what the library itself would fetch for an image network, from its cache.

    Raises:
        FileNotFoundError: weights that are not here.
        ValueError: an unknown model.
    """
    found: Any = re.fullmatch("(timm|torchvision):(.*)", model)
    if found:
        library, name = found.groups()
        weights = cached_weights(library, name) if pretrained == USUAL else pretrained
        if library == "torchvision" and name in VIDEO_NETWORKS:
            return VideoEncoder, {"model": name, "weights": weights, "library": library}
        return ImageEncoder, {"model": name, "weights": weights, "library": library}
    own = None if model.startswith((HUB, FOLDER)) else "openai"  # those bring their weights
    return ClipEncoder, {"model": model, "pretrained": own if pretrained == USUAL else pretrained}


def split_name(text: str) -> tuple[str, str]:
    """``MODEL[:PRETRAINED]``, ``LIBRARY:NAME[:FILE]`` or a name of :data:`RECOMMENDED`: model and weights, "usual"
    where none are named."""
    text = RECOMMENDED[text][0] if text in RECOMMENDED else text
    if text.startswith((HUB, FOLDER)):
        return text, USUAL
    found: Any = re.fullmatch("((?:timm:|torchvision:)?[^:]*):?(.*)", text, re.DOTALL)
    return found[1], found[2] or USUAL
