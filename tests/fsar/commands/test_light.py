"""Commands that compute nothing answer at once: they import neither torch nor what comes with it."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

import fsar.__main__ as front
from fsar.commands import SLOW

LIGHT = ("look.compare", "data.check_videos", "data.check_benchmark", "data.episodes", "data.init", "data.splits")
CODE = """
import sys
from importlib import import_module
for name in sys.argv[1:]:
    import_module(f"fsar.commands.{name}")
print(sorted({"torch", "lightning", "scipy", "matplotlib", "jsonargparse"} & set(sys.modules)))
"""


def test_nothing_heavy_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", CODE, *LIGHT, "train.configs"], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_garbage_is_not_looked_for_while_modules_are_imported(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException] | None
) -> None:
    seen = []

    def look(name: str) -> object:
        seen.append((name, gc.isenabled()))
        if error:
            raise error
        return type(sys)("command", "")

    monkeypatch.setattr(front, "import_module", look)
    with pytest.raises(error or AttributeError):  # a module without main
        front.run(["compare"])
    assert seen == [("fsar.commands.look.compare", False)]
    assert gc.isenabled()
    gc.unfreeze()


@pytest.mark.parametrize(
    ("command", "terminal", "said"), [("test", True, True), ("test", False, False), ("compare", True, False)]
)
def test_what_takes_long_to_import_says_so_first_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, terminal: bool, said: bool
) -> None:
    heard = []
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    monkeypatch.setattr(front, "import_module", lambda name: heard.append(capsys.readouterr().err) or type(sys)(name))
    with pytest.raises(AttributeError):  # a module without main
        front.run([command, "--run", "x"])
    assert heard == ([f"fsar {command}: loading PyTorch and the model ...\n"] if said else [""])
    gc.unfreeze()


def test_every_command_that_is_slow_is_there() -> None:
    assert set(front.COMMANDS) >= SLOW
