"""What `fsar --help` proposes."""

from __future__ import annotations

import shlex

import pytest

from fsar.__main__ import HELP, main
from fsar.build import build


def test_the_first_example_needs_no_weights_from_elsewhere() -> None:
    first = HELP.partition("examples:\n")[2].splitlines()[0]
    program, command, *options = shlex.split(first)
    assert (program, command) == ("fsar", "fit")
    run = options.index("--run")
    learner, data = build([*options[:run], *options[run + 2 :]], "cpu")
    assert learner.method.encoder.identity.startswith("fsar-tiny")
    assert data.benchmark is not None


@pytest.mark.parametrize(
    "words",
    [
        ["--model.alignment.help", "OTAM", "-c", "method/otam"],  # a file after it
        ["-c", "method/otam", "--model.alignment.help", "OTAM"],
        ["--model.alignment.help=OTAM", "-c", "trainer"],  # a file that names no method
    ],
)
def test_the_help_of_a_part_stands_anywhere(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", *words])
    assert "\n  --model.method.alignment.temperature TEMPERATURE\n" in capsys.readouterr().out


def test_the_help_of_no_class_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--model.encoder.help", "-c", "method/otam"])
    assert "--model.method.encoder.help: expected the name of a class" in capsys.readouterr().err


@pytest.mark.parametrize("asked", ["--model.alignment.help", "--model.method.alignment.help"])
def test_the_help_of_a_part_prints_whole_names(asked: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["test", asked, "OTAM"])
    out = capsys.readouterr().out
    assert "\n  --model.method.alignment.temperature TEMPERATURE\n" in out
    assert "Show the help for" in out.partition("--model.method.alignment.cost.help")[2]
    assert "--alignment" not in out.replace("--model.method.alignment", "")
