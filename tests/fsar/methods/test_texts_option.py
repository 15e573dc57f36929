"""Texts of a bank instead of the encoder's templates, in every method that reads text; and that a result names them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import fsar.methods
from fsar.alignment import OTAM
from fsar.encoders import ClipEncoder
from fsar.evaluation.results import texts_record
from fsar.method import Method
from fsar.methods import ClipFSAR
from fsar.text import TextBank, parse_texts

READERS = [m for m in vars(fsar.methods).values() if inspect.isclass(m) and issubclass(m, Method) and m.uses_text]
OWN = {"CoOp", "CoCoOp", "TaskAdapterPlusPlus"}
"""Words that are learned; steps alone, which its option `steps` takes."""


@pytest.mark.parametrize("method", READERS, ids=lambda method: method.__name__)
def test_every_method_that_reads_text_has_the_option(method: type[Method]) -> None:
    if inspect.isabstract(method) or method.__name__ in OWN:
        pytest.skip("it takes words of its own")
    assert "texts" in inspect.signature(method.__init__).parameters


def test_class_text_is_what_the_bank_says(tiny: Callable[..., ClipEncoder]) -> None:
    encoder = tiny()
    plain, told = ClipFSAR(encoder, OTAM()), ClipFSAR(encoder, OTAM(), texts=TextBank(["{}", "a {}"]))
    names = ["waving", "two words"]
    said = encoder.require_text().encode(["waving", "a waving", "two words", "a two words"]).unflatten(0, (2, 2))
    torch.testing.assert_close(told.class_text(names), said.mean(1))
    same = ClipFSAR(encoder, OTAM(), texts=TextBank("photo"))
    torch.testing.assert_close(same.class_text(names), plain.class_text(names))


def test_a_result_names_its_texts() -> None:
    bank = TextBank(descriptions="hmdb51", kinds=["step"])
    found: dict[str, Any] = texts_record(SimpleNamespace(texts=bank))
    assert found == {"texts": "hmdb51", "text_kinds": ["step"], "texts_sha256": bank.sha256}
    assert texts_record(SimpleNamespace()) == {}


def test_words_of_a_command_line() -> None:
    assert parse_texts("names").templates == ("{}",)
    assert parse_texts("ssv2").kinds == ("description",)
    assert parse_texts("ssv2:step+name").kinds == ("step", "name")
    assert parse_texts("ssv2").sha256 == TextBank(**parse_texts("ssv2").options).sha256
    with pytest.raises(ValueError, match="stepp is no kind of text; kinds are name"):
        parse_texts("ssv2:stepp")
    with pytest.raises(FileNotFoundError, match="Did you mean 'hmdb51'"):
        parse_texts("hmdb")
    with pytest.raises(FileNotFoundError, match=r"photos is no set of templates, pack or file\. Did you mean 'photo'"):
        parse_texts("photos")
