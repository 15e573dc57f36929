"""Names may hold what a terminal obeys; it is shown instead."""

from __future__ import annotations

import pytest

from fsar.terminal.failure import one_message
from fsar.terminal.shown import shown


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
