"""Published numbers stand in one file; pages and the heads of recipes say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from episodes.benchmarks import definitions
from fsar.reproduction.facts import QUOTED, SAME_NUMBERS, facts_of, read_facts
from fsar.terminal.files.shipped import find_shipped

ROOT = Path(__file__).resolve().parents[3]
COLUMNS = ("ssv2_full", "ssv2_small", "kinetics100", "ucf101", "hmdb51")
BACKBONES = {"RN50": "RN50", "ViT-B/16": "ViT-B-16"}
ROWS = {
    "frozen CLIP, OTAM": "prototype",
    "CLIP-FSAR": "clip_fsar",
    "MA-CLIP": "ma_clip",
    "D2ST-Adapter, no text": "d2st",
    "EMP-Net": "emp_net",
    "CLIP-MEI, transductive": "clip_mei",
    "CLIP-SPM, transductive": "clip_spm",
    "TS-FSAR, texts by a language model": "ts_fsar",
    "TRX": "trx",
    "HyRSM": "hyrsm",
    "HyRSM++ (recalled, not looked up)": "hyrsm_plus_plus",
    "STRM (5-shot; recalled, not looked up)": "strm",
    "TA2N (recalled, not looked up)": "ta2n",
    "MoLo": "molo",
    "TEAM": "team",
}
NONE_OF_ITS_OWN = {"CLIP-FSAR, `inference: combined`"}


def test_every_fact_is_of_a_method_and_a_benchmark_that_there_are() -> None:
    for name, facts in read_facts().items():
        assert find_shipped(f"method/{name}"), name
        assert facts.quoted in QUOTED
        assert facts.source.startswith("https://")
        assert set(facts.lists) | set(facts.lists.values()) <= set(definitions())
        for rows in facts.numbers.values():
            assert set(rows) <= set(COLUMNS)
            assert all(value is None or 20 < value < 100 for pair in rows.values() for value in pair)


def test_the_page_of_methods_has_the_same_numbers() -> None:
    page = (ROOT / "docs" / "methods.md").read_text()
    tables = page.split("## Published numbers")[1].split("\n## ")[0]
    found: dict[str, set[str]] = {}
    for line in tables.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        name = re.sub(r" [¹²³⁴⁵⁶⁷]$", "", cells[0])
        if len(cells) < 6 or name in NONE_OF_ITS_OWN or name not in ROWS:
            assert len(cells) < 6 or name in {"method", *NONE_OF_ITS_OWN} or set(name) == {"-"}, (
                f"{name}: add it to ROWS"
            )
            continue
        backbone = BACKBONES[cells[1]] if len(cells) == 7 else "resnet50"
        found.setdefault(ROWS[name], set()).add(backbone)
        numbers = facts_of(ROWS[name]).numbers[backbone]
        for benchmark, cell in zip(COLUMNS, cells[-5:], strict=True):
            pair = numbers.get(benchmark)
            told = "–" if pair is None else " / ".join(f"{value:.1f}" for value in pair if value is not None)
            assert cell == told, f"{name}, {benchmark}: the page says {cell}, published.yaml {told}"
    assert found == {name: set(facts.numbers) for name, facts in read_facts().items() if name != "otam"}


@pytest.mark.parametrize("name", sorted(read_facts()))
def test_the_heads_of_the_recipes_have_the_same_numbers(name: str) -> None:
    facts = facts_of(name)
    for file in (ROOT / "configs" / "method" / name).glob("*.yaml"):
        found = re.fullmatch(r"(ssv2_full|ssv2_small|kinetics100|ucf101|hmdb51)(_([15])shot)?", file.stem)
        if not found:
            continue
        head = " ".join(line[1:].strip() for line in file.read_text().splitlines() if line.startswith("#"))
        for rows in facts.numbers.values():
            shots = (0, 1) if found[3] is None else ((1, 5).index(int(found[3])),)
            pair = rows.get(found[1], (None, None))
            assert all(pair[i] is None or re.search(rf"\b{pair[i]:.1f}\b", head) for i in shots), file


def test_a_number_is_found_under_the_names_of_variants() -> None:
    assert facts_of("clip_fsar").number("RN50", "kinetics100_clipfsar", 1) == (87.6, "RN50")
    assert facts_of("clip_fsar").lists_of("kinetics100") == "kinetics100_clipfsar"
    assert facts_of("clip_fsar").number("another", "hmdb51", 1) == (69.2, "RN50")
    assert facts_of("clip_fsar").number("RN50", "hmdb51", 3) == (None, "RN50")
    assert facts_of("none").number("RN50", "hmdb51", 1) == (None, "")
    assert set(SAME_NUMBERS) | set(SAME_NUMBERS.values()) <= set(definitions())
