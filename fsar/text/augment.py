"""Other words for the same texts, in training alone: synonyms, left out words, clauses in another order.

An augmentation changes a text about a class; the name of the class in it stays as it is, and steps are never put in
another order. Models that translate there and back, or write captions, are handed in as a subclass of one's own.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import torch

from fsar.text.files import read_texts


class Augmentation(ABC):
    """Base of every augmentation of texts; a subclass writes :meth:`change`.

    >>> class Softly(Augmentation):
    ...     def change(self, text, kind, name, generator):
    ...         return f"{text}, softly"
    >>> Softly()("a dog sits", "description", "sit", torch.Generator())
    'a dog sits, softly'
    """

    @abstractmethod
    def change(self, text: str, kind: str, name: str, generator: torch.Generator) -> str:
        """The text in other words.

        Args:
            text: of a class.
            kind: "name", "template", "description" or "step".
            name: of the class as texts say it; it must still be in the text where it was.
            generator: of all draws.
        """

    def __call__(self, text: str, kind: str, name: str, generator: torch.Generator) -> str:
        """:meth:`change`, checked.

        Raises:
            ValueError: nothing is left, or the name of the class went lost.
        """
        changed = self.change(text, kind, name, generator)
        if not changed.strip():
            raise ValueError(f"{type(self).__name__} left nothing of the text {text!r} about {name!r}.")
        if says(name, text) and not says(name, changed):
            raise ValueError(f"{type(self).__name__} took the class name {name!r} out of {text!r}: {changed!r}.")
        return changed


class Synonyms(Augmentation):
    """Words of a file by one of their synonyms.

    Args:
        file: YAML or JSON, a word with a list of what else may be said: ``lifts: [raises, picks up]``.
        share: probability that a word of the file is replaced.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file of another form; a share that is none.
    """

    def __init__(self, file: str, share: float = 0.5) -> None:
        self.share = check_share(type(self).__name__, share)
        path = Path(file)
        content = read_texts(path, "Synonyms")
        if not isinstance(content, dict) or not all(isinstance(x, list) and x for x in content.values()):
            raise ValueError(f"Synonyms: {path} must map words to lists of other words, found {str(content)[:80]!r}.")
        self.words = {str(word).lower(): [str(other) for other in others] for word, others in content.items()}

    def change(self, text: str, kind: str, name: str, generator: torch.Generator) -> str:
        def replace(found: re.Match[str]) -> str:
            others = self.words.get(found[0].lower())
            if others is None or not chance(self.share, generator):
                return found[0]
            return others[int(torch.randint(len(others), (), generator=generator))]

        return outside(name, text, lambda part: re.sub(r"[^\W\d_]+", replace, part))


class DropWords(Augmentation):
    """Leaves words out, at least one stays. Templates keep all of theirs, as do names.

    Args:
        share: probability that a word is left out.

    >>> DropWords(1.0)("pour water slowly", "description", "pour", torch.Generator())
    'pour'
    """

    def __init__(self, share: float = 0.1) -> None:
        self.share = check_share(type(self).__name__, share)

    def change(self, text: str, kind: str, name: str, generator: torch.Generator) -> str:
        if kind in ("name", "template"):
            return text
        kept = outside(name, text, lambda part: "".join(w for w in words(part) if not chance(self.share, generator)))
        return re.sub(r"\s+", " ", kept).strip(" ,") or text


class ReorderClauses(Augmentation):
    """The clauses of a description in a random order. Steps, names and templates stay as they are.

    >>> generator = torch.Generator().manual_seed(1)
    >>> ReorderClauses()("a hand is seen, it waves", "description", "wave", generator)
    'it waves, a hand is seen'
    >>> ReorderClauses()("a hand is seen, it waves", "step", "wave", generator)
    'a hand is seen, it waves'
    """

    def change(self, text: str, kind: str, name: str, generator: torch.Generator) -> str:
        if kind != "description":
            return text
        clauses = text.rstrip(".").split(", ")
        if says(name, text) and not any(says(name, clause) for clause in clauses):
            return text  # the name itself holds a comma
        order = torch.randperm(len(clauses), generator=generator).tolist()
        return ", ".join(clauses[i] for i in order)


def outside(name: str, text: str, change: Callable[[str], str]) -> str:
    """What stands around the name is changed, the name is not, in large letters or small.

    >>> outside("sit", "Sit, then visit", str.upper)
    'Sit, THEN VISIT'
    """
    parts = spelt(name).split(text) if name else [text]
    return "".join(part if i % 2 else change(part) for i, part in enumerate(parts))


def says(name: str, text: str) -> bool:
    """Whether the name stands in the text, in large letters or small."""
    return bool(name) and spelt(name).search(text) is not None


def spelt(name: str) -> re.Pattern[str]:
    """The name as whole words, its letters large or small."""
    return re.compile(rf"(?<!\w)({re.escape(name)})(?!\w)", re.IGNORECASE)


def words(text: str) -> list[str]:
    """The words, each with the white space behind it.

    >>> words("a dog  sits")
    ['a ', 'dog  ', 'sits']
    """
    return re.findall(r"^\s+|\S+\s*", text)


def chance(share: float, generator: torch.Generator) -> bool:
    """True with this probability."""
    return bool(torch.rand((), generator=generator) < share)


def check_share(maker: str, share: float) -> float:
    """The probability as it is.

    Raises:
        ValueError: not between 0 and 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"{maker}: share is a probability, from 0 to 1, found {share}.")
    return share
