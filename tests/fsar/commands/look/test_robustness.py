"""``fsar robustness`` on Shapes with the toy CLIP: what order means to a metric, resuming, a shift of one's own, the
report and its closer look."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from episodes.shapes import motion
from episodes.shapes.source import write_video
from fsar.commands.look import report, robustness
from fsar.commands.train.fit import main as fit
from fsar.evaluation.shifts.suite import Suite


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Runs ``order`` (OTAM) and ``mean`` of the frozen toy CLIP on classes that are each other's reversal."""
    folder = tmp_path_factory.mktemp("robustness")
    names = motion.CLASSES["test"][:4]
    for name in names:
        for number in range(4):
            path = folder / "clips" / name.replace(" ", "_") / f"{number}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, motion.render(name, 0, "test", name, f"{number:03d}"))
    listed = [name.replace(" ", "_") for name in names]
    source = {"root": "clips", "train": [], "val": [], "test": listed}
    encoder = {"model": "fsar-tiny", "pretrained": "shapes", "tune": "frozen"}
    method = {"encoder": {"class_path": "fsar.encoders.ClipEncoder", "init_args": encoder}}
    content = {
        "seed_everything": 0,
        "trainer": {"accelerator": "cpu", "devices": 1, "enable_progress_bar": False, "enable_model_summary": False},
        "data": {
            "benchmark": {"class_path": "episodes.splits.Folder", "init_args": source},
            **{"ways": 4, "shots": 1, "frames": 8, "size": 64, "test_episodes": 200, "workers": 0},
        },
        "model": {"method": {"class_path": "fsar.methods.Prototype", "init_args": method}},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for run, metric in (("order", "OTAM"), ("mean", "FrameMean")):
            patch.delenv("FSAR_RUN", raising=False)
            fit(["test", "--debug", "--run", run, "-c", "run.yaml", "--model.alignment", metric])
        yield folder
        patch.delenv("FSAR_RUN", raising=False)


def kept(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "robustness" / "results.json").read_text())
    return content


def test_order_is_lost_by_a_metric_that_knows_it_and_by_no_other(runs: Path, capsys: Any) -> None:
    found = {}
    for run in ("order", "mean"):
        robustness.main([run, "--shifts", "reverse", "grey", "--debug"])
        rows = kept(runs / run)["rows"]
        said = [(row["shift"], row["severity"]) for row in rows]
        assert said == [("clean", 0), ("reverse", 1), ("grey", 0.5), ("grey", 1)]
        tested = json.loads((runs / run / "results" / "test_4way_1shot" / "results.json").read_text())
        assert rows[0]["accuracy"] == pytest.approx(tested["accuracy"])
        found[run] = rows[1]
    assert found["mean"]["difference"] == 0
    assert found["mean"]["difference_interval_95"] == 0
    assert found["order"]["difference"] + 2 * found["order"]["difference_interval_95"] < -0.1
    assert "reverse 1" in capsys.readouterr().out


