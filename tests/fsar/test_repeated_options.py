"""An option that stands there twice, of which the second would win in silence, is refused by every command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import fsar.commands.look.predict
import fsar.web.app
from fsar.commands.train.fit import expand
from fsar.inference.predictor import configure
from fsar.terminal.failure import Options
from fsar.terminal.files.config_files import refuse_twice

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "words",
    [
        ["--run", "A", "--run", "B"],
        ["--run", "A", "--run=B"],
        ["--run", "A", "--run", "A"],
        ["--data.ways", "2", "--data.shots", "1", "--data.ways=3"],
        ["--model.alignment", "OTAM", "--model.method.alignment", "DTW"],
        ["--model.depth", "1", "--model.method.init_args.depth", "2"],
        ["--model.method", "ClipFSAR", "--model.method.class_path", "Prototype"],
        ["--trainer.callbacks+=A", "--trainer.callbacks.every", "1", "--trainer.callbacks.every", "2"],
    ],
)
def test_refused(words: list[str]) -> None:
    with pytest.raises(ValueError, match="is given twice, as --"):
        expand(["test", *words])
    if "--run" not in words:
        with pytest.raises(ValueError, match="is given twice"):
            configure(words)


def test_both_values_are_said() -> None:
    with pytest.raises(ValueError, match="--run is given twice, as --run A and as --run B: keep one of them"):
        refuse_twice(["fit", "--run", "A", "--data.ways", "2", "--run", "B"])


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["-c", "a.yaml", "-c", "b.yaml", "--config", "c.yaml", "--config=d.yaml"],
        ["--trainer.callbacks+=A", "--trainer.callbacks.every", "1", "--trainer.callbacks+=B"],
        [
            "--trainer.callbacks+=A",
            "--trainer.callbacks.every=1",
            "--trainer.callbacks+=A",
            "--trainer.callbacks.every=1",
        ],
        ["--trainer.callbacks+", "A", "--trainer.callbacks+", "B"],
        ["--model.alignment", "OTAM", "--model.alignment.temperature", "0.1", "--model.encoder.temperature", "1"],
        ["--data.shots", "-1", "--data.ways", "-1"],
        ["--help", "--help"],
    ],
)
def test_what_adds_up_may_be_repeated(words: list[str]) -> None:
    refuse_twice(words)


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (fsar.commands.look.predict.read, ["--support", "s", "--query", "q", "--run", "A", "--run", "B"]),
        (fsar.commands.look.predict.read, ["--support", "s", "--support=t", "--query", "q", "--run", "A"]),
        (
            fsar.commands.look.predict.read,
            ["--support", "s", "--query", "q", "--run", "A", "--data.size", "8", "--data.size", "9"],
        ),
        (fsar.web.app.read, ["A", "--port", "1", "--port", "2"]),
    ],
)
def test_predict_and_the_page(
    read: Callable[[list[str]], object], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        read(words)
    assert stopped.value.code == 2
    assert "is given twice" in capsys.readouterr().err


def options() -> Options:
    parser = Options("A tool.")
    parser.add_argument("--out")
    parser.add_argument("--ways", nargs="+", type=int)
    parser.add_argument("--name", action="append")
    parser.add_argument("--quick", action="store_true")
    return parser


@pytest.mark.parametrize("words", [["--out", "a", "--out", "b"], ["--ways", "2", "3", "--ways", "5"]])
def test_tools(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options().parse_args(words)
    assert f"{words[0]} is given twice" in capsys.readouterr().err


def test_tools_take_what_adds_up() -> None:
    found = options().parse_args(["--name", "a", "--name", "b", "--quick", "--quick", "--ways", "2", "3"])
    assert (found.name, found.quick, found.ways) == (["a", "b"], True, [2, 3])


def test_every_tool_reads_its_options_so() -> None:
    """No parser beside the two that look for it."""
    for path in sorted([*(ROOT / "tools").glob("*.py"), *(ROOT / "fsar").rglob("*.py")]):
        source = path.read_text()
        if path.name not in ("failure.py", "usage.py"):
            assert "argparse.ArgumentParser(" not in source, path
        if "Parser(" in source and "add_argument" in source and path.name not in ("check_alignment.py", "build.py"):
            assert "refuse_twice" in source or "spell_out" in source or "Options(__doc__" in source, path
