"""``--encoder NAME`` of fit, validate, test and what takes their options: ``--model.encoder`` by a short name."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torchvision.models import squeezenet1_1

from fsar.__main__ import main
from fsar.build import build_with_trainer
from fsar.encoders.weights.options import spell_encoder

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, about itself and about our tiny loaders
NAME = "torchvision:squeezenet1_1:net.pt"
METHOD = "--model.method Prototype --model.alignment FrameMean"


@pytest.fixture(autouse=True)
def place(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration of 32 pixels, and the weights of a network that sees 224."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FSAR_RUN", raising=False)
    monkeypatch.setattr("sys.argv", ["fsar"])
    torch.manual_seed(0)
    torch.save(squeezenet1_1().state_dict(), "net.pt")
    content = yaml.safe_load(config.read_text())
    content["data"]["size"] = 32
    Path("run.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def run(line: str) -> dict[str, Any]:
    """One command of a run folder; its results."""
    main(shlex.split(f"{line} --run run --debug"))
    found: dict[str, Any] = json.loads(next(Path("run/results").rglob("results.json")).read_text())
    return found


def test_it_is_the_long_form() -> None:
    short = run(f"test -c run.yaml {METHOD} --encoder {NAME} --model.encoder.image_size 48")
    named = short["config"]["model"]["method"]["init_args"]["encoder"]
    assert named["class_path"] == "fsar.encoders.ImageEncoder"
    wanted = {"model": "squeezenet1_1", "weights": "net.pt", "library": "torchvision", "image_size": 48}
    assert wanted.items() <= named["init_args"].items()
    assert short["pixels"]["size"] == 48  # its own, not that of the file
    part = json.dumps({"class_path": "fsar.encoders.ImageEncoder", "init_args": wanted})
    words = ["-c", "run.yaml", *METHOD.split(), "--model.encoder", part, "--data.size", "null"]
    alone = build_with_trainer(words)
    alone.trainer.test(alone.learner, alone.data, verbose=False)
    assert alone.learner.result["accuracy"] == short["accuracy"]


def test_before_or_behind_what_names_the_method() -> None:
    for line in (f"--encoder=tiny -c run.yaml {METHOD}", f"-c run.yaml {METHOD} --encoder tiny --data.size 64"):
        built = build_with_trainer(shlex.split(line))
        assert built.config["model"]["method"]["init_args"]["encoder"]["init_args"]["model"] == "fsar-tiny"
        assert built.data.framing.size == 64


def test_several_splits_and_a_fit_take_it(capsys: pytest.CaptureFixture[str]) -> None:
    content = yaml.safe_load(Path("run.yaml").read_text())
    content["data"]["benchmark"]["init_args"] = {"root": content["data"]["benchmark"]["init_args"]["root"], "seed": 0}
    Path("drawn.yaml").write_text(yaml.safe_dump(content))
    main(shlex.split(f"test --splits 2 --run both -c drawn.yaml {METHOD} --encoder tiny --data.ways 2"))
    found = json.loads(next(Path("both").rglob("results.json")).read_text())
    assert found["config"]["model"]["method"]["init_args"]["encoder"]["init_args"]["model"] == "fsar-tiny"
    main(shlex.split("fit -c run.yaml --encoder tiny --run fitted --debug"))
    saved = yaml.safe_load(Path("fitted/config.yaml").read_text())
    assert saved["model"]["method"]["init_args"]["encoder"]["init_args"]["model"] == "fsar-tiny"
    assert "frozen" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--encoder", "--encoder: expected a name behind it, such as small or timm:NAME"),
        ("--encoder --data.ways 2", "--encoder: expected a name behind it"),
        ("--encoder tiny --encoder=base", "--encoder tiny and --encoder name the encoder twice: keep one"),
        ("--encoder tiny --model.encoder small", "--encoder tiny and --model.encoder name the encoder twice"),
        ("--model.method.encoder.class_path=X --encoder tiny", "tiny and --model.method.encoder.class_path=X name"),
        ("--encoder timm:vit_tiny_patch16_22", "--encoder timm:vit_tiny_patch16_22: model='vit_tiny_patch16_22' is no"),
        ("--encoder gone.yaml", "--encoder gone.yaml: expected a YAML file, but there is no such file"),
        ("--encoder torchvision:squeezenet1_1:gone.pt", "weights='gone.pt' is not a file"),
    ],
)
def test_what_is_wrong_is_one_message(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("test", "fit", *(["sweep --out out"] if words.count("--encoder") == 1 else [])):
        with pytest.raises(SystemExit) as left:
            main(shlex.split(f"{command} -c run.yaml {words}"))
        assert said in str(left.value) + capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_line_without_it_stays() -> None:
    line = ["-c", "a.yaml", "--model.encoder", "tiny", "--data.size", "3"]
    assert spell_encoder(line) == line
