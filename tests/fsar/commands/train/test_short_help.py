"""The page of ``fsar fit --help``: short, and true of the code."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from typing import Any

import pytest
from lightning.pytorch import Trainer

from episodes.datamodule import EpisodicDataModule
from fsar.commands import COMMANDS
from fsar.commands.train.short_help import GROUPS, is_short, write_short
from fsar.training.learner import Learner

TAKEN: dict[str, Any] = {"data": EpisodicDataModule, "model": Learner, "trainer": Trainer}
SHORTHANDS = {"encoder", "alignment"}
OPTIONS = {option: words for _, options in GROUPS.values() for option, words in options.items()}
NAMED = [option for option in OPTIONS if option.startswith(("--data", "--model", "--trainer"))]


@pytest.mark.parametrize(
    "option", [option for option in OPTIONS if option.startswith(("--data", "--model", "--train"))]
)
def test_an_option_is_there_and_its_default_is_what_is_said(option: str) -> None:
    section, name = option.split()[0].removeprefix("--").split(".")[:2]
    if section == "model" and name in SHORTHANDS:
        return
    parameter = inspect.signature(TAKEN[section].__init__).parameters[name]
    if said := re.search(r"\((\w+)\)$", OPTIONS[option]):
        assert str(parameter.default) == said[1]


@pytest.mark.parametrize("command", ["fit", "validate", "test"])
def test_it_is_a_page(command: str) -> None:
    lines = write_short(command, COMMANDS[command].summary).splitlines()
    assert 30 < len(lines) <= 68
    assert max(map(len, lines)) <= 120
    assert ("--trainer.max_epochs" in "\n".join(lines)) is (command == "fit")


@pytest.mark.parametrize(
    ("line", "short"),
    [
        ("fit --help", True),
        ("fit -c a.yaml -h", True),
        ("fit --help all", False),
        ("fit --model.alignment.help OTAM", False),
        ("fit", False),
    ],
)
def test_all_is_asked_for(line: str, short: bool) -> None:
    assert is_short(line.split()) is short


def test_nothing_heavy_is_imported_for_it() -> None:
    code = "import sys; from fsar.__main__ import main; main(['fit', '--help']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--data.ways" in done.stdout
