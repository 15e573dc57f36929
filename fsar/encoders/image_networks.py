"""Image networks of torchvision and timm without their classifier, and what each says of its pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import timm
import torch
import torchvision
from huggingface_hub import try_to_load_from_cache
from timm.models import get_pretrained_cfg
from torch import Tensor, nn

from episodes.framing import Framing, Interpolation, Resize
from fsar.encoders.weights.architecture import close_names, short_name
from fsar.encoders.weights.fitting import suggest_networks
from fsar.encoders.weights.state import strict_load

Library = Literal["torchvision", "timm"]
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_HEADS = ("fc", "classifier", "head", "heads")  # what torchvision calls a network's last part
_HALVES = ((0.5,) * 3, (0.5,) * 3)
_REMAPPED = ("inception_v3", "googlenet")  # torchvision turns ImageNet's statistics into these inside the network


class Own(NamedTuple):
    """What a network was trained on."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    enlarged: float  # what the frame is resized to, in units of size
    resize: Resize
    interpolation: Interpolation

    def framing(self, encoder: str, size: int | None = None, resize_to: int | None = None, **given: Any) -> Framing:
        """The frames that it wants, but for what was given: not None.

        Raises:
            ValueError: a frame that is resized to less than what is cut out of it.
        """
        size = size or self.size
        resize_to = resize_to or max(size, math.floor(size * self.enlarged + 1e-6))
        if resize_to < size:
            raise ValueError(f"resize_to={resize_to} is smaller than image_size={size}, which is cut out of it.")
        how: dict[str, Any] = {"resize": self.resize, "interpolation": self.interpolation}
        return Framing(size, resize_to, encoder=encoder, **how | {k: v for k, v in given.items() if v is not None})


def own_pixels(library: Library, model: str, weights: str | None, given: bool) -> Own:
    """What the network says of itself: timm's ``pretrained_cfg``, or the transforms of torchvision's weights.

    Of several weights of torchvision the file's name picks one, as they are downloaded; else the first count.

    Args:
        library: where the model comes from.
        model: its name.
        weights: the file of its weights.
        given: whether size and resizing are told, so that the network's need not be such as we can do.

    Raises:
        ValueError: an unknown model; or frames that are not square, or padded.
    """
    _refuse_unknown(library, model)
    if library == "torchvision":
        known = list(torchvision.models.get_model_weights(model))
        entry = next((e for e in known if weights and Path(e.url).name == Path(weights).name), known[0])
        how = entry.transforms()
        mean, std = _HALVES if model in _REMAPPED else (tuple(how.mean), tuple(how.std))
        (size,), (resized,) = how.crop_size, how.resize_size
        return Own(mean, std, size, resized / size, "short_side", how.interpolation.value)
    config = get_pretrained_cfg(model)
    if config is None:
        return Own(*IMAGENET, 224, 8 / 7, "short_side", "bicubic")
    _, height, width = config.input_size
    if not given and (height != width or config.crop_mode == "border"):
        raise ValueError(
            f"model={model!r} takes frames of {height} x {width} pixels (crop mode {config.crop_mode!r}), and only "
            "square ones without a border are served: give image_size and resize, if it takes others."
        )
    resize: Resize = "squash" if config.crop_mode == "squash" else "short_side"
    way: Any = config.interpolation
    return Own(tuple(config.mean), tuple(config.std), height, 1 / config.crop_pct, resize, way)


def build(library: Library, model: str, size: int, state: Mapping[str, Tensor] | None, source: str) -> nn.Module:
    """The network for frames of ``size`` pixels, filled with ``state``, which need not hold the classifier's weights.

    Raises:
        ValueError: weights that do not fit, or a size that the network does not take.
    """
    network, heads = network_without_head(library, model, size)
    body = {k: v for k, v in (state or {}).items() if not k.startswith(tuple(f"{head}." for head in heads))}
    late = library == "timm" and hasattr(network, "set_input_size") and _side(model) not in (None, size)
    fits = all(body[name].shape == x.shape for name, x in network.state_dict().items() if name in body)
    if late and not fits:
        _resize(network, model, size)  # the weights are of this size already
    if state is not None:
        strict_load(network, body, source, f"{library} model {model!r}", lambda _: suggest_networks(state))
    if late and fits:
        _resize(network, model, size)
    return network.eval()


def network_without_head(library: Library, model: str, size: int) -> tuple[nn.Module, tuple[str, ...]]:
    """The network with random weights, and what its classifier is called, which it lacks."""
    return (_timm if library == "timm" else _torchvision)(model, size)


def channels_of(network: nn.Module, model: str, size: int) -> int:
    """The number of features of a frame; the network is asked for those of a black one.

    Raises:
        ValueError: when it does not take frames of this size.
    """
    try:
        with torch.no_grad():
            return int(network(torch.zeros(1, 3, size, size)).shape[-1])
    except (AssertionError, RuntimeError) as error:
        raise _wrong_size(model, size, error) from error


