"""Texts of ``fsar sweep --texts``: who takes them, what they are called, and the folder of each."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

from episodes.words import pluralise
from fsar.text import TextBank
from fsar.training.learner import Learner


def check_texts(learner: Learner, texts: Sequence[str]) -> None:
    """Refuse texts for a method that reads none or only its own, and two that would be kept in one folder.

    Raises:
        ValueError: naming the method, or the folder.
    """
    method = type(learner.method)
    if texts and not learner.method.uses_text:
        raise ValueError(f"{method.__name__} reads no text of a class: leave out --texts.")
    if texts and "texts" not in inspect.signature(method).parameters:
        raise ValueError(
            f"{method.__name__} has no option texts: what it says of a class is its own, and --texts would change "
            "nothing. Leave it out."
        )
    folders = [clean_folder(word) for word in texts]
    if twice := sorted({name for name in folders if folders.count(name) > 1}):
        raise ValueError(f"--texts: two of them would be kept as {twice[0]}: give one file another name.")


def clean_folder(word: str) -> str:
    """A name of texts as a folder: of a file its stem."""
    source, colon, kinds = word.rpartition(":")
    return f"{Path(source).stem}_{kinds}" if colon else Path(word).stem


def say_texts(word: str, bank: TextBank) -> str:
    """Texts in a table: as they were asked for, and what that is."""
    what = pluralise(len(bank.templates), "template") if bank.source is None else ", ".join(bank.kinds)
    return f"{word} ({what})"
