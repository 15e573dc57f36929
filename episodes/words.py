"""How a number of things is said."""

from __future__ import annotations


def pluralise(count: int, thing: str) -> str:
    """A number and what there is so often.

    >>> pluralise(1, "clip"), pluralise(1200, "query"), pluralise(2, "test class")
    ('1 clip', '1,200 queries', '2 test classes')
    """
    if count == 1:
        return f"1 {thing}"
    if thing.endswith(("s", "x", "ch")):
        return f"{count:,} {thing}es"
    if thing.endswith("y") and thing[-2] not in "aeiou":
        return f"{count:,} {thing[:-1]}ies"
    return f"{count:,} {thing}s"
