"""Kinds of what is said about a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

Kind = Literal["name", "template", "description", "step"]
"""Of what is said about a class."""
AnyKind = TypeVar("AnyKind", bound=str)


@dataclass(frozen=True)
class Sentence:
    """One text about a class. Those of kind "step" are in the order in which the steps happen.

    >>> Sentence("brush hair", "name")
    Sentence(text='brush hair', kind='name')
    """

    text: str
    kind: Kind


def check_kinds(kinds: Sequence[AnyKind], reader: str, more: Sequence[str] = ()) -> tuple[AnyKind, ...]:
    """The kinds as they are.

    Args:
        kinds: that are asked for.
        reader: who asks, for the message.
        more: kinds beside those of :data:`Kind`.

    Raises:
        ValueError: none, or one that there is not.
    """
    known = (*get_args(Kind), *more)
    if not kinds or not set(kinds) <= set(known):
        raise ValueError(f"{reader}: kinds must name one or more of {', '.join(known)}, found {list(kinds)}.")
    return tuple(kinds)


def check_mix(mix: Mapping[Kind, float]) -> dict[Kind, float]:
    """The shares as they are.

    Raises:
        ValueError: a kind that there is not; negative shares, or nothing but zeros.
    """
    bad = set(mix) - set(get_args(Kind)) or [share for share in mix.values() if not 0 <= share < float("inf")]
    if bad or not sum(mix.values()) > 0:
        raise ValueError(
            f"mix must give kinds ({', '.join(get_args(Kind))}) shares that are not negative and not all 0, found "
            f"{dict(mix)}."
        )
    return dict(mix)
