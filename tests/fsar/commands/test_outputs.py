"""Where a command cannot write is said before its work, with the cause; and a command that fails leaves nothing."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from fsar.__main__ import main
from fsar.commands import COMMANDS
from fsar.terminal.failure import LIST_OPTIONS, OptionsAsked
from fsar.terminal.outputs import NotWritableError, output_file, output_folder

FILES = {
    "baselines": "baselines -c run.yaml --encoder clip.yaml --out {out}",
    "check-benchmark": "check-benchmark --benchmark hmdb51 --root nowhere --csv {out}",
    "check-videos": "check-videos --list nowhere --report {out}",
    "cluster": "cluster nowhere --clusters 3 --out {out}",
    "compare": "compare nowhere --csv {out}",
    "episodes": "episodes write {out} -c run.yaml",
    "init": "init nowhere --out {out}",
    "map": "map nowhere --out {out}",
    "play": "play a.mp4 b.mp4 --out {out}",
    "plot-alignment": "plot-alignment a.mp4 b.mp4 --out {out}",
    "predict": "predict --run nowhere --support nowhere --query nowhere --csv {out}",
    "report": "report nowhere --out {out}",
    "sketch": "sketch a.mp4 --out {out}",
}
"""What writes a file; all else that they are given is wrong, too, and told later."""
FOLDERS = {
    "convert": "convert nowhere.pt --method trx --out {out}",
    "extract": "extract -c run.yaml --store {out}",
    "fit": "fit -c run.yaml --run {out}",
    "import-features": "import-features nowhere.npz -c run.yaml --split test --made-by us --out {out}",
    "post-train": "post-train --denoiser none.There -c run.yaml --out {out}",
    "prepare-videos": "prepare-videos --root nowhere --form jpeg --out {out}",
    "protocol": "protocol all-way -c run.yaml --out {out}",
    "publish": "publish nowhere --to {out}",
    "rank": "rank -c run.yaml --encoder clip.yaml --out {out}",
    "reproduce": "reproduce --benchmark hmdb51 --root nowhere --methods trx --out {out}",
    "robustness": "robustness nowhere --out {out}",
    "splits": "splits --benchmark hmdb51 --from nowhere --out {out}",
    "sweep": "sweep -c run.yaml --out {out}",
    "test": "test -c run.yaml --run {out}",
    "train-supervised": "train-supervised -c run.yaml --out {out}",
    "validate": "validate -c run.yaml --run {out}",
}
NOTHING = {"check-alignment", "check-method", "configs", "demo", "describe", "web", "weights"}
"""What writes nothing of its own, or (demo, weights) where no option says; ``weights get`` has its library's folder."""
OUTPUTS = {"--out", "--report", "--csv", "--store", "--to", "-o"}


def told(line: str) -> str:
    """What a command that fails leaves with."""
    try:
        status: object = main(shlex.split(line))
    except SystemExit as end:
        status = end.code
    assert status not in (0, None)
    return str(status)


@pytest.fixture
def place(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration whose clips are not there, and a file."""
    folder = tmp_path / "place"
    folder.mkdir()
    text = config.read_text().replace("root:", "root: nowhere #")
    (folder / "run.yaml").write_text(text)
    (folder / "clip.yaml").write_text("class_path: fsar.encoders.ClipEncoder\ninit_args: {model: none.json}\n")
    (folder / "file").write_text("")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("FSAR_RUN", raising=False)
    return folder


def test_no_command_is_left_out() -> None:
    assert {*FILES, *FOLDERS, *NOTHING} == set(COMMANDS)
    for name in NOTHING - {"configs", "demo"}:
        with pytest.raises(OptionsAsked) as asked:
            main([name, LIST_OPTIONS])
        options = {option for action in asked.value.parser._actions for option in action.option_strings}
        assert not options & OUTPUTS


@pytest.mark.parametrize("command", [*FILES, *FOLDERS])
def test_where_nothing_can_be_written_is_said_first(
    command: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = {**FILES, **FOLDERS}[command]
    said = " ".join((told(line.format(out="file/out")) + capsys.readouterr().err).split())
    assert re.search("file is a file|file/out.*Not a directory", said), said
    assert "Traceback" not in said
    assert sorted(path.name for path in place.iterdir()) == ["clip.yaml", "file", "run.yaml"]


@pytest.mark.parametrize("command", [*FILES, *FOLDERS])
def test_a_command_that_fails_leaves_nothing(command: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = {**FILES, **FOLDERS}[command].format(out="deep/new" if command in FOLDERS else "new")
    before = sorted(place.rglob("*"))
    told(line)
    assert "cannot be written" not in capsys.readouterr().err
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    ("check", "name", "cause"),
    [
        (output_file, "nowhere/x.csv", "nowhere/x.csv cannot be written: there is no folder nowhere"),
        (output_file, "folder", "folder is a folder: name a file in it"),
        (output_file, "", "is empty: name a file"),
        (output_file, "/proc/x.csv", r"/proc/x.csv cannot be written: .+ \(/proc\)"),
        (output_folder, "/proc/x/y", r"/proc/x/y cannot be written: .+ \(/proc\)"),
        (output_folder, "file", "file is a file: name a folder"),
        (output_folder, " ", "is empty: name a folder"),
    ],
)
def test_the_cause_is_named(check: object, name: str, cause: str, place: Path) -> None:
    (place / "folder").mkdir()
    with pytest.raises(NotWritableError, match=cause) as told:
        check(name)  # type: ignore[operator]
    assert isinstance(told.value, argparse.ArgumentTypeError)


def test_what_can_be_written_stays_as_it_was(place: Path) -> None:
    assert output_file("new.csv") == Path("new.csv")
    assert output_file("file").read_text() == ""
    assert output_folder("a/b/c") == Path("a/b/c")
    assert sorted(path.name for path in place.iterdir()) == ["clip.yaml", "file", "run.yaml"]
