"""What is said about each class: its name, sentences made of it, descriptions, and the steps it consists of."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn.functional import normalize

from fsar.text.augment import Augmentation
from fsar.text.chunks import Encodes, encode_whole
from fsar.text.files import read_texts
from fsar.text.kinds import Kind, Sentence, check_kinds, check_mix
from fsar.text.packs import SHA256, find_texts
from fsar.text.prompts import TEMPLATES, Brackets, TemplateSet, clean_name


class ClassTexts(NamedTuple):
    """Features of all texts of some classes.

    >>> features = torch.tensor([[[2.0, 0.0], [0.0, 0.0]]])  # one class with one text of two places
    >>> ClassTexts(features, torch.tensor([[True, False]])).mean()
    tensor([[1., 0.]])
    """

    features: Tensor  # (C m d), un-normalised; zeros where a class has fewer than m
    mask: Tensor  # (C m) bool, true where there is a text

    def mean(self) -> Tensor:
        """``(C d)`` unit vectors ``L2n(mean_m L2n(features))``: CLIP's prompt ensemble."""
        return ensemble(self.features, self.mask)

    def plain_mean(self) -> Tensor:
        """``(C d)``, the mean of the features as they are, as text towers are read by CLIP-FSAR and its kin."""
        return (self.features * self.mask[..., None]).sum(-2) / self.mask.sum(-1, keepdim=True)


def ensemble(features: Tensor, mask: Tensor | None = None) -> Tensor:
    """``(... m d) -> (... d)``: normalise, average over the texts, normalise (Radford et al. 2021, section 3.1.4).

    >>> ensemble(torch.tensor([[2.0, 0.0], [0.0, 5.0]]))
    tensor([0.7071, 0.7071])
    """
    unit = normalize(features, dim=-1)
    return normalize(unit.mean(-2) if mask is None else (unit * mask[..., None]).sum(-2), dim=-1)


class TextBank:
    """Several texts per class, each with its kind.

    A file of descriptions is YAML or JSON: a class name with a list of descriptions, or with lists by kind::

        brush hair: [A hand moves a brush through long hair.]
        pour:
          description: [A liquid runs from one vessel into another.]
          step: [a bottle is lifted, it tilts over a glass, liquid runs out, the bottle is put down]

    Args:
        templates: sentences that hold {} for the class name, or a published set: "photo" is CLIP-FSAR's single one,
            "names" the bare name (Something-Something V2), "kinetics" CLIP's 28, "ucf101" CLIP's 48, "imagenet" CLIP's
            7, "action_clip" ActionCLIP's 16.
        descriptions: a YAML or JSON file of further texts, or a pack of them that ships: "ssv2", "kinetics100",
            "ucf101", "hmdb51", "diving48", "shapes" (fsar.text.packs).
        kinds: which texts speak for a class when a method does not ask for others.
        brackets: keep or strip the brackets of "[something]" in a class name.
        placeholders: what to say instead of a bracket, ``{something: an object}``.
        mix: in training, one text speaks for a class in an episode, of a kind that is drawn with these shares (VeCLIP):
            ``{template: 0.5, description: 0.5}``. Evaluation is as without it.
        augment: what changes texts in training (fsar.text.augment), one after the other.

    Raises:
        FileNotFoundError: when the file does not exist.
        ValueError: no template or one without {}, a file of another form, kinds or shares that are none.

    >>> TextBank(["a person who is {}", "{} in a kitchen"]).texts("pouring")
    ['a person who is pouring', 'pouring in a kitchen']
    """

    def __init__(
        self,
        templates: TemplateSet | list[str] = "photo",
        descriptions: str | None = None,
        kinds: list[Kind] | None = None,
        brackets: Brackets = "raw",
        placeholders: dict[str, str] | None = None,
        mix: dict[Kind, float] | None = None,
        augment: list[Augmentation] | None = None,
    ) -> None:
        self.templates = TEMPLATES[templates] if isinstance(templates, str) else tuple(templates)
        if not self.templates or any("{}" not in template for template in self.templates):
            raise ValueError(f"templates must be texts that each hold {{}}, found {templates!r}.")
        self.kinds: tuple[Kind, ...] = ("template",) if kinds is None else check_kinds(kinds, "texts")
        self.brackets: Brackets = brackets
        self.placeholders = placeholders
        self.mix = None if mix is None else check_mix(mix)
        self.augment = tuple(augment or ())
        self._dice: torch.Generator | None = None  # while a training step draws
        self.source = descriptions
        self.given = {} if descriptions is None else read_descriptions(find_texts(descriptions))
        keys = Counter(map(plain_key, self.given))
        self._by_key = {key: said for n, said in self.given.items() if keys[key := plain_key(n)] == 1}

    def sentences(self, name: str) -> tuple[Sentence, ...]:
        """All that is said about a class: its name, the filled templates, then what the file says, in its order."""
        said = clean_name(name, self.brackets, self.placeholders)
        own = [Sentence(said, "name"), *(Sentence(t.replace("{}", said), "template") for t in self.templates)]
        return (*own, *self.said_of(name))

    def texts(self, name: str, kinds: Sequence[Kind] | None = None) -> list[str]:
        """Texts of the class of these kinds, by default those of the bank.

        Raises:
            ValueError: when there is none.
        """
        return [sentence.text for sentence in self.chosen(name, kinds)]

    def chosen(self, name: str, kinds: Sequence[Kind] | None = None) -> list[Sentence]:
        """As :meth:`texts`, each with its kind."""
        wanted = self.kinds if kinds is None else kinds
        found = [sentence for sentence in self.sentences(name) if sentence.kind in wanted]
        if not found:
            close = difflib.get_close_matches(name, self.given, n=1)
            raise ValueError(
                f"there is no text of kind {' or '.join(wanted)} about the class {name!r}"
                + (f" in {self.source}" if self.source else ": no file of descriptions was given")
                + (f" (it speaks of {close[0]!r})" if close and close[0] != name else "")
                + (f"; the pack {other!r} speaks of it" if (other := self._pack_of(name)) else "")
                + ". Add it, or ask for the kind 'template', which every class has."
            )
        return found

    def check(self, names: Sequence[str], kinds: Sequence[Kind], reader: str) -> None:
        """Refuse classes of which nothing of these kinds is said.

        Args:
            names: of the classes.
            kinds: any of which will do.
            reader: who reads them, for the message.

        Raises:
            ValueError: names the reader, the first such class, how many there are, and a class or pack that is near.
        """
        silent = [name for name in names if not any(said.kind in kinds for said in self.sentences(name))]
        if silent:
            try:
                self.chosen(silent[0], kinds)
            except ValueError as error:
                more = f" ({len(silent)} of these {len(names)} classes have none.)" if len(silent) > 1 else ""
                raise ValueError(f"{reader}: {error}{more}") from None

    def _pack_of(self, name: str) -> str | None:
        """A pack that ships, other than the bank's, and speaks of the class."""
        others = (each for each in SHA256 if each != self.source)
        return next((each for each in others if TextBank(descriptions=each).said_of(name)), None)

    def said_of(self, name: str) -> tuple[Sentence, ...]:
        """What the file or pack says about a class; nothing where it does not know it."""
        return self.given.get(name) or self._by_key.get(plain_key(name), ())

    @property
    def options(self) -> dict[str, Any]:
        """What it was made of, as a configuration says it."""
        said = {"templates": list(self.templates), "descriptions": self.source, "kinds": list(self.kinds)}
        return {**said, "brackets": self.brackets, "placeholders": self.placeholders}

    @property
    def sha256(self) -> str:
        """Over all that the bank may say, for a result to name it."""
        given = [[name, [[each.kind, each.text] for each in said]] for name, said in sorted(self.given.items())]
        said = [self.templates, self.kinds, self.brackets, self.placeholders, given]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def features(self, encoder: Encodes, names: Sequence[str], kinds: Sequence[Kind] | None = None) -> ClassTexts:
        """Encode the texts of ``C`` classes; ``m`` is the largest number of texts of a class.

        Texts longer than the encoder reads are split and averaged, with a warning that counts them.
        """
        if self._dice is None:
            texts = [self.texts(name, kinds) for name in names]
        elif self.mix is not None and kinds is None:
            texts = [[text] for text in self.sample(names, self.mix, self._dice)]
        else:
            texts = [[self.changed(x, name, self._dice) for x in self.chosen(name, kinds)] for name in names]
        counts = torch.tensor([len(some) for some in texts])
        flat = encode_whole(encoder, [text for some in texts for text in some])
        features = torch.nn.utils.rnn.pad_sequence(list(flat.split(counts.tolist())), batch_first=True)
        mask = torch.arange(features.shape[1]) < counts[:, None]
        return ClassTexts(features, mask.to(features.device))

    def sample(self, names: Sequence[str], mix: Mapping[Kind, float], generator: torch.Generator) -> list[str]:
        """One random text for each name, its kind drawn first: VeCLIP's mixing (https://arxiv.org/abs/2310.07699).

        Args:
            names: of classes, repeated if a class is to be drawn several times.
            mix: shares of the kinds, such as ``{"template": 0.5, "description": 0.5}``; without a mix of the bank's
                own, the share of a kind of which nothing is said about a class goes to the class's others.
            generator: of the draws.
        """
        shares = torch.tensor(list(check_mix(mix).values()), dtype=torch.float64)
        kinds = torch.multinomial(shares, len(names), replacement=True, generator=generator).tolist()
        places = torch.rand(len(names), generator=generator).tolist()
        options = {}
        for name in dict.fromkeys(names):
            there = {said.kind for said in self.chosen(name, list(mix))}
            options[name] = [self.chosen(name, [k] if self.mix or k in there else list(mix)) for k in mix]
        drawn = [options[name][kind] for name, kind in zip(names, kinds, strict=True)]
        picked = [some[int(place * len(some))] for some, place in zip(drawn, places, strict=True)]
        return [self.changed(sentence, name, generator) for sentence, name in zip(picked, names, strict=True)]

    def changed(self, sentence: Sentence, name: str, generator: torch.Generator) -> str:
        """The text as the augmentations leave it."""
        text, said = sentence.text, clean_name(name, self.brackets, self.placeholders)
        for each in self.augment:
            text = each(text, sentence.kind, said, generator)
        return text

    @contextmanager
    def drawing(self, seed: int) -> Iterator[None]:
        """Meanwhile :meth:`features` are those of a training step: mixed and augmented, the same for the same seed."""
        self._dice = torch.Generator().manual_seed(seed) if self.mix or self.augment else None
        try:
            yield
        finally:
            self._dice = None


def plain_key(name: str) -> str:
    """What a name that a file spells in another way is looked up by: "ApplyEyeMakeup" is "apply_eye_makeup"."""
    return re.sub(r"[\W_]", "", name.lower())


def read_descriptions(path: Path) -> dict[str, tuple[Sentence, ...]]:
    """``{class name: sentences}`` of a YAML or JSON file.

    Raises:
        FileNotFoundError: when the file does not exist.
        ValueError: names the class that is not of the form that :class:`TextBank` describes.
    """
    content = read_texts(path, "descriptions")
    if not isinstance(content, dict):
        raise ValueError(f"descriptions: {path} must map class names to texts, found {type(content).__name__}.")
    return {str(name): _sentences(f"{path}, class {name!r}", entry) for name, entry in content.items()}


def _sentences(place: str, entry: Any) -> tuple[Sentence, ...]:
    by_kind = {"description": entry} if isinstance(entry, list) else entry
    kinds = get_args(Kind)
    if not isinstance(by_kind, dict) or not by_kind or not set(by_kind) <= set(kinds):
        raise ValueError(f"{place}: expected a list of descriptions, or lists under {', '.join(kinds)}; found {entry}.")
    for kind, texts in by_kind.items():
        if not isinstance(texts, list) or not texts or not all(isinstance(x, str) and x.strip() for x in texts):
            raise ValueError(f"{place}: {kind} must be a list of texts, none of them empty, found {texts!r}.")
    numbered = (re.match(r"\s*(?:step\s*)?(\d+)\s*[.:)]", text, re.IGNORECASE) for text in by_kind.get("step", ()))
    numbers = [int(found[1]) for found in numbered if found]
    if numbers != sorted(numbers):
        raise ValueError(
            f"{place}: its steps are numbered {', '.join(map(str, numbers))}: write them in the order in which they "
            "happen, without numbers."
        )
    return tuple(Sentence(text.strip(), kind) for kind, texts in by_kind.items() for text in texts)
