"""Weight files: which architecture, which activation, which normalisation; loaded strictly or refused with the reason.

Everything that touches the loading side of open_clip stands in this file, so that another version of it is met here.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import open_clip
from huggingface_hub import try_to_load_from_cache
from open_clip.constants import (
    HF_SAFE_WEIGHTS_NAME,
    HF_WEIGHTS_NAME,
    OPENAI_DATASET_MEAN,
    OPENAI_DATASET_STD,
)
from open_clip.factory import convert_state_dict
from open_clip.pretrained import download_pretrained, get_pretrained_cfg, list_pretrained_tags_by_model
from torch import Tensor, nn

from episodes.files import explain_start
from fsar.encoders.weights.architecture import (
    architecture,
    config_of,
    has_both_activations,
    read_published,
    shapes_suggest,
    short_name,
)
from fsar.encoders.weights.fitting import suggest_networks
from fsar.encoders.weights.state import read_state, strict_load
from fsar.encoders.weights.variants import recognise

_TINY_WEIGHTS = {("fsar-tiny", "shapes"): Path(__file__).parents[1] / "tiny" / "fsar-tiny.safetensors"}
_TEXT_KEYS = ("text_projection", "positional_embedding", "token_embedding", "transformer", "ln_final")


class ClipParts(NamedTuple):
    """A loaded image-text model in pieces, all float32."""

    name: str
    channels: int
    image_size: int
    visual: nn.Module
    text: nn.Module | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    quick_gelu: bool
    logit_scale: float
    logit_bias: float | None


def load_clip(model: str, pretrained: str | None, quick_gelu: bool | None = None, download: bool = False) -> ClipParts:
    """Builds an open_clip architecture and fills it with the weights that ``pretrained`` names.

    Args:
        model: a name of ``open_clip.list_models()``, ``fsar-tiny``, the path of a model config in JSON, or
            ``hf-hub:USER/NAME`` or ``local-dir:FOLDER``, which bring their own weights.
        pretrained: a tag of open_clip, a file, or nothing for random weights.
        quick_gelu: the activation when the weights do not say it themselves.
        download: fetch a tag that is not in the Hugging Face cache.

    Raises:
        FileNotFoundError: a tag that is not in the cache, or a file that does not exist.
        ValueError: unknown model or tag; weights that do not fit the model; an activation that contradicts the
            weights, or that neither the weights nor the arguments tell.
    """
    whole = read_published(model, download)
    name = architecture(model)
    tag = get_pretrained_cfg(name, pretrained) if pretrained else {}
    state, activation, image_only = None, None, False
    if whole is not None:
        if pretrained:
            raise ValueError(f"model={model!r} brings its own weights: set pretrained to null, found {pretrained!r}.")
        path, activation = whole.weights, whole.quick_gelu
        state, _ = read_state(path)
    elif pretrained:
        path = _TINY_WEIGHTS.get((name, pretrained)) or _tag_file(name, pretrained, tag, download) or Path(pretrained)
        _check_file(path, name, pretrained)
        state, openai = read_state(path)
        variant = recognise(state, str(path))
        state, image_only = variant.state, variant.image_only
        activation = bool(tag.get("quick_gelu", False)) if tag else (True if openai else variant.quick_gelu)
    try:
        activation = _choose_activation(name, str(pretrained), activation, quick_gelu, known=not pretrained)
    except ValueError:
        if state is not None:  # that a file does not fit at all is told first
            _fill(_build(name, False, download), state, image_only, str(path), name)
        raise
    network = _build(name, activation, download)
    if state is not None:
        _fill(network, state, image_only, str(path), name)
    mean, std = whole[2:4] if whole else (tuple(tag["mean"]), tuple(tag["std"])) if tag else _family_statistics(name)
    config = config_of(name)
    scalars = dict(network.named_parameters(recurse=False))
    return ClipParts(
        name=name,
        channels=config["embed_dim"],
        image_size=_side(name, config["vision_cfg"].get("image_size", 224)),
        visual=network.get_submodule("visual"),
        text=None if image_only else network.get_submodule("text"),
        mean=mean,
        std=std,
        quick_gelu=activation,
        logit_scale=scalars["logit_scale"].exp().item(),
        logit_bias=scalars["logit_bias"].item() if "logit_bias" in scalars else None,
    )


def _fill(network: nn.Module, state: dict[str, Tensor], image_only: bool, source: str, name: str) -> None:
    state = _to_open_clip(state, network)
    if image_only:  # the other tower keeps its random weights, and is handed to nobody
        state |= {k: x for k, x in network.state_dict().items() if not k.startswith("visual.") and k not in state}
    strict_load(
        network, state, source, f"model {name!r}", lambda found: shapes_suggest(found) or suggest_networks(found)
    )


def _side(name: str, image_size: int | list[int]) -> int:
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if height != width:
        raise ValueError(f"model={name!r} takes frames of {height} x {width} pixels; only square ones are served.")
    return height


def _tag_file(name: str, pretrained: str, tag: Mapping[str, Any], download: bool) -> Path | None:
    """Where the weights of a tag lie in the local cache; ``None`` when ``pretrained`` is no tag of this model."""
    if not tag:
        return None
    if (cached := cached_tag(tag)) is not None:
        return cached
    repository, _, file = tag["hf_hub"].rpartition("/")
    if download:
        return Path(download_pretrained(dict(tag)))
    get = f"`fsar weights get {short_name(f'{name}:{pretrained}')}` fetches them (or set download to true)"
    raise FileNotFoundError(
        f"The weights {pretrained!r} of {name} are not in the Hugging Face cache: {get}. Without a network copy "
        f"{file or 'open_clip_model.safetensors'} of {repository} from another machine and give its path as pretrained."
    )


def cached_tag(tag: Mapping[str, Any]) -> Path | None:
    """The file of a tag's weights in the Hugging Face cache; None when it is not there."""
    repository, _, file = tag.get("hf_hub", "").rpartition("/")
    candidates = (
        [str(Path(file).with_suffix(".safetensors")), file] if file else [HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME]
    )
    found = (try_to_load_from_cache(repository, candidate) for candidate in candidates if repository)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def _check_file(path: Path, name: str, pretrained: str) -> None:
    if path.is_file():
        return
    tags = [*list_pretrained_tags_by_model(name), *(tag for model, tag in _TINY_WEIGHTS if model == name)]
    close = difflib.get_close_matches(pretrained, tags, n=1, cutoff=0.7)
    raise FileNotFoundError(
        f"pretrained={pretrained!r} is neither a file nor a tag of {name}, whose tags are: {', '.join(tags) or 'none'}."
        + (f" Did you mean {close[0]!r}?" if close else "")
        + (f" {explain_start(pretrained, 'model.encoder.pretrained')}" if Path(pretrained).suffix else "")
    )


