"""Every objective that is shipped is laid over a method and trains by the command line, on texts of training classes;
the run is tested and reported as any."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
import yaml

from fsar.__main__ import main
from fsar.encoders.tower.text_tower import TextEncoder

OBJECTIVES = sorted((Path(__file__).resolve().parents[2] / "configs" / "objective").glob("*.yaml"))
NAMES = ("open box", *(f"class {i}" for i in range(2, 9)))
ORDINARY = {name: {"step": [f"the {name} moves", "it moves on"]} for name in NAMES}
TWICE = {"class_0": "open box", "class_1": "Open box"}
"""Folders of one class under two names: to a text tower they are the same."""


def test_there_is_one_of_every_paper() -> None:
    assert [path.stem for path in OBJECTIVES] == ["dreamlip", "fff", "glipv2", "vild_anchor"]


@pytest.fixture
def files(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FSAR_RUN", raising=False)
    monkeypatch.setattr(sys, "argv", ["fsar"])
    content = yaml.safe_load(config.read_text())
    content["data"] |= {"train_episodes": 2, "test_episodes": 4, "check_videos": False}
    content["data"]["benchmark"]["init_args"] |= {"val": [], "class_names": TWICE}
    content["trainer"]["log_every_n_steps"] = 1
    content["model"]["method"]["init_args"]["encoder"]["init_args"]["tune"] = 1
    Path("run.yaml").write_text(yaml.safe_dump(content))
    Path("texts.yaml").write_text(yaml.safe_dump(ORDINARY))
    return ["-c", "run.yaml"]


def test_all_of_them_together(files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    laid = [word for each in OBJECTIVES for word in ("-c", f"objective/{each.stem}")]
    loose = ["--model.objectives+", "SymmetricContrast"]
    shipped = Path("texts.yaml").absolute()
    monkeypatch.setattr("fsar.text.bank.find_texts", lambda source: shipped)  # no pack speaks of these classes
    read, encode = set[str](), TextEncoder.encode
    monkeypatch.setattr(TextEncoder, "encode", lambda self, texts: (read.update(texts), encode(self, texts))[1])
    main(["fit", "--debug", "--run", "run", *files, *laid, *loose])
    assert {"the class 2 moves", "it moves on", "a photo of class 2", "a photo of open box"} <= read
    assert not any(f"class {i}" in text for text in read for i in range(6, 9))  # nothing of a class that is tested
    main(["test", "--debug", "--run", "run"])
    assert "a photo of class 6" in read
    (result,) = (json.loads(path.read_text()) for path in Path("run").glob("results/*/results.json"))
    assert result["episodes"] == 4
    assert list(result["objective_texts_sha256"]) == ["grouping"]  # objective/dreamlip names a pack
    state = torch.load("run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert sum(name.startswith("objectives.") for name in state) == 5  # factors, and the bias of the sigmoid
    (table,) = Path("run").glob("csv/*/metrics.csv")
    names = table.read_text().splitlines()[0].split(",")
    told = {f"train_{name}" for name in ("grouping", "fff", "words", "anchor", "contrast", "method_loss")}
    assert told <= set(names)
    merged = json.loads(Path("run/objectives.json").read_text())
    assert merged == {"fff": {"Open box <- open box": 2, "open box <- Open box": 2}}
    main(["report", "run", "--out", "page.html"])
    page = Path("page.html").read_text()
    assert "2 pairs of classes were taken for one" in page
    assert '<tr><td>open box &lt;- Open box</td><td class="num">2</td></tr>' in page
    assert "Frames of the query over the steps of class 7, in the order in which they happen" in page
    assert "<li>the class 7 moves</li><li>it moves on</li>" in page
