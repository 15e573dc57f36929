"""Texts of a bank instead of the encoder's templates, in every method that reads text; and that a result names them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import fsar.methods
from episodes.episode import Episode
from fsar.adapters import Ladder
from fsar.alignment import OTAM
from fsar.encoders import ClipEncoder
from fsar.evaluation.results import texts_record
from fsar.method import Method
from fsar.methods import ClipFSAR
from fsar.objectives import Anchor, MultiPositiveSigmoid, SubCaptionGrouping, SymmetricContrast
from fsar.text import TextBank, parse_texts

READERS = [m for m in vars(fsar.methods).values() if inspect.isclass(m) and issubclass(m, Method) and m.uses_text]
OWN = {"CoOp", "CoCoOp", "TaskAdapterPlusPlus"}
"""Words that are learned; steps alone, which its option `steps` takes."""


@pytest.mark.parametrize("method", READERS, ids=lambda method: method.__name__)
def test_every_method_that_reads_text_has_the_option(method: type[Method]) -> None:
    if inspect.isabstract(method) or method.__name__ in OWN:
        pytest.skip("it takes words of its own")
    assert "texts" in inspect.signature(method.__init__).parameters


OPTIONS: dict[str, dict[str, Any]] = {
    "ActionCLIP": {"classify_by": "text"},
    "Clip4Clip": {"head": "mean"},
    "ClipCPM2C": {"hidden": 32},
    "ClipFSAR": {"alignment": OTAM()},
    "ClipMEI": {"head_width": 16, "hidden": 64},
    "ClipSPM": {"head_width": 16, "hidden": 64},
    "EMPNet": {"layers": (1, 2, 3), "top_patches": 4},
    "MAClip": {"alignment": OTAM()},
    "TipAdapterViews": {"views": 2},
    "TSFSAR": {"side": Ladder(width=16, heads=2, temporal=(1,)), "frames": 4, "train_classes": 6},
}
"""What each needs to be small, and to look at its texts."""


@pytest.mark.parametrize("method", [m for m in READERS if m.__name__ not in OWN], ids=lambda method: method.__name__)
def test_other_texts_are_read_and_score_otherwise(
    method: Callable[..., Method], three_blocks: Callable[..., ClipEncoder], pixels: Callable[..., Episode]
) -> None:
    episode, logits = pixels(t=4), []
    for template in ("a {}", "nobody is {} here"):
        encoder, read = three_blocks(), list[str]()
        tower = encoder.require_text()
        encode = tower.encode
        vars(tower)["encode"] = lambda texts, read=read, encode=encode: (read.extend(texts), encode(texts))[1]
        built = method(encoder=encoder, texts=TextBank([template]), **OPTIONS.get(method.__name__, {})).eval()
        with torch.no_grad():
            logits.append(built(episode).logits)
        assert set(read) == {template.format(name) for name in episode.class_names}
    assert not torch.allclose(*logits, rtol=1e-4, atol=1e-6)


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
    other = TextBank(["{}"], "hmdb51")
    grouping, contrast = SubCaptionGrouping("monotone", texts=bank), SymmetricContrast(texts=other)
    objectives: dict[str, Any] = {
        "grouping": grouping,
        "anchor": Anchor(),
        "contrast": contrast,
        "fff": MultiPositiveSigmoid(),
    }
    hashes = {"grouping": bank.sha256, "contrast": other.sha256}
    assert texts_record(SimpleNamespace(), objectives) == {"objective_texts_sha256": hashes}
    assert bank.sha256 != other.sha256


def test_words_of_a_command_line() -> None:
    assert parse_texts("names").templates == ("{}",)
    assert parse_texts("ssv2").kinds == ("description",)
    assert parse_texts("ssv2:step+name").kinds == ("step", "name")
    assert parse_texts("ssv2").sha256 == TextBank(**parse_texts("ssv2").options).sha256
    assert (parse_texts("ucf101").source, parse_texts("ucf101:step").source) == (None, "ucf101")  # templates, the pack
    with pytest.raises(ValueError, match="stepp is no kind of text; kinds are name"):
        parse_texts("ssv2:stepp")
    with pytest.raises(FileNotFoundError, match="Did you mean 'hmdb51'"):
        parse_texts("hmdb")
    with pytest.raises(FileNotFoundError, match=r"photos is no set of templates, pack or file\. Did you mean 'photo'"):
        parse_texts("photos")
