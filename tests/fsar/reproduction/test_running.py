"""Works one after the other, by several processes, through failures and interruptions; nothing is really trained."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from episodes.files.locks import held_alone
from fsar.evaluation.results import write_json
from fsar.reproduction.recipes import Asked, Work, find_works
from fsar.reproduction.running import Cells, Runner, last_words, resume_point, run_process
from fsar.reproduction.table import make_row

ASKED = Asked("hmdb51", Path("videos"), Path("lists"))
TRAINED = {"molo": True, "prototype_1shot": False, "prototype_5shot": False}


@pytest.fixture
def works() -> list[Work]:
    return find_works(ASKED, ["molo", "prototype"], [1, 5])


def runner(seen: list[list[str]], status: Callable[[list[str]], int] = lambda words: 0) -> Runner:
    """Notes the words, and leaves what the command would."""

    def run(words: list[str], log: Path) -> int:
        seen.append(words)
        with log.open("a") as file:
            file.write("fsar: the disk is full\n(--debug shows where)\n")
        found = status(words)
        run_folder = Path(words[words.index("--run") + 1]) if "--run" in words else None
        if words[0] == "test" and not found:
            assert run_folder
            for shots in words[words.index("--test_shots") + 1 :]:
                write_json(run_folder / "results" / f"test_5way_{shots}shot" / "results.json", {"accuracy": 0.5})
        if words[0] == "fit":
            assert run_folder
            (run_folder / "checkpoints").mkdir(parents=True, exist_ok=True)
            (run_folder / "checkpoints" / "interrupted.ckpt").touch()
        return found

    return run


def stages(seen: list[list[str]]) -> list[str]:
    return [f"{words[0]} {Path(words[words.index('--run') + 1]).parent.name}" for words in seen]


def test_what_is_done_is_not_done_again_and_a_new_number_of_shots_is_a_test_alone(
    works: list[Work], tmp_path: Path
) -> None:
    seen: list[list[str]] = []
    one = find_works(ASKED, ["molo"], [1])
    assert Cells(tmp_path, ASKED, runner(seen), str).work_off(one, TRAINED, {}) == []
    assert stages(seen) == ["fit molo", "test molo"]
    Cells(tmp_path, ASKED, runner(seen), str).work_off(works, TRAINED, {})
    assert stages(seen)[2:] == ["test molo", "test prototype_1shot", "test prototype_5shot"]
    assert seen[2][-2:] == ["--test_shots", "5"]
    assert "-c" not in seen[2]  # a trained run says all itself
    assert "method/prototype" in seen[3]
    Cells(tmp_path, ASKED, runner(seen), str).work_off(works, TRAINED, {})
    assert len(seen) == 5


def test_a_failure_is_recorded_the_rest_goes_on_and_the_next_call_goes_on_from_the_checkpoint(
    works: list[Work], tmp_path: Path
) -> None:
    seen: list[list[str]] = []
    broken = Cells(tmp_path, ASKED, runner(seen, lambda words: int(words[0] == "fit")), str)
    broken.work_off(works, TRAINED, {})
    assert broken.state(works[0])["error"] == "fsar: the disk is full (exit status 1)"
    assert broken.state(works[0])["stage"] == "fit"
    assert stages(seen) == ["fit molo", "test prototype_1shot", "test prototype_5shot"]
    broken.work_off(works, TRAINED, {})  # not in the same call: another process of it would run into the same
    assert len(seen) == 3
    Cells(tmp_path, ASKED, runner(seen), str).work_off(works, TRAINED, {})
    assert stages(seen)[3:] == ["fit molo", "test molo"]
    assert seen[3][-2:] == ["--ckpt_path", str(tmp_path / "cells/molo/run/checkpoints/interrupted.ckpt")]
    assert "error" not in broken.state(works[0])


def test_what_another_process_is_at_is_passed_by_and_a_lock_left_behind_is_none(
    works: list[Work], tmp_path: Path
) -> None:
    seen: list[list[str]] = []
    table = Cells(tmp_path, ASKED, runner(seen), str)
    with held_alone(table.folder(works[0])):
        assert table.work_off(works, TRAINED, {}) == ["molo"]
    with held_alone(table.folder(works[0]) / "run"):  # a training whose parent was killed
        assert table.work_off(works, TRAINED, {}) == ["molo"]
    assert stages(seen) == ["test prototype_1shot", "test prototype_5shot"]
    (table.folder(works[0]) / ".lock").touch()
    (table.folder(works[0]) / ".lock-holder").write_text("process 1 on another machine")
    assert table.work_off(works, TRAINED, {}) == []


def test_stored_features_are_made_before_they_are_read(works: list[Work], tmp_path: Path) -> None:
    seen: list[list[str]] = []
    table = Cells(tmp_path, ASKED, runner(seen), str)
    table.work_off(works[1:2], TRAINED, {"prototype_1shot": "--splits test"})
    assert seen[0][:5] == ["extract", "--store", str(tmp_path / "features"), "--splits", "test"]
    assert seen[1][seen[1].index("--data.features") + 1] == str(tmp_path / "features")


@pytest.mark.parametrize("newest", ["last", "interrupted"])
def test_training_goes_on_from_the_newest(tmp_path: Path, newest: str) -> None:
    assert resume_point(tmp_path) is None
    (tmp_path / "checkpoints").mkdir()
    for name in ("last", "interrupted"):
        file = tmp_path / "checkpoints" / f"{name}.ckpt"
        file.touch()
        os.utime(file, (0, 2.0 if name == newest else 1.0))
    assert resume_point(tmp_path) == tmp_path / "checkpoints" / f"{newest}.ckpt"


@pytest.mark.parametrize("changes", [[], ["a line"]])
def test_a_number_on_other_lists_is_not_comparable(works: list[Work], tmp_path: Path, changes: list[str]) -> None:
    table, work = Cells(tmp_path, ASKED), replace(works[0], alike=True)
    data = {"list_changes": changes, "coverage": {"test": {"listed": 5, "found": 5}}}
    record = {"accuracy": 0.5, "interval_95": 0.01, "episodes": 10, "data": data}
    write_json(table.folder(work) / "run" / "results" / "test_5way_1shot" / "results.json", record)
    row = make_row(table, work, 1)
    assert (row.ours, row.state, row.comparable) == (50.0, "done", not changes)
    assert ("lists are not the published ones" in row.differs) == bool(changes)


def test_a_folder_of_other_options_is_refused(works: list[Work], tmp_path: Path) -> None:
    Cells(tmp_path, ASKED, runner([]), str).work_off(works, TRAINED, {})
    Cells(tmp_path, ASKED, runner([]), str).refuse_others(works)
    short = Asked("hmdb51", Path("videos"), Path("lists"), budget="short")
    with pytest.raises(ValueError, match=r"molo was begun with another .* name another folder with -o"):
        Cells(tmp_path, short, runner([]), str).refuse_others(find_works(short, ["molo"], [1, 5]))


def test_a_process_is_waited_for_and_its_end_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(script))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what is started in the background ignores it
    log = tmp_path / "log.txt"

    def end(body: str) -> int:
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)
        return run_process(["fit"], log)

    assert end("echo $3") == 0
    assert log.read_text() == "fit\n"
    assert end('test "$FSAR_PARENT" = "$PPID"') == 0  # which it must not outlive
    assert end("kill -9 $$") == -signal.SIGKILL
    assert last_words(log, -9).endswith("(ended by signal 9)")
    with pytest.raises(KeyboardInterrupt):  # handed on, and waited for
        end(f"trap 'echo kept; exit 0' INT; kill -INT {os.getpid()}; sleep 5 & wait")
    assert log.read_text().endswith("kept\n")
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler
