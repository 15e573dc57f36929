"""What is said about classes: prompt templates and banks of descriptions."""

from fsar.text.augment import Augmentation, DropWords, ReorderClauses, Synonyms
from fsar.text.bank import ClassTexts, TextBank, ensemble
from fsar.text.by_name import parse_texts
from fsar.text.chunks import chunks, encode_whole
from fsar.text.kinds import Kind, Sentence
from fsar.text.phrases import PatchPhraseMap
from fsar.text.prompts import TEMPLATES, clean_name

__all__ = [
    "TEMPLATES",
    "Augmentation",
    "ClassTexts",
    "DropWords",
    "Kind",
    "PatchPhraseMap",
    "ReorderClauses",
    "Sentence",
    "Synonyms",
    "TextBank",
    "chunks",
    "clean_name",
    "encode_whole",
    "ensemble",
    "parse_texts",
]
