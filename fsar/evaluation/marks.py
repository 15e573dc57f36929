"""What a result's scores may depend on beside a query and its support: said wherever its number stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WORDS = {"sees_other_queries": "transductive", "reads_query_labels": "reads the queries' labels"}
"""Facts of a method, see :class:`fsar.method.Method`, by their name in a record, and how they are read."""


def method_marks(method: Any) -> dict[str, bool]:
    """The facts of a method, as they stand in a record of ``results.json``."""
    return {name: bool(getattr(method, name, False)) for name in WORDS}


def record_marks(method: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    """The same, and where one is true how the queries were scored.

    Args:
        method: that was evaluated.
        data: what the record says of the data.
    """
    facts: dict[str, Any] = method_marks(method)
    if any(facts.values()):
        queries = data["queries"]
        facts["scored"] = f"whole episodes, {queries} {'query' if queries == 1 else 'queries'} of every class"
    return facts


def marks(record: Mapping[str, Any]) -> str:
    """``transductive``, ``transductive, reads the queries' labels``, or "" for what most methods are."""
    return ", ".join(word for name, word in WORDS.items() if record.get(name))


def marked_name(record: Mapping[str, Any]) -> str:
    """The method, with its marks in parentheses."""
    return record["method"] + (f" ({marks(record)})" if marks(record) else "")
