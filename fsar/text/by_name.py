"""Texts as a command line names them."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import get_args

from fsar.text.bank import TextBank
from fsar.text.kinds import Kind
from fsar.text.packs import SHA256
from fsar.text.prompts import TEMPLATES


def parse_texts(word: str) -> TextBank:
    """A bank as a command line names it: a published set of templates ("names", "photo", "kinetics"...); a pack or file
    of descriptions; one with its kinds behind a colon ("ssv2:step", "mine.yaml:template+description").

    Raises:
        FileNotFoundError: neither a set, a pack nor a file.
        ValueError: a kind that there is not.
    """
    if word in TEMPLATES:
        return TextBank(word)
    before, colon, asked = word.rpartition(":")
    source, kinds = (before, asked.split("+")) if colon else (word, ["description"])
    close = difflib.get_close_matches(source.lower(), [*TEMPLATES, *SHA256], n=1)
    if close and close[0] in TEMPLATES and source not in SHA256 and not Path(source).is_file():
        raise FileNotFoundError(f"texts: {word} is no set of templates, pack or file. Did you mean {close[0]!r}?")
    if unknown := set(kinds) - set(get_args(Kind)):
        known = ", ".join(get_args(Kind))
        raise ValueError(f"{word}: {', '.join(sorted(unknown))} is no kind of text; kinds are {known}.")
    return TextBank(descriptions=source, kinds=kinds)  # type: ignore[arg-type]
