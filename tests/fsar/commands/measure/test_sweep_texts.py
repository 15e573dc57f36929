"""``fsar sweep --texts``: who takes texts, and where each is kept."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fsar.alignment import OTAM
from fsar.commands.measure.sweep import check_texts
from fsar.encoders import ClipEncoder
from fsar.methods import ClipFSAR, CoOp, Prototype


def learner(kind: Any, *args: Any) -> Any:
    return SimpleNamespace(method=kind(ClipEncoder("fsar-tiny", "shapes"), *args))


def test_texts_that_would_change_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="Prototype reads no text of a class"):
        check_texts(learner(Prototype, OTAM()), ["names"])
    with pytest.raises(ValueError, match="CoOp has no option texts: what it says of a class is its own"):
        check_texts(learner(CoOp), ["names"])


def test_texts_of_one_name_are_refused() -> None:
    method = learner(ClipFSAR, OTAM())
    check_texts(method, ["names", "templates", "a/x.yaml:step", "a/x.yaml:description"])
    with pytest.raises(ValueError, match="two of them would be kept as x: give one file another name"):
        check_texts(method, ["a/x.yaml", "b/x.yaml"])
