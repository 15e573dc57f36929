"""Null in the place of an argument that has no null is one sentence, wherever it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import Namespace

from fsar.build import build
from fsar.terminal.nulls import find_nulls


class Part:
    """With every kind of type that an argument may have."""

    def __init__(
        self,
        number: float = 1.0,
        words: list[str] = [],  # noqa: B006
        choice: bool | str = "a",
        seed: int | None = 0,
        free: Any = 1,
        mode: str = None,  # type: ignore[assignment]  # noqa: RUF013
    ) -> None: ...


def test_null_is_found_where_the_type_has_none() -> None:
    arguments = dict.fromkeys(("number", "words", "choice", "seed", "free", "mode"))
    part = Namespace(class_path=f"{__name__}.Part", init_args=Namespace(**arguments))
    found = dict(find_nulls(Namespace(model=Namespace(inner=[part]), top=None)))
    assert set(found) == {f"model.inner[0].{name}" for name in ("number", "words", "choice")}
    assert dict(find_nulls({"class_path": "no.such.Thing", "init_args": {"a": None}})) == {}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("model.method.alignment.temperature", r"alignment\.temperature: expected a number, found null; leave it out"),
        ("model.method.encoder.tune", "expected one of 'frozen', 'full' or a whole number, found null"),
        ("data.benchmark.twice", "expected one of 'tell', 'drop', 'keep', found null"),
        ("model.method", r"model\.method: expected a class \(Method\), found null"),
        ("model.optimizer", r"expected a class \(optimizer\), found null"),
        ("model.optimizer.lr", "expected a number or a Tensor, found null"),
    ],
)
def test_null_on_the_command_line(config: Path, option: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(["-c", str(config), f"--{option}", "null"])


def test_weights_of_another_kind_are_refused(config: Path) -> None:
    learner, _ = build(["-c", str(config)])
    own = dict(learner.state_dict())
    name = next(name for name, value in own.items() if value.is_floating_point() and value.ndim)
    for value, said in (
        (own[name].int(), "whole numbers"),
        (own[name][None], "numbers"),
        ("text", "no tensor but a str"),
    ):
        with pytest.raises(ValueError, match=f"the checkpoint does not fit .*: {name} holds {said}"):
            learner.on_load_checkpoint({"state_dict": {**own, name: value}})
    learner.on_load_checkpoint({"state_dict": {**own, name: own[name].to(torch.float64)}})
