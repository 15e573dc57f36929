"""What was said about a class where a number owes something to its name: every zero-shot number names its template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


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
