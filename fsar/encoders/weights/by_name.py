"""A frozen encoder by one short name, as ``predict --encoder`` takes it."""

from __future__ import annotations

import re
from typing import Any

import open_clip
import timm
import torchvision

from fsar.encoders.clip import ClipEncoder
from fsar.encoders.frame import FrameEncoder
from fsar.encoders.image import ImageEncoder
from fsar.encoders.image_networks import cached_weights
from fsar.encoders.video.encoder import VideoEncoder
from fsar.encoders.video.network import VIDEO_NETWORKS
from fsar.encoders.weights.architecture import FOLDER, HUB, RECOMMENDED, architecture, close_names

USUAL = "usual"
NAMES = (
    "Expected small, base or vision, a name of open_clip such as ViT-B-16:openai, timm:NAME or torchvision:NAME; `fsar "
    "weights PATTERN` lists them. A video network of transformers is transformers:FOLDER."
)


def encoder_by_name(model: str, pretrained: str | None = USUAL) -> FrameEncoder:
    """The encoder called ``model``, frozen; see :func:`options_by_name`."""
    made, options = options_by_name(model, pretrained)
    return made(**options)


def options_by_name(model: str, pretrained: str | None = USUAL) -> tuple[type[FrameEncoder], dict[str, Any]]:
    """Class and options of the encoder called ``model``, frozen.

    Args:
        model: what :class:`ClipEncoder` takes, or ``timm:NAME``, ``torchvision:NAME`` or ``transformers:FOLDER``, a
            video network with its weights.
        pretrained: a file with the weights, or a tag of open_clip; None leaves them random. "usual" are OpenAI's for
            CLIP, and what the library itself would fetch for an image network, from its cache.

    Raises:
        FileNotFoundError: weights that are not here.
        ValueError: an unknown model.
    """
    if (library := model.partition(":"))[0] == "transformers":
        return VideoEncoder, {"model": library[2], "weights": pretrained and library[2], "library": library[0]}
    found: Any = re.fullmatch("(timm|torchvision):(.*)", model)
    if found:
        library, name = found.groups()
        weights = cached_weights(library, name) if pretrained == USUAL else pretrained
        if library == "torchvision" and name in VIDEO_NETWORKS:
            return VideoEncoder, {"model": name, "weights": weights, "library": library}
        return ImageEncoder, {"model": name, "weights": weights, "library": library}
    refuse_unknown(model)
    own = None if model.startswith((HUB, FOLDER)) else "openai"  # those bring their weights
    return ClipEncoder, {"model": model, "pretrained": own if pretrained == USUAL else pretrained}


def refuse_unknown(name: str) -> None:
    """Say what a name may be, when open_clip has none such; what is wrong with a file or place the encoder says.

    Raises:
        ValueError: names what is nearest.
    """
    if name.startswith((HUB, FOLDER)) or name.endswith(".json"):
        return
    try:
        architecture(name)
    except ValueError:
        libraries = {"timm": timm.list_models(), "torchvision": torchvision.models.list_models()}
        meant = [f"{library}:{name}" for library, names in libraries.items() if name in names]
        known = [*RECOMMENDED, *open_clip.list_models()]
        close = f" Did you mean {' or '.join(meant)}?" if meant else close_names(name, known)
        raise ValueError(f"no encoder is called {name!r}.{close} {NAMES}") from None


def split_name(text: str) -> tuple[str, str]:
    """``MODEL[:PRETRAINED]``, ``LIBRARY:NAME[:FILE]`` or a name of :data:`RECOMMENDED`: model and weights, "usual"
    where none are named."""
    text = RECOMMENDED[text][0] if text in RECOMMENDED else text
    if text.startswith((HUB, FOLDER, "transformers:")):
        return text, USUAL
    found: Any = re.fullmatch("((?:timm:|torchvision:)?[^:]*):?(.*)", text, re.DOTALL)
    return found[1], found[2] or USUAL
