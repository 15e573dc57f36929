"""Texts of a training step: mixed by kind, in other words, and never so in an evaluation."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from fsar.text import Augmentation, DropWords, ReorderClauses, Sentence, Synonyms, TextBank
from tests.fsar.text.test_bank import Letters

TEXTS = """
pouring water:
  description: ["pouring water from a jug, a glass fills, a hand holds the jug"]
  step: [a jug is lifted, it tilts over a glass, it is put down]
"""
NAME = "pouring water"


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "texts.yaml").write_text(TEXTS)
    return str(tmp_path / "texts.yaml")


def dice(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Spy(Letters):
    """Remembers the texts of the last call."""

    def encode(self, texts: object) -> torch.Tensor:
        self.seen = []
        return super().encode(texts)  # type: ignore[arg-type]


def drawn(bank: TextBank, seed: int) -> list[str]:
    encoder = Spy(longest=200)
    with bank.drawing(seed):
        bank.features(encoder, [NAME])
    return encoder.seen


def test_in_training_one_text_of_a_drawn_kind_speaks_for_a_class(file: str) -> None:
    bank = TextBank(descriptions=file, mix={"template": 0.25, "step": 0.75})
    seen = Counter(text for seed in range(400) for text in drawn(bank, seed))
    assert len(seen) == 4
    assert sum(seen.values()) == 400
    assert seen["a photo of pouring water"] / 400 == pytest.approx(0.25, abs=0.07)
    assert all(count / 400 == pytest.approx(0.25, abs=0.07) for count in seen.values())
    assert drawn(bank, 3) == drawn(bank, 3)


def test_an_evaluation_neither_mixes_nor_augments(file: str) -> None:
    plain = TextBank(descriptions=file, kinds=["description"])
    bank = TextBank(descriptions=file, kinds=["description"], mix={"step": 1.0}, augment=[DropWords(0.9)])
    letters = Letters(longest=200)
    assert torch.equal(bank.features(letters, [NAME]).features, plain.features(letters, [NAME]).features)
    assert bank.texts(NAME) == plain.texts(NAME)
    assert bank.sha256 == plain.sha256
    with pytest.raises(RuntimeError, match="stopped"), bank.drawing(0):
        raise RuntimeError("stopped")
    assert torch.equal(bank.features(letters, [NAME]).features, plain.features(letters, [NAME]).features)


def test_all_texts_are_augmented_where_nothing_is_mixed(file: str) -> None:
    bank = TextBank(descriptions=file, kinds=["description", "step"], augment=[ReorderClauses(), DropWords(0.3)])
    texts = drawn(bank, 1)
    assert len(texts) == 4
    assert texts != bank.texts(NAME)
    assert NAME in texts[0]
    steps = zip(texts[1:], bank.texts(NAME)[1:], strict=True)
    assert all(set(step.split()) <= set(original.split()) for step, original in steps)


def test_words_of_a_file_are_replaced_outside_of_the_class_name(tmp_path: Path) -> None:
    (tmp_path / "words.yaml").write_text("water: [juice]\nglass: [cup, beaker]\n")
    always = Synonyms(str(tmp_path / "words.yaml"), share=1.0)
    found = {always("pouring water: water in a glass", "description", NAME, dice(s)) for s in range(20)}
    assert found == {"pouring water: juice in a cup", "pouring water: juice in a beaker"}
    assert Synonyms(str(tmp_path / "words.yaml"), share=0.0)("a glass", "step", NAME, dice()) == "a glass"


def test_the_class_name_is_kept_however_it_is_written(tmp_path: Path) -> None:
    """Names of benchmarks begin with a large letter, texts about them do not."""
    (tmp_path / "words.yaml").write_text("water: [juice]\npouring: [spilling]\nsit: [rest]\n")
    always = Synonyms(str(tmp_path / "words.yaml"), share=1.0)
    assert always("pouring water: water runs", "description", "Pouring water", dice()) == "pouring water: juice runs"
    assert DropWords(1.0)("slowly pouring water away", "step", "Pouring Water", dice()) == "pouring water"
    assert DropWords(1.0)("visits are short, sit", "description", "Sit", dice()) == "sit"
    assert {ReorderClauses()("u, v w, z", "description", "U, V W", dice(s)) for s in range(20)} == {"u, v w, z"}
    kept = {ReorderClauses()("u, v w, z", "description", "V w", dice(s)) for s in range(60)}
    assert len(kept) == 6

    class Own(Augmentation):
        def change(self, text: str, kind: str, name: str, generator: torch.Generator) -> str:
            return "something else"

    with pytest.raises(ValueError, match="Own took the class name 'Pouring water' out of"):
        Own()("pouring water", "description", "Pouring water", dice())


@pytest.mark.parametrize("content", ["- a\n", "a: b\n", "a: []\n", "{"])
def test_a_file_of_synonyms_of_another_form_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "words.yaml").write_text(content)
    with pytest.raises(ValueError, match=r"words\.yaml"):
        Synonyms(str(tmp_path / "words.yaml"))
    with pytest.raises(FileNotFoundError, match="none"):
        Synonyms(str(tmp_path / "none.yaml"))


def test_dropping_leaves_name_templates_and_at_least_one_word() -> None:
    drop = DropWords(1.0)
    assert drop("a jug is lifted", "step", NAME, dice()) == "a jug is lifted"  # all of it would be lost
    assert drop("slowly pouring water into it", "description", NAME, dice()) == NAME
    assert drop("a photo of pouring water", "template", NAME, dice()) == "a photo of pouring water"
    words = "one two three four five six seven eight nine ten"
    kept = [len(DropWords(0.3)(words, "step", NAME, dice(s)).split()) for s in range(300)]
    assert sum(kept) / 300 == pytest.approx(7, abs=0.3)


def test_clauses_of_descriptions_change_places_and_steps_never_do() -> None:
    text = "a, b, c"
    found = {ReorderClauses()(text, "description", "x", dice(s)) for s in range(60)}
    assert len(found) == 6
    assert all(sorted(each.split(", ")) == ["a", "b", "c"] for each in found)
    assert {ReorderClauses()(text, "step", "x", dice(s)) for s in range(20)} == {text}
    assert {ReorderClauses()("u, v w, z", "description", "u, v", dice(s)) for s in range(20)} == {"u, v w, z"}


def test_an_augmentation_of_ones_own_may_not_lose_the_name_or_everything() -> None:
    class Own(Augmentation):
        def change(self, text: str, kind: str, name: str, generator: torch.Generator) -> str:
            return text.replace("pouring", "spilling") if kind == "template" else " "

    with pytest.raises(ValueError, match="Own took the class name 'pouring water' out of"):
        Own()("a photo of pouring water", "template", NAME, dice())
    with pytest.raises(ValueError, match="Own left nothing"):
        Own()("a jug", "step", NAME, dice())


@pytest.mark.parametrize("mix", [{}, {"template": 0.0}, {"template": -1.0, "name": 2.0}, {"verse": 1.0}])
def test_shares_that_are_none_are_refused_when_the_bank_is_made(mix: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="mix must give kinds"):
        TextBank(mix=mix)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="share is a probability"):
        DropWords(1.5)


def test_a_class_without_a_text_of_a_kind_that_may_be_drawn_is_named(file: str) -> None:
    bank = TextBank(descriptions=file, mix={"template": 0.99, "description": 0.01})
    with pytest.raises(ValueError, match="'swimming'"):
        bank.sample(["swimming"] * 2, bank.mix or {}, dice())
    assert Sentence("a photo of swimming", "template") in bank.sentences("swimming")
