"""Names of image-text architectures, models published whole, and the name that a state dict's shapes point to."""

from __future__ import annotations

import difflib
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError
from open_clip.constants import (
    HF_CONFIG_NAME,
    HF_SAFE_WEIGHTS_NAME,
    HF_WEIGHTS_NAME,
    OPENAI_DATASET_MEAN,
    OPENAI_DATASET_STD,
)
from torch import Tensor

from episodes.files import explain_start

HUB, FOLDER = "hf-hub:", "local-dir:"
_WHOLE = "open-clip-"  # begins the names of models published whole
_WEIGHTS = (  # in the order of open_clip
    *(HF_SAFE_WEIGHTS_NAME, "open_clip_pytorch_model.safetensors", HF_WEIGHTS_NAME, "open_clip_pytorch_model.pth"),
    *("model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth"),
)
TINY = Path(__file__).parents[1] / "tiny"

RECOMMENDED = {
    "small": ("MobileCLIP2-S0:dfndr2b", "reads class names too; the one for a CPU"),
    "base": ("ViT-B-16:openai", "reads class names too; what the papers use"),
    "vision": ("timm:vit_small_patch16_dinov3.lvd1689m", "sees images alone; strong without any training"),
}
"""By use: what the short names mean, and what for. ``configs/encoder/`` has the same under the same names."""


def short_name(name: str) -> str:
    """``base`` for ``ViT-B-16:openai``, likewise for all of :data:`RECOMMENDED`; any other name as it is."""
    return next((use for use, (meant, _) in RECOMMENDED.items() if meant == name), name)


def architecture(model: str) -> str:
    """The name under which open_clip knows ``model``; a JSON file is registered under its stem, and what is published
    whole (see :func:`read_published`) under a name made of its config. ``ViT-B/16`` is ``ViT-B-16``.

    Raises:
        FileNotFoundError: a JSON file, a folder or a repository that is not here.
        ValueError: a name that open_clip does not know, or a JSON file that is no model config.
    """
    if (whole := read_published(model)) is not None:
        return whole.name
    if model.endswith(".json"):
        path = Path(model)
        if not path.is_file():
            raise FileNotFoundError(
                f"model={model!r}: this model config does not exist. {explain_start(model, 'model.encoder.model')}"
            )
        open_clip.add_model_config(path)
        if path.stem not in open_clip.list_models():
            raise ValueError(f"model={model!r}: a model config needs the keys embed_dim, vision_cfg and text_cfg.")
        return path.stem
    model = model.replace("/", "-")
    if model not in open_clip.list_models() and TINY.is_dir():
        open_clip.add_model_config(TINY)
    if model not in open_clip.list_models():
        close = close_names(model, open_clip.list_models())
        library, _, network = model.partition(":")
        if library in ("timm", "torchvision"):
            close = f" An image network is taken by fsar.encoders.ImageEncoder, model={network!r}, library={library!r}."
        raise ValueError(
            f"model={model!r} is no architecture of open_clip nor a JSON file, nor {HUB}USER/NAME or {FOLDER}FOLDER."
            + (close or " See open_clip.list_models().")
        )
    return model


def close_names(name: str, known: Sequence[str]) -> str:
    """A question that names those of ``known`` which are spelt nearly like ``name``, in capitals or not; or nothing."""
    folded = {other.lower(): other for other in known}
    close = [folded[other] for other in difflib.get_close_matches(name.lower(), folded, n=3)]
    return f" Did you mean {' or '.join(close)}?" if close else ""


class PublishedModel(NamedTuple):
    """A model that is published as open_clip writes it: config, pixel statistics and weights in one place."""

    name: str
    weights: Path
    mean: tuple[float, ...]
    std: tuple[float, ...]
    quick_gelu: bool


def read_published(model: str, download: bool = False) -> PublishedModel | None:
    """What ``hf-hub:USER/NAME`` or ``local-dir:FOLDER`` holds, or None for a ``model`` that is no such place.

    Raises:
        FileNotFoundError: a file that is not in the folder, or not in the Hugging Face cache and not to be fetched.
        ValueError: a config that open_clip did not write.
    """
    place = model.removeprefix(HUB).removeprefix(FOLDER)
    if place == model:
        return None
    path = _found(model, place, (HF_CONFIG_NAME,), download)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        config, pixels = dict(content["model_cfg"]), dict(content.get("preprocess_cfg") or {})
        name = f"{_WHOLE}{hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]}"
        mean, std = (
            tuple(pixels.get(k) or usual) for k, usual in (("mean", OPENAI_DATASET_MEAN), ("std", OPENAI_DATASET_STD))
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no config of open_clip: expected JSON with the key model_cfg ({error})."
        ) from error
    if name not in open_clip.list_models():
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, f"{name}.json").write_text(json.dumps(config))
            open_clip.add_model_config(Path(folder))
    if name not in open_clip.list_models():
        raise ValueError(f"{path}: its model_cfg needs the keys embed_dim, vision_cfg and text_cfg.")
    return PublishedModel(
        name, _found(model, place, _WEIGHTS, download), mean, std, bool(config.get("quick_gelu", False))
    )


