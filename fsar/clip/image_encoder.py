"""Any image network of torchvision or timm as a frame encoder, for methods that see images alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import timm
import torch
import torchvision
from torch import Tensor, nn

from fsar.clip.frame_encoder import FrameEncoder, Tune
from fsar.clip.weights import read_state, strict_load

_HEADS = ("fc", "classifier", "head", "heads")  # what torchvision calls a network's last part


class ImageEncoder(FrameEncoder):
    """A network trained on images; its features are pooled over the image and its classifier is dropped.

    It has no text tower: :attr:`text` is ``None``.

    Args:
        model: a name of ``torchvision.models.list_models()`` or ``timm.list_models()``.
        weights: a file with the network's state dict, loaded strictly but for the classifier, which may be absent or
            of any size; or null for random weights.
        library: where the model comes from.
        image_size: side of the square frames, pixels.
        mean: pixel mean per channel, on the scale of ``pixel_range`` and in the order of ``channel_order``.
        std: pixel standard deviation, likewise.
        pixel_range: what a white pixel is to the network: 1 for nearly all, 255 for networks that came from Caffe.
        channel_order: of the network's input; "bgr" for networks that came from Caffe.
        tune: "frozen"; a number: that many last blocks with what follows them are trained; or "full".
        precision: of a frozen network's weights.
        frames_per_chunk: frames that pass together when no graph is needed; by default 16 on a CPU, 256 elsewhere.

    Raises:
        FileNotFoundError: ``weights`` is no file.
        ValueError: an unknown model, or weights that do not fit it.
    """

    def __init__(
        self,
        model: str,
        weights: str | None,
        library: Literal["torchvision", "timm"] = "torchvision",
        image_size: int = 224,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        std: Sequence[float] = (0.229, 0.224, 0.225),
        pixel_range: float = 1.0,
        channel_order: Literal["rgb", "bgr"] = "rgb",
        tune: Tune = "frozen",
        precision: Literal["fp32", "bf16"] = "fp32",
        frames_per_chunk: int | None = None,
    ) -> None:
        network, head = _torchvision(model) if library == "torchvision" else _timm(model)
        if weights is not None:
            path = Path(weights)
            if not path.is_file():
                raise FileNotFoundError(f"weights={weights!r} is not a file. Weights are read from files only.")
            state, _ = read_state(path)
            body = {key: value for key, value in state.items() if not key.startswith(f"{head}.")}
            strict_load(network, body, str(path), f"{library} model {model!r}")
        with torch.no_grad():
            channels = network.eval()(torch.zeros(1, 3, image_size, image_size)).shape[-1]
        super().__init__(
            visual=network,
            channels=channels,
            image_size=image_size,
            mean=[value / pixel_range for value in mean],
            std=[value / pixel_range for value in std],
            tune=tune,
            precision=precision,
            frames_per_chunk=frames_per_chunk,
            identity=f"{library} {model} {channel_order}",
        )
        self.channel_order = channel_order

    def normalise(self, frames: Tensor) -> Tensor:
        """``(b c h w)`` RGB, uint8 or float in 0..1 -> what the network was trained on, float32."""
        return super().normalise(frames.flip(-3) if self.channel_order == "bgr" else frames)


class _Pool(nn.Module):
    """Stands where the classifier stood: maps ``(b c h w)`` are averaged, vectors ``(b c)`` pass."""

    def forward(self, features: Tensor) -> Tensor:
        return features.mean(dim=(-2, -1)) if features.dim() == 4 else features


def _torchvision(model: str) -> tuple[nn.Module, str]:
    """A network of torchvision that ends before its classifier, and the classifier's name."""
    try:
        network = torchvision.models.get_model(model, weights=None)
    except ValueError as error:
        raise ValueError(
            f"model={model!r} is no image network of torchvision. See torchvision.models.list_models()."
        ) from error
    head = next((name for name in _HEADS if hasattr(network, name)), None)
    if head is None:
        raise ValueError(f"model={model!r} has no classifier (one of {', '.join(_HEADS)}) that we could take off.")
    setattr(network, head, _Pool())
    if isinstance(getattr(network, "avgpool", None), nn.AdaptiveAvgPool2d):
        network.avgpool = nn.AdaptiveAvgPool2d(1)  # VGG and AlexNet keep a grid for their classifier
    return network, head


def _timm(model: str) -> tuple[nn.Module, str]:
    """A network of timm that ends before its classifier, and the classifier's name."""
    if not timm.is_model(model):
        raise ValueError(f"model={model!r} is no network of timm. See timm.list_models().")
    network = timm.create_model(model, pretrained=False, num_classes=0)
    return network, str(timm.models.get_pretrained_cfg_value(model, "classifier"))
