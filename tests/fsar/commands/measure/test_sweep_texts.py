"""``fsar sweep --texts``: the same method and episodes under several texts; who takes them, and where each is kept."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from fsar.__main__ import main
from fsar.alignment import OTAM
from fsar.commands.measure.sweep import percent
from fsar.commands.measure.text_words import check_texts
from fsar.encoders import ClipEncoder
from fsar.evaluation.comparing.comparison import find, paired_difference
from fsar.methods import ClipFSAR, CoOp, Prototype
from fsar.text import parse_texts


def learner(kind: Any, *args: Any) -> Any:
    return SimpleNamespace(method=kind(ClipEncoder("fsar-tiny", "shapes"), *args))


def test_the_same_episodes_under_several_texts(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fsar"])
    texts = {f"class {i}": {"description": [f"{word} thing moves"]} for i, word in zip((6, 7, 8), "abc", strict=True)}
    Path("mine.yaml").write_text(yaml.safe_dump(texts))
    command = f"sweep -c {config} --model.method ZeroShot --out out --shots 1 --data.test_queries 2 --texts"
    monkeypatch.setattr("fsar.evaluation.bank.scoring.CPUINFO", tmp_path / "none")
    main(
        shlex.split(
            f"{command.replace('--texts', '--model.scoring bf16 --texts')} names mine.yaml mine.yaml:name+description"
        )
    )
    told = capsys.readouterr().out
    folders = ("names", "mine", "mine_name+description")
    found = [json.loads(next(Path("out/texts", name).glob("results/*/results.json")).read_text()) for name in folders]
    words = ("names", "mine.yaml", "mine.yaml:name+description")
    said = ("1 template", "description", "name, description")
    for result, word, kinds in zip(found, words, said, strict=True):
        bank = parse_texts(word)
        assert (result["texts"], result["texts_sha256"]) == (bank.source, bank.sha256)
        assert tuple(result["text_kinds"]) == bank.kinds
        assert result["config"]["model"]["method"]["init_args"]["texts"]["init_args"] == bank.options
        assert f"\n| {word} ({kinds}) | 3 | 1 |  | {percent(result)} | " in told
    assert told.startswith("| texts | ways | shots | inference | accuracy, % | minus the first, paired | ")
    table, below = told.split("\n\n", 1)
    assert [line[0] for line in table.splitlines()] == ["|"] * 5
    assert below.startswith("scored in bf16; ")
    assert len({result["texts_sha256"] for result in found}) == 3
    assert len({result["data"]["episodes_sha256"] for result in found}) == 1
    rows = [next(Path("out/texts", name).glob("results/*/episodes.csv.gz")).read_bytes() for name in folders]
    assert len(set(rows)) == 3  # other texts score otherwise
    gain, half, _ = paired_difference(*find([Path("out/texts", folders[0]), Path("out/texts", folders[2])]))
    assert f"| {percent(found[2])} | {100 * gain:+.2f} ± {100 * half:.2f} |" in told
    with pytest.raises(SystemExit) as end:
        main(shlex.split(f"{command} names hmdb51"))
    assert "--texts: there is no text of kind description about the class 'class 6' in hmdb51" in f"{end.value}"
    assert "encoded" not in capsys.readouterr().out


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
