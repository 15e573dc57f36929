"""Every command of the table, from a folder with a metric and a method of one's own: on pixels, and on stored features
without validation classes."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fsar.__main__ import main
from fsar.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[3]
OWN = """
from torch import nn

from fsar.alignment import Alignment, CostAlignment
from fsar.encoders import FrameEncoder
from fsar.methods import Prototype


class Nearest(CostAlignment):
    def align(self, cost, mask=None):
        return cost.mean((-2, -1)) if mask is None else (cost * mask).sum((-2, -1)) / mask.sum((-2, -1))


class Own(Prototype):
    def __init__(self, encoder: FrameEncoder, alignment: Alignment):
        super().__init__(encoder, alignment, nn.Linear(encoder.channels, 8))
"""
PARTS = "--model.method own_parts.Own --model.alignment own_parts.Nearest"
LINES = {
    "fit": ["fit --run {new} -c run.yaml {features}"],
    "validate": ["validate --run {run} --data.ways 2"],
    "test": [
        "test --run {run} --data.test_shots 2",
        "test --run {new} -c run.yaml {features} --model.method Prototype",
    ],
    "sweep": ["sweep --run {run} --out {new} --ways 2 3 --shots 1", "sweep {data} --out {new} --ways 2 --shots 1 2"],
    "baselines": ["baselines -c data.yaml --encoder encoder.yaml {features} --shots 1 --tuning_episodes 3"],
    "train-supervised": ["train-supervised -c data.yaml -c {root}/configs/method/tiny/action_clip.yaml --epochs 0"],
    "init": ["init {clips} -o {new}.yaml"],
    "check-videos": ["check-videos {clips}/class_0 --quick --workers 1"],
    "prepare-videos": ["prepare-videos --root {clips}/class_0 --out {new} --form jpeg"],
    "episodes": ["episodes write {new}.npz -c data.yaml", "episodes verify {new}.npz -c data.yaml"],
    "extract": ["extract --store {new} {data}", "extract --store {new} --run {run}"],
    "predict": ["predict --run {run} --support {support} --query {clips}/class_0/4.mp4"],
    "configs": ["configs", "configs method/prototype"],
    "report": ["report {run}"],
    "map": ["map {run} --out {new}.html", "map {run} --clips {support} --out {new}.html"],
    "robustness": ["robustness {run} --shifts reverse --out {new}"],
    "compare": ["compare {run}"],
    "plot-alignment": [
        "plot-alignment {clips}/class_0/0.mp4 {clips}/class_0/1.mp4 --out {new}.png --metric own_parts.Nearest",
        "plot-alignment {clips}/class_0/0.mp4 {clips}/class_0/1.mp4 --out {new}_run.png --run {run}",
    ],
    "play": ["play {clips}/class_0/0.mp4 {clips}/class_0/1.mp4 --out {new}.gif"],
    "sketch": [
        "sketch {clips}/class_0/0.mp4 --out {new}.svg --run {run} --frames 3 --against {clips}/class_0/1.mp4 --steps 2",
    ],
    "check-alignment": ["check-alignment own_parts.Nearest"],
    "check-method": ["check-method fsar.methods.Prototype --frames 2"],
    "publish": ["publish {run} --to {new} --code here"],
}
ELSEWHERE = {
    "convert": "tests/fsar/commands/share/test_convert.py",
    "weights": "tests/fsar/commands/share/test_weights.py",
    "protocol": "tests/fsar/evaluation/protocols/test_protocols.py",
    "rank": "tests/fsar/ranking/test_trial.py",
    "demo": "tests/docs/test_blocks.py",
    "reproduce": "tests/fsar/reproduction/test_reproduce.py",
    "post-train": "tests/fsar/commands/train/test_post_train.py",
    "splits": "tests/fsar/commands/data/test_splits_command.py",
    "check-benchmark": "tests/fsar/commands/data/test_check_benchmark.py",
    "cluster": "tests/fsar/commands/data/test_cluster.py",
    "import-features": "tests/fsar/commands/data/test_import_features.py",
    "describe": "tests/fsar/commands/data/test_describe.py",
    "web": "tests/fsar/web/test_app.py",
}
"""Commands to which the form of the data is nothing, and what runs them."""

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, about itself and about our tiny loaders


def run(line: str) -> None:
    """One command line; it must not fail."""
    words = shlex.split(line)
    try:
        status = main(words)
    except SystemExit as end:
        status = end.code  # type: ignore[assignment]
    assert not status, f"fsar {line}: {status}"


def configuration(path: Path, clips: Path, val: list[str]) -> dict[str, Any]:
    """What the configuration of the small world says, of an encoder whose weights are the same in every process."""
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    content["data"] |= {"test_episodes": 6, "size": 64, "frames": 3}
    content["data"]["benchmark"]["init_args"]["val"] = val
    encoder = yaml.safe_load((ROOT / "configs" / "encoder" / "tiny.yaml").read_text())
    content["model"]["method"]["init_args"]["encoder"] = encoder
    return content


@pytest.fixture(scope="module", params=["pixels", "stored"])
def place(
    request: pytest.FixtureRequest, config: Path, clips: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What the words in braces stand for: a folder with a trained and tested run of own parts, and its name first."""
    folder = tmp_path_factory.mktemp(request.param)
    val = [] if request.param == "stored" else [f"class_{i}" for i in range(3, 6)]
    content = configuration(config, clips, val)
    (folder / "own_parts.py").write_text(OWN)
    (folder / "run.yaml").write_text(yaml.safe_dump(content))
    (folder / "data.yaml").write_text(yaml.safe_dump({"data": content["data"]}))
    (folder / "encoder.yaml").write_text(yaml.safe_dump(content["model"]["method"]["init_args"]["encoder"]))
    features = "" if request.param == "pixels" else f"--data.features {folder}/store"
    words = {"folder": str(folder), "root": str(ROOT), "clips": str(clips), "run": str(folder / "run")}
    words |= {"features": features, "data": f"-c run.yaml {PARTS} {features}", "source": request.param}
    with pytest.MonkeyPatch.context() as patch:
        enter(folder, patch)
        if features:
            run(f"extract --store {folder}/store -c run.yaml {PARTS}")
        run(f"fit --run run {words['data']}")
        run("test --run run")
    return words


def enter(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Stand in a folder whose modules only the command itself can make known."""
    patch.chdir(folder)
    patch.delenv("FSAR_RUN", raising=False)
    patch.setattr(sys, "argv", ["fsar"])
    patch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(folder))])
    patch.delitem(sys.modules, "own_parts", raising=False)


def test_no_command_is_left_out() -> None:
    assert {*LINES, *ELSEWHERE} == set(COMMANDS)
    assert not set(LINES) & set(ELSEWHERE)
    for name, file in ELSEWHERE.items():
        text = (ROOT / file).read_text()
        assert name in text or name.replace("-", "_") in text


@pytest.mark.parametrize("command", LINES)
def test_it_runs(
    place: dict[str, str], command: str, support: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(Path(place["folder"]), monkeypatch)
    words = {**place, "support": str(support), "new": str(tmp_path / "new")}
    for line in LINES[command]:
        if (command, place["source"]) == ("validate", "stored"):
            with pytest.raises(SystemExit, match=r"split val of benchmark .* has no classes: there is nothing"):
                main(shlex.split(line.format(**words)))
        else:
            run(line.format(**words))
