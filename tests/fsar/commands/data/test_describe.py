"""fsar describe: the prompt names the classes, and an answer is checked as packs are."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fsar.commands.data.describe import PROMPT, check_texts, main
from fsar.text.packs import SHA256, find_texts

GOOD = {
    "pour water": {
        "description": ["a jug is tilted", "water runs"],
        "step": ["it is up", "it tilts", "it runs"],
    },
    "drink": {"description": ["lips at a cup", "a person swallows"], "step": ["a cup is up", "it tilts", "it is down"]},
}


def write(path: Path, content: object) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_prompt_names_every_class(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("drink", "pour water", ".cache"):
        (tmp_path / name).mkdir()
    main(["--prompt", "--root", str(tmp_path), "--classes", "wave"])
    assert capsys.readouterr().out.endswith("Classes:\n- wave\n- drink\n- pour water\n")
    assert "description: {0} to {1}" in PROMPT


def test_a_good_answer_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--check", str(write(tmp_path / "texts.yaml", GOOD)), "--classes", "pour_water", "drink"])
    assert "2 classes well described" in capsys.readouterr().out


def test_everything_wrong_is_told(tmp_path: Path) -> None:
    bad = {
        "a": GOOD["drink"],
        "b": GOOD["drink"],
        "c": {"description": ["word " * 60, "short"], "step": ["one", "two"]},
    }
    wrong = check_texts(write(tmp_path / "texts.yaml", bad), ["a", "b", "c", "d"])
    assert wrong == [
        "b: its descriptions are those of a; no text tower can tell them apart.",
        "b: its steps are those of a; no text tower can tell them apart.",
        "c: 2 of kind step, expected 3 to 5.",
        f"c: {('word ' * 60)[:50]!r}... has 62 tokens, more than 40.",
        "d: nothing is said about it.",
    ]


def test_our_own_packs_pass() -> None:
    assert all(check_texts(find_texts(pack), []) == [] for pack in SHA256)


def test_wrong_uses_end_with_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for args, message in (
        (["--prompt"], "say which classes"),
        (["--prompt", "--root", str(tmp_path / "none")], "expected a folder with one folder a class"),
        (["--check", str(write(tmp_path / "bad.yaml", {"a": ["one text"]}))], "2 mistakes"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(args)
        assert message in f"{ended.value} {capsys.readouterr().err}"
