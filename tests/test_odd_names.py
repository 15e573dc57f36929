"""Names with spaces, quotes, signs of shells and letters of every script: every command takes them as they are."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from fsar.__main__ import main

CLASSES = [
    "two words",
    "größe",
    "手を振る",
    "it's",
    'say "hi"',
    "#1 & $HOME;",
    "[b]rich[!]",
    "a: b, {c}",
    "-dash",
]
CLIPS = [
    "a b.mp4",
    "übung (1).mp4",
    "動画 😀.mp4",
    'it\'s "it".mp4',
    "100% *?.mp4",
]
"""One odd thing in each; the clips are the same in every class."""
LINES = {
    "check-videos": "check-videos clips --quick --workers 1 --report 'a report.csv'",
    "init": "init clips -o 'my set.yaml'",
    "fit": "fit --run 'a run' -c run.yaml -c 'my set.yaml' --data.ways 2 --data.queries 1 --data.frames 4",
    "test": "test --run 'a run'",
    "extract": "extract --run 'a run' --store 'a store' --splits test",
    "report": "report 'a run' --gallery 1",
    "episodes": "episodes write 'some episodes.npz' --run 'a run'",
    "prepare-videos": "prepare-videos --root clips --out 'as pictures' --form jpeg --workers 1",
    "prepared": "check-videos 'as pictures' --quick --workers 1",
    "plot-alignment": "plot-alignment \"clips/it's/a b.mp4\" 'clips/größe/übung (1).mp4' --out 'a ü.png'",
    "publish": "publish 'a run' --to 'a published run'",
    "folder": "predict --run 'a run' --support support --query 'q ü' --csv 'an answer.csv'",
    "clip": "predict --run 'a run' --support support --query 'q ü/動画 😀.mp4' --json",
}
"""In this order: what one leaves the next one reads."""


@pytest.fixture(scope="module")
def world(config: Path, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a blank and an accent in its name, and in it clips, support, queries and a configuration."""
    folder = tmp_path_factory.mktemp("a wörld")
    for i, name in enumerate(CLASSES):
        for j, clip in enumerate(CLIPS):
            (folder / "clips" / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(clips / f"class_{i}" / f"{j}.mp4", folder / "clips" / name / clip)
    for name in CLASSES[:4]:
        shutil.copytree(folder / "clips" / name, folder / "support" / name)
    shutil.copytree(folder / "clips" / CLASSES[5], folder / "q ü")
    content = yaml.safe_load(config.read_text())
    del content["data"]["benchmark"]
    (folder / "run.yaml").write_text(yaml.safe_dump(content))
    return folder


@pytest.mark.filterwarnings("ignore")  # of Lightning, about itself and about our tiny loaders
@pytest.mark.parametrize("command", LINES)
def test_it_takes_them(
    command: str, world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(world)
    monkeypatch.delenv("FSAR_RUN", raising=False)
    monkeypatch.setattr(sys, "argv", ["fsar"])
    assert not main(shlex.split(LINES[command]))
    said = capsys.readouterr().out
    if command == "check-videos":
        with open("a report.csv", newline="") as file:
            assert {Path(row["path"]).name for row in csv.DictReader(file)} == set(CLIPS)
        assert "45 of 45 clips checked: 45 readable" in said
    if command == "init":
        content = yaml.safe_load(Path("my set.yaml").read_text())["data"]["benchmark"]["init_args"]
        assert sorted(content["train"] + content["val"] + content["test"]) == sorted(CLASSES)
    if command == "prepared":
        assert "45 of 45 clips checked: 45 readable" in said
    if command == "folder":
        with open("an answer.csv", newline="") as file:
            assert {Path(row["file"]).name for row in csv.DictReader(file)} == set(CLIPS)
        assert all(clip in said for clip in CLIPS)
    if command == "clip":
        answer = json.loads(said)["answers"][0]
        assert Path(answer["clip"]).name == CLIPS[2]
        assert {each["class"] for each in answer["ranking"]} == set(CLASSES[:4])
