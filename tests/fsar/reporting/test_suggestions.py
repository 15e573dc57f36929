"""What a report tells people to type is right for the data of the run; repeated tests are one row."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fsar.commands.measure import sweep
from fsar.evaluation.comparing.comparison import Result
from fsar.reporting.classes import Rows
from fsar.reporting.curves import Curves
from fsar.reporting.runs import ReportedRun
from fsar.reporting.view import View, feature, sweep_command


def result(**changed: Any) -> Result:
    """A test, as far as its name and size go."""
    data = {"benchmark": "toy", "split": "test", "ways": 2, "shots": 1, "queries": 1, "classes": 2, "opposites": False}
    data |= {"seed": 0, "episodes": 40, **{key: changed.pop(key) for key in list(changed) if key in data}}
    record = {"method": "Prototype", "config": {"model": {}}, "data": data, "date": "2026-01-01", **changed}
    return Result(Path("runs/a/results/test"), {"episodes": data["episodes"], **record})


def rows(clips: int) -> Rows:
    """Queries of two classes with so many clips each."""
    video = np.array([f"{name}/{i}.mp4" for name in "ab" for i in range(clips)], dtype=object)
    truth = np.repeat([0, 1], clips)
    names = np.array([["a", "b"]] * len(video), dtype=object)
    return Rows(np.arange(len(video)), video, names, truth, np.zeros((len(video), 2)))


@pytest.mark.parametrize(
    ("changed", "clips", "expected"),
    [
        ({}, 3, "--ways 2 --shots 1 2"),  # two classes of three clips, one of them the query
        ({"classes": 7}, 3, "--ways 2 5 --shots 1 2"),
        ({"classes": 30, "ways": 3}, 6, "--ways 2 3 5 10 --shots 1 2 5"),
        ({"classes": 30, "opposites": True}, 6, "--ways 2 --shots 1 2 5"),
        ({"split": "val"}, 6, "--split val --ways 2 --shots 1 2 5"),
        ({}, 2, ""),  # one setting is no sweep
    ],
)
def test_a_sweep_is_suggested_that_the_data_has_clips_for(changed: dict[str, Any], clips: int, expected: str) -> None:
    run = ReportedRun(Path("runs/a"), {}, (result(**changed),))
    found = sweep_command(run, rows(clips))
    assert found == (f"fsar sweep --run runs/a {expected}" if expected else "")


def test_a_run_without_a_configuration_is_given_a_file_and_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    found = sweep_command(ReportedRun(Path("runs/a"), None, (result(),)), rows(6))
    assert found == "fsar sweep -c test.yaml --out runs/a --ways 2 --shots 1 2 5"
    asked: list[Any] = []
    monkeypatch.setattr(
        sweep, "build_with_trainer", lambda rest, program: asked.append(rest) or (_ for _ in ()).throw(ValueError("x"))
    )
    with pytest.raises(SystemExit):
        sweep.main(shlex.split(found)[2:])
    assert asked == [["-c", "test.yaml"]]  # the rest was understood
    assert sweep_command(ReportedRun(Path("runs/a"), None, ()), None) == ""


def test_every_command_is_typed_as_the_shell_reads_it_and_has_a_configuration() -> None:
    for config, given in (({}, ""), (None, " -c test.yaml")):
        run = ReportedRun(Path("my runs/a"), config, (result(),))
        view = View("r0", "a", run, None, [], [], [], [], "", "")
        assert view.robustness_command == f"fsar robustness 'my runs/a'{given}"
        assert ("configuration at the end" in view.file_named) == bool(given)
        assert all("--run 'my runs/a'" in line for line in view.commands)
    fitted = View("r0", "a", ReportedRun(Path("my runs/a"), {}, ()), Curves((), ()), [], [], [], [], "", "")
    assert fitted.commands == ["fsar fit -c 'my runs/a/config.yaml' --run 'my runs/a-again'"]


def test_of_repeated_tests_the_first_stands_for_all() -> None:
    tests = [result(date="2026-02-02"), result(seed=1), result(shots=5)]
    assert feature(tests, None) == [tests[0], tests[2]]
