"""Numbers of things are said as a person says them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from episodes.words import pluralise

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("count", "thing", "said"),
    [
        (0, "clip", "0 clips"),
        (1, "clip", "1 clip"),
        (2, "class", "2 classes"),
        (1, "test class", "1 test class"),
        (12_000, "query", "12,000 queries"),
        (3, "entry", "3 entries"),
        (2, "day", "2 days"),
        (2, "batch", "2 batches"),
    ],
)
def test_one_is_no_plural(count: int, thing: str, said: str) -> None:
    assert pluralise(count, thing) == said


def test_nobody_expects_one_of_many() -> None:
    """What other tests expect of a message holds no "1 clips"."""
    wrong = re.compile(r"[\"'( ]1 (clips|queries|classes|episodes|videos|frames|shots|chunks)\b")
    rows = (ROOT / "tests" / "wrong_uses.txt").read_text().splitlines()
    for file in (ROOT / "tests").rglob("test_*.py"):
        rows += [row for row in file.read_text().splitlines() if re.search(r"assert|match=", row)]
    assert not [row for row in rows if wrong.search(row)]
