"""Names may hold what a terminal obeys; it is shown instead."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import pytest

import fsar.terminal.shown
from fsar.commands.data.check_benchmark import main as check_benchmark
from fsar.commands.data.check_benchmark import print_line
from fsar.commands.data.check_videos import main as check_videos
from fsar.commands.data.init import main as init
from fsar.commands.data.prepare_videos import main as prepare_videos
from fsar.commands.data.splits import main as splits
from fsar.terminal.failure import Options, one_message
from fsar.terminal.shown import SQUARES, show_messages, shown
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


def test_letters_that_no_font_has_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "formatwarning", lambda message, *_: f"as it is: {message}")
    show_messages()
    lines = [
        warnings.formatwarning(f"Glyph {n} (X) missing from font(s) DejaVu Sans.", UserWarning, "", 1) for n in "12"
    ]
    assert lines == [SQUARES, ""]
    assert warnings.formatwarning("else", UserWarning, "", 1) == "as it is: else"


def test_what_is_logged_sends_no_escapes(caplog: pytest.LogCaptureFixture) -> None:
    with one_message(debug=False):
        log = logging.getLogger("lightning.pytorch")
        log.warning("%s and %s have the same content", "\x1b[31ma.mp4", "b.mp4")
        log.warning("as it is: %d %%", 3)
    assert [record.getMessage() for record in caplog.records] == [
        r"\x1b[31ma.mp4 and b.mp4 have the same content",
        "as it is: 3 %",
    ]


def test_warnings_and_the_first_look_at_a_folder_send_no_escapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with one_message(debug=False):
        assert warnings.formatwarning("\x1b[31m.mp4 is left out", UserWarning, "a.py", 1).count("\\x1b[31m") == 1
    monkeypatch.chdir(tmp_path)
    for name in ("\x1b[31mred", "blue"):
        (tmp_path / "clips" / name).mkdir(parents=True)
        for clip in range(2):
            (tmp_path / "clips" / name / f"\x1b[2J{clip}.mp4").write_bytes(bytes([clip]) * 9)
        (tmp_path / "clips" / name / "\x1b[0m.txt").write_text("notes")
    init(["clips", "-o", "\x1b[7m.yaml"])
    assert check_benchmark(["--benchmark", "hmdb51", "--root", "clips", "--lists", "\x1b[5m"]) == 2
    print_line("\x1b[31mred", [])
    said = "".join(capsys.readouterr()) + (tmp_path / "\x1b[7m.yaml").read_text()
    assert "\\x1b[7m.yaml" in said
    assert "\\x1b[31mred" in said
    assert "\x1b" not in said


def test_prepared_videos_and_lists_send_no_escapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "clips" / "a").mkdir(parents=True)
    (tmp_path / "clips" / "a" / "\x1b[31m.mp4").write_bytes(b"no video")
    root, out = str(tmp_path / "clips"), str(tmp_path / "\x1b[7mout")
    assert prepare_videos(["--root", root, "--out", out, "--form", "jpeg", "--workers", "1"]) == 1
    assert prepare_videos(["--root", str(tmp_path / "\x1b[5m"), "--out", out, "--form", "jpeg"]) == 2
    assert splits(["--benchmark", "hmdb51", "--from", str(tmp_path / "\x1b[6m"), "--out", out]) == 1
    said = "".join(capsys.readouterr())
    for name in ("31m.mp4", "7mout", "5m", "6m"):
        assert f"\\x1b[{name}" in said
    assert "\x1b" not in said


def test_a_warning_of_ours_stands_without_its_place_in_the_code() -> None:
    show_messages()
    said = warnings.formatwarning("two videos are left out\x1b", UserWarning, fsar.terminal.shown.__file__, 7, None)
    assert said == "warning: two videos are left out\\x1b\n"
    assert "UserWarning" in warnings.formatwarning("other", UserWarning, pytest.__file__, 7, None)
