"""What was said about a class where a number owes something to its name: every zero-shot number names its template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fsar.encoders.weights.architecture import FOLDER, HUB


def names_alone(record: Mapping[str, Any]) -> bool:
    """Whether a result owes nothing to support clips: the classes' names alone were read."""
    return record["method"] == "ZeroShot" or record.get("inference") == "text"


def template(record: Mapping[str, Any]) -> str:
    """What was said about a class, when the configuration says so, else "": of the method's own texts if it has any,
    else of the encoder's."""
    own: list[Any] = []
    encoders: list[Any] = []

    def search(value: Any, found: list[Any]) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if key in ("template", "templates", "prompt", "prompts") and inner:
                    found.append(inner)
                search(inner, encoders if key == "encoder" else found)

    search(record["config"].get("model"), own)
    return quote_templates(next(iter([*own, *encoders]), ""))


def floor_template(record: Mapping[str, Any]) -> str:
    """What was said about a class whose name alone was scored beside the method; "" where the result does not say."""
    return quote_templates(record.get("zero_shot_templates") or "")


def quote_templates(templates: str | Sequence[str]) -> str:
    """The name of a set of templates, or the first one and how many more there are, in quotes; "" of none.

    >>> quote_templates(["a photo of {}", "{}"])
    '“a photo of {}” and 1 more'
    """
    if not templates:
        return ""
    first, *more = [templates] if isinstance(templates, str) else templates
    return f"“{first}”" + (f" and {len(more)} more" if more else "")


def encoder_templates(method: Any) -> list[str]:
    """Those of a method's encoder, which the floor of names alone stands on."""
    return list(getattr(method.encoder.text, "templates", ()))


def random_encoders(config: Any, trained: bool = False) -> list[str]:
    """``MODEL (pretrained: null)`` of each encoder in a configuration whose weights are random.

    Args:
        config: plain data.
        trained: a checkpoint was read, which brings what is trained: an encoder with ``tune: full`` whole.

    >>> random_encoders({"class_path": "fsar.encoders.ClipEncoder", "init_args": {"model": "RN50", "pretrained": None}})
    ['RN50 (pretrained: null)']
    """
    if isinstance(config, Mapping):
        found = [name for value in config.values() for name in random_encoders(value, trained)]
        options = config.get("init_args")
        if str(config.get("class_path")).startswith("fsar.encoders.") and isinstance(options, Mapping):
            model, brought = str(options.get("model")), trained and options.get("tune") == "full"
            unset = [key for key in ("pretrained", "weights") if options.get(key, "") is None]
            if unset and not brought and not model.startswith((HUB, FOLDER)):
                found.append(f"{model} ({unset[0]}: null)")
        return found
    return [name for value in config for name in random_encoders(value, trained)] if isinstance(config, list) else []
