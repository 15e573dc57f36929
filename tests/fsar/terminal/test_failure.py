"""How a command ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fsar.commands
from fsar.__main__ import main
from fsar.terminal.failure import LISTENER_GONE, Options, one_message
from fsar.terminal.outputs import output_file


def press() -> None:
    raise KeyboardInterrupt


def break_while_it_is_dealt_with() -> None:
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        raise RuntimeError("call iter first")  # noqa: B904


def leave_as_lightning_does() -> None:
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        sys.exit(1)


@pytest.mark.parametrize("action", [press, break_while_it_is_dealt_with, leave_as_lightning_does])
def test_ctrl_c_is_one_sentence_and_status_130(action: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop, one_message(program="fsar test"):
        action()  # type: ignore[operator]
    assert stop.value.code == 130
    assert capsys.readouterr().err == "fsar test: interrupted.\n"


@pytest.mark.parametrize("code", [0, 2, "a message"])
def test_leaving_is_not_an_interruption(code: object) -> None:
    with pytest.raises(SystemExit) as stop, one_message():
        sys.exit(code)  # type: ignore[arg-type]
    assert stop.value.code == code


GLOO = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:23685. GLHF!"


@pytest.mark.parametrize("said", [GLOO, "NCCL error: ncclRemoteError: A call failed possibly due to a network error"])
def test_a_process_whose_fellow_was_killed_says_so(said: str) -> None:
    with pytest.raises(SystemExit) as stop, one_message(False, "fsar fit"):
        raise RuntimeError(said)
    assert str(stop.value.code).startswith("fsar fit: another process of this run is gone")
    assert said not in str(stop.value.code)


def test_ctrl_c_while_a_command_is_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fsar.__main__.import_module", lambda name: press())
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert main([next(iter(fsar.commands.COMMANDS))]) == 130
    assert capsys.readouterr().err == "fsar: interrupted.\n"


def test_output_that_nobody_reads_any_more_is_no_failure() -> None:
    code = "from fsar.commands.train.configs import main\nfor _ in range(200): main([])"
    program = [sys.executable, "-c", code]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == LISTENER_GONE


def test_a_broken_pipe_of_another_kind_is_told() -> None:
    with pytest.raises(SystemExit, match="Broken pipe"), one_message(False):
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--many", "few"], "tool: --many: expected a whole number, found 'few'"),
        (["--share", "few"], "tool: --share: expected a number, found 'few'"),
        (["--out", "no/such/file"], "tool: --out no/such/file cannot be written: there is no folder no/such"),
        (["--out", ""], "tool: --out is empty: name a file"),
    ],
)
def test_an_option_that_is_wrong_is_named_with_one_colon(
    args: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = Options(None, prog="tool")
    parser.add_argument("--many", type=int)
    parser.add_argument("--share", type=float)
    parser.add_argument("--out", type=output_file)
    with pytest.raises(SystemExit):
        parser.parse_args(args)
    assert capsys.readouterr().err.splitlines()[0] == said


def test_a_long_message_is_broken_between_words_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    said = {}
    for terminal in (True, False):
        monkeypatch.setattr("sys.stderr.isatty", lambda terminal=terminal: terminal)
        with pytest.raises(SystemExit) as stop, one_message(False):
            raise ValueError("runs/mine-and-others/config.yaml does not exist: --run must name the folder of a fit")
        said[terminal] = str(stop.value).splitlines()
    assert max(map(len, said[True])) <= 70
    assert " ".join(said[True]) == " ".join(said[False])
    assert len(said[False]) == 2