def _choose_activation(name: str, source: str, told: bool | None, asked: bool | None, known: bool) -> bool:
    """QuickGELU or GELU; open_clip itself gives slightly wrong features, at best with a warning, when they differ."""
    own = bool(config_of(name).get("quick_gelu", False))
    if told is not None:
        if asked is not None and asked != told:
            raise ValueError(
                f"quick_gelu={asked} contradicts the weights {source!r}, which were trained with "
                f"{'QuickGELU' if told else 'GELU'}. Leave quick_gelu out."
            )
        return told
    if asked is not None:
        return asked
    if not known and not own and has_both_activations(name):
        raise ValueError(
            f"{source} does not say with which activation it was trained, and {name} exists with two: set quick_gelu "
            f"to true (weights that descend from OpenAI's, MetaCLIP, DFN) or to false (LAION, DataComp, DreamLIP)."
        )
    return own


def _build(name: str, quick_gelu: bool, download: bool) -> nn.Module:
    """The architecture with random weights; text apart from image (``CustomTextCLIP``) whatever the config says."""
    config = config_of(name)
    config.pop("custom_text", None)
    config["quick_gelu"] = quick_gelu
    hub = config["text_cfg"].get("hf_model_name")
    if hub:
        config["text_cfg"]["hf_model_pretrained"] = False
        if not download and not isinstance(try_to_load_from_cache(hub, "config.json"), str):
            raise FileNotFoundError(
                f"The text tower of {name} is {hub!r}, whose config is not in the Hugging Face cache. "
                f"Set download to true to fetch it."
            )
    if "timm_model_name" in config["vision_cfg"]:
        config["vision_cfg"]["timm_model_pretrained"] = False
    network = (open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP)(**config)
    network.visual.output_tokens = network.text.output_tokens = False
    return network


def _to_open_clip(state: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Names of OpenAI and of older open_clip -> names with the text tower under ``text.``."""
    state = convert_state_dict(network, state)
    state = {f"text.{key}" if key.split(".")[0] in _TEXT_KEYS else key: value for key, value in state.items()}
    state.pop("text.transformer.embeddings.position_ids", None)  # older transformers stored this constant
    for key in ("logit_scale", "logit_bias"):
        if key in state and isinstance(getattr(network, key, None), Tensor):
            state[key] = state[key].reshape(getattr(network, key).shape)
    return state


def _family_statistics(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the pixels that most weights of this architecture were trained with."""
    tags = [get_pretrained_cfg(name, tag) for tag in list_pretrained_tags_by_model(name)]
    seen = Counter((tuple(tag["mean"]), tuple(tag["std"])) for tag in tags)
    return seen.most_common(1)[0][0] if seen else (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)
