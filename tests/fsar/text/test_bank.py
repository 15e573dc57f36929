"""The text bank: kinds, files, long texts, ensembles, random mixing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from fsar.text import Sentence, TextBank, chunks, encode_whole, ensemble

TEXTS = """
brush hair: [A hand moves a brush through hair., Long hair is combed.]
pour:
  name: [pouring]
  description: [A liquid runs from one vessel into another.]
  step: [a bottle is lifted, it tilts over a glass, the bottle is put down]
"""


class Letters:
    """Counts letters; reads texts of at most so many characters."""

    def __init__(self, longest: int = 40) -> None:
        self.longest = longest
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str]) -> Tensor:
        self.seen += texts
        return torch.tensor([[text.count(c) + 0.1 for c in "aeiou"] for text in texts])

    def fits(self, text: str) -> bool:
        return len(text) <= self.longest


@pytest.fixture
def bank(tmp_path: Path) -> TextBank:
    (tmp_path / "texts.yaml").write_text(TEXTS)
    return TextBank(templates=["a photo of {}", "{}!"], descriptions=str(tmp_path / "texts.yaml"))


def test_kinds(bank: TextBank) -> None:
    assert bank.texts("pour") == ["a photo of pour", "pour!"]
    assert bank.texts("pour", ["name"]) == ["pour", "pouring"]
    steps = ["a bottle is lifted", "it tilts over a glass", "the bottle is put down"]
    assert bank.texts("pour", ["step"]) == steps
    assert bank.texts("brush hair", ["description"])[1] == "Long hair is combed."
    assert bank.sentences("swim") == (
        Sentence("swim", "name"),
        Sentence("a photo of swim", "template"),
        Sentence("swim!", "template"),
    )


def test_a_file_speaks_of_classes_by_their_whole_names(tmp_path: Path) -> None:
    name = "Pushing [something]_here"
    (tmp_path / "texts.json").write_text(json.dumps({name: ["An object is moved."], "Pushing something here": ["No."]}))
    bank = TextBank(["{}"], str(tmp_path / "texts.json"), brackets="stripped")
    assert bank.texts(name) == ["Pushing something here"]
    assert bank.texts(name, ["description"]) == ["An object is moved."]


def test_json_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "texts.json").write_text(json.dumps({"pour": ["A liquid runs."]}))
    assert TextBank(descriptions=str(tmp_path / "texts.json")).texts("pour", ["description"]) == ["A liquid runs."]


def test_a_class_without_such_a_text_is_named(bank: TextBank) -> None:
    with pytest.raises(ValueError, match=r"no text of kind step about the class 'brush hair' in .*texts.yaml"):
        bank.texts("brush hair", ["step"])
    with pytest.raises(ValueError, match="it speaks of 'brush hair'"):
        bank.texts("brush hairs", ["description"])
    with pytest.raises(ValueError, match="no file of descriptions was given"):
        TextBank().texts("pour", ["description"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a list", "must map class names to texts, found list"),
        ("pour: {verb: [x]}", "class 'pour'.*expected a list of descriptions"),
        ("pour: {step: x}", "step must be a list of texts, none of them empty, found 'x'"),
        ("pour: {step: ['2. full', 'Step 1: lifted']}", "its steps are numbered 2, 1: write them in the order"),
        ("pour: []", "description must be a list of texts"),
        ("pour: [1]", "description must be a list of texts"),
        ("pour: {step: [a, ' ']}", "step must be a list of texts, none of them empty, found"),
        ("pour: ['']", "description must be a list of texts, none of them empty"),
        ("pour: {}", "class 'pour'.*expected a list of descriptions"),
        ("a: [b", "neither YAML nor JSON"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "texts.yaml").write_text(content)
    with pytest.raises(ValueError, match=message):
        TextBank(descriptions=str(tmp_path / "texts.yaml"))


def test_missing_file_and_template() -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere.yaml does not exist"):
        TextBank(descriptions="nowhere.yaml")
    for templates in (["a photo"], []):
        with pytest.raises(ValueError, match="templates must be texts"):
            TextBank(templates=templates)
    for kinds in ([], ["steps"]):
        with pytest.raises(
            ValueError, match="texts: kinds must name one or more of name, template, description, step,"
        ):
            TextBank(kinds=kinds)  # type: ignore[arg-type]


def test_all_classes_are_looked_at_before_any_is_encoded() -> None:
    bank = TextBank(descriptions="shapes")
    bank.check(["anything"], ["template"], "Toy")
    names = ["joining two things into one", "brush_hair", "ApplyLipstick"]
    said = (
        r"Toy: .* step or description .* 'brush_hair' in shapes; the pack 'hmdb51' .*\(2 of these 3 classes have none"
    )
    with pytest.raises(ValueError, match=said):
        bank.check(names, ["step", "description"], "Toy")


def test_features_of_classes_with_different_numbers_of_texts(bank: TextBank) -> None:
    letters = Letters(60)
    texts = bank.features(letters, ["pour", "brush hair"], ["name", "description"])
    assert texts.features.shape == (2, 3, 5)
    assert texts.mask.sum(-1).tolist() == [2 + 1, 1 + 2]
    fewer = bank.features(letters, ["pour", "swim"], ["name"])
    assert fewer.mask.tolist() == [[True, True], [True, False]]
    alone = normalize(letters.encode(["swim"]), dim=-1)
    torch.testing.assert_close(fewer.mean()[1], alone[0])
    both = normalize(normalize(letters.encode(["pour", "pouring"]), dim=-1).mean(0), dim=-1)
    torch.testing.assert_close(fewer.mean()[0], both)


def test_one_text_is_itself_in_an_ensemble() -> None:
    x = torch.randn(4, 1, 6)
    torch.testing.assert_close(ensemble(x), normalize(x[:, 0], dim=-1))


def test_long_texts_are_split_at_sentences_with_a_warning() -> None:
    letters = Letters()
    text = "A hand takes a brush. It moves through hair. Then it is put down."
    with pytest.warns(UserWarning, match=r"1 of 2 texts longer .* split into 3 pieces"):
        features = encode_whole(letters, [text, "short"])
    pieces = ["A hand takes a brush.", "It moves through hair.", "Then it is put down."]
    assert letters.seen == [*pieces, "short"]
    torch.testing.assert_close(features[0], Letters().encode(pieces).mean(0))


def test_chunks_are_few_and_lose_nothing() -> None:
    def fits(text: str) -> bool:
        return len(text) <= 12

    assert chunks("One. Two. Three four. Five", fits) == ["One. Two.", "Three four.", "Five"]
    text = "a sentence without any stop that is far too long"
    assert " ".join(chunks(text, fits)) == text
    assert all(fits(piece) for piece in chunks(text, fits))
    with pytest.raises(ValueError, match="is one word and longer"):
        chunks("incomprehensibilities", fits)


def test_two_long_texts_that_differ_at_the_end_differ() -> None:
    start = "A hand takes a brush. It moves through hair. "
    with pytest.warns(UserWarning, match="2 of 2"):
        a, b = encode_whole(Letters(), [start + "It stops.", start + "It goes on and on."])
    assert not torch.equal(a, b)


def test_mixing_kinds_at_random(bank: TextBank) -> None:
    names = ["pour"] * 4000
    draw = [bank.sample(names, {"name": 1, "description": 3}, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert draw[0] == draw[1] != draw[2]
    counts = Counter(draw[0])
    assert set(counts) == {"pour", "pouring", "A liquid runs from one vessel into another."}
    assert counts["A liquid runs from one vessel into another."] == pytest.approx(3000, abs=120)
    assert counts["pour"] == pytest.approx(500, abs=100)
    only = bank.sample(["pour"] * 50, {"template": 0, "step": 1}, torch.Generator())
    assert set(only) <= set(bank.texts("pour", ["step"]))
    both = {"template": 1.0, "description": 1.0}
    assert set(bank.sample(["unknown"] * 20, both, torch.Generator())) == set(bank.texts("unknown", ["template"]))
    with pytest.raises(ValueError, match="mix must give kinds"):
        bank.sample(["pour"], {"name": 0.0}, torch.Generator())