def cached_weights(library: Library, model: str) -> str:
    """The file of the weights that the library itself would fetch, where its cache holds it; nothing is fetched.

    Raises:
        FileNotFoundError: says where it was looked for, and what to give.
        ValueError: an unknown model.
    """
    if library == "timm" or model not in torchvision.models.list_models(module=torchvision.models.video):
        _refuse_unknown(library, model)
    if library == "torchvision":
        folder = Path(torch.hub.get_dir(), "checkpoints")
        files = [folder / Path(entry.url).name for entry in torchvision.models.get_model_weights(model)]
        place = f"{folder} ({', '.join(file.name for file in files)})"
    else:
        config = get_pretrained_cfg(model)
        repository, own = (config.hf_hub_id or "", config.hf_hub_filename) if config else ("", None)
        names = [own] if own else ["model.safetensors", "pytorch_model.bin"]
        found = [try_to_load_from_cache(repository, name) for name in names] if repository else []
        files = [Path(file) for file in found if isinstance(file, str)]
        place = f"the Hugging Face cache ({repository or 'none is published'})"
    there = [file for file in files if file.is_file()]
    if not there:
        name = f"{library}:{model}"
        get = "" if place.endswith("(none is published)") else f": `fsar weights get {short_name(name)}` fetches them"
        raise FileNotFoundError(
            f"the weights of {name} are not in {place}{get}. Give a file with its state dict: {name}:FILE."
        )
    return str(there[0])


def _refuse_unknown(library: Library, model: str) -> None:
    if library == "torchvision":
        known, where = torchvision.models.list_models(module=torchvision.models), "torchvision.models"
    else:
        known, where = timm.list_models(), "timm"
    if model.partition(".")[0] not in known or (library == "torchvision" and "." in model):
        videos = torchvision.models.list_models(module=torchvision.models.video)
        seen = " It sees clips: take fsar.encoders.VideoEncoder." if model in videos else ""
        raise ValueError(
            f"model={model!r} is no image network of {library}."
            + (seen or close_names(model, known) or f" See {where}.list_models().")
        )
    if library == "timm":
        try:
            get_pretrained_cfg(model)  # knows the tags behind the dot
        except RuntimeError as error:
            raise ValueError(f"model={model!r}: {error} See timm.list_pretrained().") from error


class _Pool(nn.Module):
    """Stands where the classifier stood: maps ``(b c h w)`` are averaged, vectors ``(b c)`` pass."""

    def forward(self, features: Tensor) -> Tensor:
        return features.mean(dim=(-2, -1)) if features.dim() == 4 else features


def _torchvision(model: str, size: int) -> tuple[nn.Module, tuple[str, ...]]:
    """A network of torchvision that ends before its classifier, and the classifier's name."""
    options: dict[str, Any] = {"init_weights": False} if model in _REMAPPED else {}  # theirs takes half a minute
    options |= {"image_size": size} if model.startswith("vit_") else {}
    options |= {"input_size": (size, size)} if model.startswith("maxvit_") else {}
    try:
        network = torchvision.models.get_model(model, weights=None, **options)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise _wrong_size(model, size, error) from error
    head = next((name for name in _HEADS if hasattr(network, name)), None)
    if head is None:
        raise ValueError(f"model={model!r} has no classifier (one of {', '.join(_HEADS)}) that we could take off.")
    setattr(network, head, _Pool())
    if isinstance(getattr(network, "avgpool", None), nn.AdaptiveAvgPool2d):
        network.avgpool = nn.AdaptiveAvgPool2d(1)  # VGG and AlexNet keep a grid for their classifier
    return network, (head,)


def _timm(model: str, size: int) -> tuple[nn.Module, tuple[str, ...]]:
    """A network of timm that ends before its classifier, and the classifier's names; of its own size where that can be
    changed afterwards."""
    network = timm.create_model(model, pretrained=False, num_classes=0)
    config = get_pretrained_cfg(model)
    if _side(model) not in (None, size) and not hasattr(network, "set_input_size"):
        try:
            network = timm.create_model(model, pretrained=False, num_classes=0, img_size=size)
        except (TypeError, AssertionError) as error:
            raise _wrong_size(model, size, error) from error
    heads = (config and config.classifier) or ()
    return network, (heads,) if isinstance(heads, str) else tuple(heads)


def _side(model: str) -> int | None:
    """The side of the frames for which timm builds the network."""
    config = get_pretrained_cfg(model)
    return config.input_size[1] if config is not None and config.fixed_input_size else None


def _resize(network: Any, model: str, size: int) -> None:
    """Position embeddings and windows for another size, by timm's own interpolation."""
    try:
        network.set_input_size(img_size=(size, size))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise _wrong_size(model, size, error) from error


def _wrong_size(model: str, size: int, error: Exception) -> ValueError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return ValueError(
        f"model={model!r} does not take frames of {size} x {size} pixels ({reason}): leave image_size out for the "
        "network's own, or give another."
    )