def test_what_was_measured_is_not_measured_again_and_other_episodes_are(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    robustness.main(["order", "--shifts", "reverse", "--out", "again", "--debug"])
    before = kept(runs / "again")
    seen: list[str] = []
    plain = Suite.measure

    def counted(self: Suite, name: str, *args: Any) -> Any:
        seen.append(name)
        return plain(self, name, *args)

    monkeypatch.setattr(Suite, "measure", counted)
    robustness.main(["order", "--shifts", "pgd", "--severities", "4", "--out", "again", "--debug"])
    robustness.main(["order", "--shifts", "reverse", "--out", "again", "--debug"])
    assert seen == ["pgd"]
    assert kept(runs / "again")["rows"][:2] == before["rows"]
    assert kept(runs / "again")["rows"][-1]["difference"] < -0.1
    robustness.main(["order", "--shifts", "reverse", "--episodes", "50", "--out", "again", "--debug"])
    assert seen[1:] == ["reverse"]
    assert kept(runs / "again")["rows"][0]["episodes"] == 50


def test_a_transductive_run_says_so_and_has_rows_of_its_own(runs: Path, capsys: Any) -> None:
    refine = ["--model.refine", "fsar.refinement.Transport"]
    robustness.main(["mean", "--shifts", "grey", "--episodes", "40", "--debug"])
    assert "transductive" not in capsys.readouterr().out
    plain = kept(runs / "mean")["rows"]
    robustness.main(["mean", "--shifts", "grey", "--episodes", "40", *refine, "--debug"])
    said = capsys.readouterr()
    assert "number above; transductive, whole episodes, " in said.out
    assert "measured before" not in said.err
    assert kept(runs / "mean")["rows"] != plain
    report.main(["mean", "--gallery", "0", "--debug"])
    assert "same for every number; transductive: whole episodes" in (runs / "mean" / "report.html").read_text()


def test_a_shift_of_ones_own_baselines_and_the_report(runs: Path, capsys: Any) -> None:
    (runs / "own_shift.py").write_text("def dark(frames, share, generator):\n    return (frames * share).byte()\n")
    for run in ("order", "mean"):
        robustness.main([run, "--shifts", "reverse", "grey", "--debug"])
    robustness.main(["order", "--shifts", "own_shift.dark", "--severities", "0.5", "--debug"])
    assert kept(runs / "order")["rows"][-1]["shift"] == "own_shift.dark"
    report.main(["order", "--gallery", "0", "--debug"])  # without baselines
    assert "above the line" not in (runs / "order" / "report.html").read_text()
    capsys.readouterr()
    robustness.main(["order", "--shifts", "reverse", "--baselines", "order", "mean", "--debug"])
    assert "above the line of 2 baselines" in capsys.readouterr().out
    assert kept(runs / "order")["effective"]["reverse 1"] == pytest.approx(0, abs=1e-6)  # two points are the line
    robustness.main(["order", "--shifts", "grey", "--debug"])
    assert set(kept(runs / "order")["effective"]) == {"reverse 1"}  # is not lost by going on
    report.main(["order", "--gallery", "0", "--debug"])
    page = (runs / "order" / "report.html").read_text()
    assert page.count('class="plot"') == 2
    assert "What breaks it" in page
    assert "own_shift.dark" in page
    assert "above the line that 2 baselines make" in page


def test_both_sides_backwards_are_hardly_a_shift_and_other_data_is_one(runs: Path, capsys: Any) -> None:
    content = yaml.safe_load((runs / "run.yaml").read_text())
    names = content["data"]["benchmark"]["init_args"]["test"]
    content["data"]["benchmark"]["init_args"]["test"] = names[:3]
    (runs / "other.yaml").write_text(yaml.safe_dump({"data": content["data"]}))
    words = ["order", "--shifts", "reverse", "--on", "both", "--out", "both", "--targets", "other.yaml"]
    robustness.main([*words, "--debug"])
    found = kept(runs / "both")
    assert abs(found["rows"][1]["difference"]) < 0.05
    (other,) = found["cross_domain"]
    assert "3-way 1-shot" in other["what"]
    assert other["episodes"] == 2000
    assert f"{100 * other['mean']:.2f}" in capsys.readouterr().out


def test_a_closer_look_at_the_episodes_shown(runs: Path) -> None:
    report.main(["order", "--gallery", "1", "--explain", "--sketch", "3", "--out", "closer.html", "--debug"])
    page = (runs / "closer.html").read_text()
    assert page.count("<summary>A closer look</summary>") == 1
    assert "attention rollout" in page
    assert "Grad-CAM" in page
    assert page.count('alt="heat over frame') == 16
    assert page.count('<span class="weight">') == 8
    for what in ("as it is", "backwards", "shuffled", "its middle frame alone"):
        assert f'<th scope="row">{what}</th>' in page
    assert page.count('stroke="currentColor"') == 1
    report.main(["order", "--gallery", "1", "--out", "plain.html", "--debug"])
    assert "A closer look" not in (runs / "plain.html").read_text()
    with pytest.raises(SystemExit):
        report.main(["order", "--sketch", "-1"])


def test_wrong_use(runs: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        robustness.main(["order", "--severities", "1"])
    assert stop.value.code == 2
    with pytest.raises(SystemExit, match="is not there: `fsar robustness nowhere` measures it"):
        robustness.main(["order", "--baselines", "nowhere"])
    robustness.main(["order", "--shifts", "reverse", "--episodes", "40", "--out", "few"])
    with pytest.raises(SystemExit, match=r"few was measured on other episodes \(episodes_sha256 differ"):
        robustness.main(["order", "--shifts", "reverse", "--baselines", "few"])
