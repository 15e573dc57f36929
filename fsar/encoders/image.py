"""Any image network of torchvision or timm as a frame encoder, for methods that see images alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from torch import Tensor

from episodes.files import explain_start
from episodes.framing import Interpolation, Resize
from fsar.encoders.frame import FrameEncoder, Tune
from fsar.encoders.image_networks import Library, build, channels_of, own_pixels
from fsar.encoders.tower.blocks import drop_branches
from fsar.encoders.tower.precision import Precision
from fsar.encoders.weights.state import read_state


class ImageEncoder(FrameEncoder):
    """A network trained on images; its features are pooled over the image and its classifier is dropped.

    Pixels are what the network says it was trained on, unless given: timm's ``pretrained_cfg``, the transforms of
    torchvision's weights. The data resize and cut the frames accordingly. It has no text tower: :attr:`text` is
    ``None``.

    Args:
        model: a name of ``torchvision.models.list_models()`` or ``timm.list_models()``, there with a tag or without.
        weights: a file with the network's state dict, loaded strictly but for the classifier, which may be absent or
            of any size; or null for random weights.
        library: where the model comes from.
        image_size: side of the square frames, pixels; by default the network's own. Position embeddings of timm's
            networks are interpolated to it.
        mean: pixel mean per channel, on the scale of ``pixel_range`` and in the order of ``channel_order``; by default
            the network's own.
        std: pixel standard deviation, likewise.
        pixel_range: what a white pixel is to the network: 1 for nearly all, 255 for networks that came from Caffe.
        channel_order: of the network's input; "bgr" for networks that came from Caffe.
        tune: "frozen"; a number: that many last blocks with what follows them are trained; or "full".
        precision: of a frozen network's weights.
        frames_per_chunk: frames that pass together when no graph is needed; by default 8 of 224 pixels on a CPU.
        resize_to: length of the short side, or of both, before the square is cut out; by default the network's own.
        resize: "short_side" keeps the aspect ratio, "squash" does not; likewise.
        interpolation: "bilinear" or "bicubic"; likewise.
        drop_path: largest probability that a frame skips a branch of a trained block in training (timm's networks).

    Raises:
        FileNotFoundError: ``weights`` is no file.
        ValueError: an unknown model, weights that do not fit it, a size that it does not take, or ``pixel_range``
            without the ``mean`` and ``std`` whose scale it is.

    >>> encoder = ImageEncoder("resnet18", None, image_size=32)  # None: random weights
    >>> encoder(torch.zeros(1, 2, 3, 32, 32, dtype=torch.uint8)).shape
    torch.Size([1, 2, 512])
    """

    def __init__(
        self,
        model: str,
        weights: str | None,
        library: Library = "torchvision",
        image_size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        pixel_range: float = 1.0,
        channel_order: Literal["rgb", "bgr"] = "rgb",
        tune: Tune = "frozen",
        precision: Precision = "fp32",
        frames_per_chunk: int | None = None,
        resize_to: int | None = None,
        resize: Resize | None = None,
        interpolation: Interpolation | None = None,
        drop_path: float = 0.0,
    ) -> None:
        if pixel_range != 1 and (mean is None or std is None):
            raise ValueError(f"pixel_range={pixel_range} is the scale of mean and std: give both with it.")
        if weights is not None and not Path(weights).is_file():
            raise FileNotFoundError(
                f"weights={weights!r} is not a file, and weights are read from files. "
                f"{explain_start(weights, 'model.encoder.weights')}"
            )
        own = own_pixels(library, model, weights, given=bool(image_size and resize))
        framing = own.framing(f"{library} {model}", image_size, resize_to, resize=resize, interpolation=interpolation)
        state = None if weights is None else read_state(Path(weights))[0]
        network = build(library, model, framing.size, state, str(weights))
        drop_branches(network, drop_path, model)
        super().__init__(
            visual=network,
            channels=channels_of(network, model, framing.size),
            image_size=framing.size,
            mean=own.mean if mean is None else [value / pixel_range for value in mean],
            std=own.std if std is None else [value / pixel_range for value in std],
            tune=tune,
            precision=precision,
            frames_per_chunk=frames_per_chunk,
            identity=f"{library} {model} {channel_order}",
            framing=framing,
        )
        self.channel_order = channel_order

    def normalise(self, frames: Tensor) -> Tensor:
        """``(b c h w)`` RGB, uint8 or float in 0..1 -> what the network was trained on, float32."""
        return super().normalise(frames.flip(-3) if self.channel_order == "bgr" else frames)
