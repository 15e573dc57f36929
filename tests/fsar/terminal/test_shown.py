"""Names may hold what a terminal obeys; it is shown instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsar.commands.data.check_videos import main as check_videos
from fsar.terminal.failure import Options, one_message
from fsar.terminal.shown import shown
from fsar.terminal.usage import PlainParser


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("wave \x1b[2Jgone", r"wave \x1b[2Jgone"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\rb\x08", r"a\rb\x08"),
        ("\x9b31m", r"\x9b31m"),
        ("gpj\u202e4pm.exe", r"gpj\u202e4pm.exe"),
        ("two\nlines\tand tabs", "two\nlines\tand tabs"),
        ("Überschlag 后空翻 🤸 \\x1b", "Überschlag 后空翻 🤸 \\x1b"),
    ],
)
def test_control_characters_are_written_out(name: str, expected: str) -> None:
    assert shown(name) == expected


def test_a_message_does_not_send_them() -> None:
    with pytest.raises(SystemExit) as end, one_message(debug=False):
        raise ValueError("\x1b[2J.mp4 is no video")
    assert str(end.value).startswith(r"fsar: \x1b[2J.mp4 is no video")


def test_wrong_options_and_checked_videos_send_no_escapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        Options("", prog="fsar x").error("\x1b[31m is no option")
    parser = PlainParser(prog="fsar", exit_on_error=True)
    with pytest.raises(SystemExit):
        parser.error("\x1b[31m is no option")
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "\x1b[31m.mp4").write_bytes(b"no video")
    check_videos([str(tmp_path), "--workers", "1"])
    said = "".join(capsys.readouterr())
    assert said.count("\\x1b[31m") >= 3
    assert "\x1b[31m" not in said
