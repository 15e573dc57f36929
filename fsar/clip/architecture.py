"""Names of image-text architectures, and the name that a state dict's shapes point to."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
from torch import Tensor

TINY = Path(__file__).parent / "tiny"


def architecture(model: str) -> str:
    """The name under which open_clip knows ``model``; a JSON file is registered under its stem.

    Raises:
        FileNotFoundError: a JSON file that does not exist.
        ValueError: a name that open_clip does not know, or a JSON file that is no model config.
    """
    if model.endswith(".json"):
        path = Path(model)
        if not path.is_file():
            raise FileNotFoundError(f"model={model!r}: this model config does not exist.")
        open_clip.add_model_config(path)
        if path.stem not in open_clip.list_models():
            raise ValueError(f"model={model!r}: a model config needs the keys embed_dim, vision_cfg and text_cfg.")
        model = path.stem
    elif model not in open_clip.list_models() and TINY.is_dir():
        open_clip.add_model_config(TINY)
    if model not in open_clip.list_models():
        close = difflib.get_close_matches(model, open_clip.list_models(), n=3)
        raise ValueError(
            f"model={model!r} is no architecture of open_clip nor a JSON file."
            + (f" Did you mean {' or '.join(close)}?" if close else " See open_clip.list_models().")
        )
    return model


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
    scores = {name: _agreement(found, name) for name in open_clip.list_models()}
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