def _found(model: str, place: str, names: Sequence[str], download: bool) -> Path:
    """The first of ``names`` that lies in the place."""
    for name in names:
        cached: Any = try_to_load_from_cache(place, name) if model.startswith(HUB) else Path(place, name)
        if isinstance(cached, str | Path) and Path(cached).is_file():
            return Path(cached)
    if model.startswith(FOLDER):
        raise FileNotFoundError(
            f"model={model!r}: {place} holds no {' or '.join(names)}. Give a folder as open_clip publishes it, with "
            f"{HF_CONFIG_NAME} and the weights beside it."
        )
    for name in names[:3] if download else ():
        try:
            return Path(hf_hub_download(place, name))
        except (HfHubHTTPError, OSError):
            continue  # another name, or the message below
    raise FileNotFoundError(
        f"model={model!r}: {names[0]} is not in the Hugging Face cache{' and could not be fetched' * download}. "
        f"{'' if download else 'Set download to true to fetch it, or give '}"
        f"{'Give ' * download}{FOLDER}FOLDER, a folder with {HF_CONFIG_NAME} and the weights beside it."
    )


def config_of(name: str) -> dict[str, Any]:
    """A copy of the model config, with the keys ``embed_dim``, ``vision_cfg`` and ``text_cfg``."""
    return dict(open_clip.get_model_config(name))


def has_both_activations(name: str) -> bool:
    """Whether open_clip lists the architecture both with GELU and with QuickGELU."""
    return f"{name}-quickgelu" in open_clip.list_models()


def shapes_suggest(state: Mapping[str, Tensor]) -> str:
    """A sentence that names the known architectures nearest to the shapes of a CLIP state dict; may be empty."""
    found = _describe(state)
    if not found:
        return ""
    scores = {name: _agreement(found, name) for name in open_clip.list_models() if not name.startswith(_WHOLE)}
    best = max(scores.values())
    names = [name for name, score in scores.items() if score == best]
    numbers = ", ".join(f"{key} {value}" for key, value in found.items())
    kind = "are those of" if best == len(found) else "are nearest to"
    return f"Its shapes ({numbers}) {kind} {' or '.join(names[:4])}."


def _describe(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the shapes tell of an open_clip ViT or ResNet with CLIP's text tower."""
    keys = {key.removeprefix("text."): value for key, value in state.items()}
    if "text_projection" not in keys or keys["text_projection"].dim() != 2 or "positional_embedding" not in keys:
        return {}
    text_width, embed_dim = keys["text_projection"].shape
    found: dict[str, Any] = {
        "embed_dim": embed_dim,
        "text width": text_width,
        "text layers": _count(keys, "transformer.resblocks."),
        "context_length": keys["positional_embedding"].shape[0],
    }
    if "visual.class_embedding" in keys:
        width, _, patch, _ = keys["visual.conv1.weight"].shape
        grid = round((keys["visual.positional_embedding"].shape[0] - 1) ** 0.5)
        layers: Any = _count(keys, "visual.transformer.resblocks.")
        found |= {"width": width, "layers": layers, "patch_size": patch, "image_size": patch * grid}
    elif "visual.attnpool.positional_embedding" in keys:
        grid = round((keys["visual.attnpool.positional_embedding"].shape[0] - 1) ** 0.5)
        layers = [_count(keys, f"visual.layer{i}.") for i in (1, 2, 3, 4)]
        width = keys["visual.layer1.0.conv1.weight"].shape[0]
        found |= {"width": width, "layers": layers, "image_size": 32 * grid}
    return found


def _count(keys: Mapping[str, Tensor], prefix: str) -> int:
    return len({key.removeprefix(prefix).split(".")[0] for key in keys if key.startswith(prefix)})


def _numbers(name: str) -> dict[str, Any]:
    config = config_of(name)
    vision, text = config["vision_cfg"], config["text_cfg"]
    return {
        "embed_dim": config["embed_dim"],
        "text width": text.get("width", 512),
        "text layers": text.get("layers", 12),
        "context_length": text.get("context_length", 77),
        "width": vision.get("width", 768),
        "layers": vision.get("layers", 12),
        "patch_size": vision.get("patch_size", 16),
        "image_size": vision.get("image_size", 224),
    }


def _agreement(found: Mapping[str, Any], name: str) -> int:
    if "timm_model_name" in config_of(name)["vision_cfg"]:
        return 0
    own = _numbers(name)
    return sum(own[key] == value for key, value in found.items())
