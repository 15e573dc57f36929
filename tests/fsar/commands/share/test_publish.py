"""A run that was published loads as the same model, and says only what is true and meant for others."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import fsar
from fsar.__main__ import main
from fsar.sharing.published_config import needed
from fsar.sharing.run import open_run

ROOT = Path(__file__).resolve().parents[4]
CLASSES = [f"class_{i}" for i in range(6)]


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    return importlib.import_module("fsar.commands.share.publish")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``my clips/<class>/<clip>/``: six classes of three clips of noise, as folders of frames."""
    root = tmp_path_factory.mktemp("my clips")
    for i, name in enumerate(CLASSES):
        for j in range(3):
            (root / name / f"clip_{j}").mkdir(parents=True)
            for t, frame in enumerate(np.random.default_rng(10 * i + j).integers(0, 255, (4, 64, 64, 3), np.uint8)):
                Image.fromarray(frame).save(root / name / f"clip_{j}" / f"{t:05d}.png")
    return root


@pytest.fixture(scope="module")
def trained(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two episodes, tested; its frozen tower is random, so that it depends on the seed."""
    folder = {"root": str(clips), "train": CLASSES[:2], "val": CLASSES[2:4], "test": CLASSES[4:]}
    counts = {"train_episodes": 2, "val_episodes": 4, "test_episodes": 20}
    sizes = {"ways": 2, "shots": 1, "queries": 1, "frames": 4, "size": 64, "workers": 0}
    encoder = {"class_path": "ClipEncoder", "init_args": {"model": "fsar-tiny", "pretrained": None}}
    quiet = {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    content = {
        "seed_everything": 7,
        "trainer": quiet,
        "data": {"benchmark": {"class_path": "episodes.splits.Folder", "init_args": folder}, **counts, **sizes},
        "model": {"method": {"class_path": "ClipFSAR", "init_args": {"encoder": encoder, "alignment": "OTAM"}}},
    }
    place = tmp_path_factory.mktemp("runs")
    (place / "run.yaml").write_text(yaml.safe_dump(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for command in (["fit", "-c", "run.yaml"], ["test"], ["test", "--model.alignment", "FrameMean"]):
            patch.delenv("FSAR_RUN", raising=False)
            main([command[0], "--debug", "--run", "mine", *command[1:]])
    return place / "mine"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run to change."""
    return Path(shutil.copytree(trained, tmp_path / "mine"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("results/*/results.json"))]


def change(path: Path, **values: Any) -> None:
    """Change entries of a JSON or YAML file, by dotted keys with / for the dot."""
    content = yaml.safe_load(path.read_text())
    for key, value in values.items():
        *parents, last = key.split("/")
        inner = content
        for name in parents:
            inner = inner[name]
        inner[last] = value
    path.write_text(json.dumps(content) if path.suffix == ".json" else yaml.safe_dump(content))


def test_the_published_run_answers_bit_for_bit_as_the_run_does(
    tool: ModuleType, trained: Path, clips: Path, tmp_path: Path
) -> None:
    tool.main([str(trained), "--to", "./out/shared"])
    names = [path.relative_to(clips) for path in sorted(clips.glob("*/*"))]
    support = {str(name): sorted((clips / name).iterdir())[:2] for name in CLASSES[4:]}
    queries = [clips / name for name in names[-4:]]
    torch.manual_seed(1)
    ours = fsar.load(trained, device="cpu")
    torch.manual_seed(2)  # the random tower comes from the seed of the run, not from where we stand
    theirs = fsar.load("out/shared", device="cpu")
    for (name, a), (other, b) in zip(
        sorted(ours.learner.method.state_dict().items()),
        sorted(theirs.learner.method.state_dict().items()),
        strict=True,
    ):
        assert name == other
        assert torch.equal(a, b), name
    assert [a.record() for a in theirs.predict(support, queries)] == [
        a.record() for a in ours.predict(support, queries)
    ]
    assert theirs.learner.method.alignment.temperature == ours.learner.method.alignment.temperature


def test_the_card_says_what_the_run_says(tool: ModuleType, trained: Path) -> None:
    tool.main([str(trained), "--to", "shared", "--license", "mit"])
    _, front, card = Path("shared", "README.md").read_text().split("---\n", 2)
    head = yaml.safe_load(front)
    assert head["license"] == "mit"
    assert (head["library_name"], head["pipeline_tag"]) == ("fsar", "video-classification")
    assert {"few-shot", "clipfsar"} <= set(head["tags"])
    assert len(records(trained)) == 2
    for record in records(trained):
        metric = record["config"]["model"]["method"]["init_args"]["alignment"]["class_path"].rsplit(".", 1)[-1]
        accuracy, interval = 100 * record["accuracy"], 100 * record["interval_95"]
        floor, spread = 100 * record["zero_shot_accuracy"], 100 * record["zero_shot_interval_95"]
        numbers = f"20 | {accuracy:.2f} ± {interval:.2f} | {floor:.2f} ± {spread:.2f} (“a photo of {{}}”) |"
        name = record["data"]["benchmark"]
        assert f"| {name} | test | 2-way 1-shot | {metric} | few_shot | {numbers}" in card
    stored = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    best = next(state for name, state in stored["callbacks"].items() if name.startswith("BestCheckpoint"))
    assert f"{100 * float(best['best_model_score']):.2f} % over 4 episodes" in card
    assert f"{sum(value.numel() for value in stored['state_dict'].values()):,} weights" in card
    assert "on 2 classes of Folder my clips" in card
    assert "class 0; class 1" in card
    assert stored["frozen_weights_sha256"] in card
    assert "random weights, drawn from seed_everything" in card
    assert hashlib.sha256(Path("shared", "model.safetensors").read_bytes()).hexdigest() in card
    assert records(trained)[0]["weights_sha256"] in card
    assert records(trained)[0]["versions"]["torch"] in card
    assert 'fsar.load("shared")' in card


def test_no_path_of_this_machine_goes_along(tool: ModuleType, run: Path, clips: Path, tmp_path: Path) -> None:
    logger = {
        "class_path": "lightning.pytorch.loggers.MLFlowLogger",
        "init_args": {"tracking_uri": "http://me:SECRET@x"},
    }
    result = next(run.glob("results/*/results.json"))
    change(run / "config.yaml", **{"trainer/logger": logger, "data/features": str(Path.home() / "features")})
    left_out = {f"{clips}/class_0/a b.mp4": f"{clips}/class_0/a b.mp4: cut off after /data/x.mp4"}
    change(
        result, **{"config/trainer/logger": logger, "data/videos_left_out": left_out, "checkpoint": "~/runs/best.ckpt"}
    )
    tool.main([str(run), "--to", "shared", "--episodes"])
    assert len(list(Path("shared").glob("results/*/episodes.csv.gz"))) == 2
    for name, content in contents(Path("shared")).items():
        header = content[8 : 8 + int.from_bytes(content[:8], "little")] if name.endswith(".safetensors") else content
        text = (gzip.decompress(content) if name.endswith(".gz") else header).decode()
        for secret in (str(clips.parent), str(tmp_path), str(Path.home()) + "/", "SECRET", "/data", "~/"):
            assert secret not in text, f"{secret} in {name}"
    record = json.loads((Path("shared") / result.relative_to(run)).read_text())
    name = clips.name
    clip = f"{name}/class_0/a b.mp4"
    assert record["data"]["videos_left_out"] == {clip: f"{clip}: cut off after x.mp4"}
    assert record["config"]["data"]["benchmark"]["init_args"]["root"] == name
    assert record["accuracy"] == json.loads(result.read_text())["accuracy"]
    published = yaml.safe_load(Path("shared", "config.yaml").read_text())
    assert published == needed(yaml.safe_load((run / "config.yaml").read_text()))


def test_paths_become_names_and_other_text_stays(tool: ModuleType) -> None:
    kept = ["5-way/1-shot", "https://a.org/b/c.mp4", "clips/a.mp4", "a / b", "± 0.3 %", "http://x/y z", "my/data/a", 3]
    assert tool.without_paths(kept, ["/data"]) == kept
    assert tool.without_paths("(/home/me/a.mp4): /x/y/b.mp4, C:\\me\\c.mp4", []) == "(a.mp4): b.mp4, c.mp4"
    assert tool.without_paths(["/other folder/a b.mp4", "~/x/y.pt", "/data", "/data2/x"], ["/data"]) == [
        "a b.mp4",
        "y.pt",
        "data",
        "x",
    ]
    assert tool.without_paths({"/my home/a/b.mp4": ["in /my home/a/c.mp4", None]}, ["/my home/a"]) == {
        "a/b.mp4": ["in a/c.mp4", None]
    }
    folders = tool.machine_folders({"features": "/my home", "root": "/my home/a"})
    assert tool.without_paths("/my home/a/b.mp4", folders) == "a/b.mp4"


def test_publishing_again_replaces_what_was_published(tool: ModuleType, run: Path) -> None:
    (Path("shared") / ".git").mkdir(parents=True)  # a clone of the repository to be
    tool.main([str(run), "--to", "shared"])
    first = contents(Path("shared"))
    assert len(records(Path("shared"))) == 2
    tool.main([str(run), "--to", "shared"])
    assert contents(Path("shared")) == first
    shutil.rmtree(next(run.glob("results/*-2")))
    tool.main([str(run), "--to", "shared"])
    assert len(records(Path("shared"))) == 1


def test_a_folder_of_something_else_is_left_alone(tool: ModuleType, run: Path) -> None:
    Path("thesis").mkdir()
    Path("thesis/chapter.tex").write_text("all of it")
    before = contents(run)
    for folder, why in (
        ("thesis", "is there and holds"),
        ("thesis/chapter.tex", "is a file"),
        ("mine", "is there and"),
    ):
        with pytest.raises(SystemExit, match=f"publish: {folder} {why}"):
            tool.main([str(run), "--to", folder])
    assert contents(Path("thesis")) == {"chapter.tex": b"all of it"}
    assert contents(run) == before


def test_a_run_without_results_says_so(tool: ModuleType, run: Path) -> None:
    shutil.rmtree(run / "results")
    tool.main([str(run), "--to", "shared"])
    card = Path("shared", "README.md").read_text()
    assert "None: this run was not tested before it was published." in card
    assert "±" not in card
    assert not Path("shared", "results").exists()


def test_results_of_other_weights_are_left_out(tool: ModuleType, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = next(run.glob("results/*-2/results.json"))
    change(result, weights_sha256="0" * 64)
    tool.main([str(run), "--to", "shared"])
    assert f"left out results/{result.parent.name}: measured on other weights" in capsys.readouterr().out
    assert [r["weights_sha256"] for r in records(Path("shared"))] == [records(run)[0]["weights_sha256"]]


def test_classes_that_were_trained_on_are_pointed_out(tool: ModuleType, run: Path) -> None:
    change(next(run.glob("results/*/results.json")), classes_seen_in_training=["class 0"])
    tool.main([str(run), "--to", "shared"])
    assert "1 of its 2 classes were trained on (class 0)" in Path("shared", "README.md").read_text()


def test_what_is_no_run_is_refused(tool: ModuleType, run: Path) -> None:
    (run / "checkpoints" / "best.ckpt").unlink()
    with pytest.raises(SystemExit, match=r"publish: .*best.ckpt does not exist: .*fsar fit --run"):
        tool.main([str(run), "--to", "shared"])
    assert not Path("shared").exists()


def test_code_of_others_is_named_and_where_it_is_found(
    tool: ModuleType, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("own_metric.py").write_text("from fsar.alignment import OTAM\n\n\nclass Mine(OTAM):\n    pass\n")
    change(run / "config.yaml", **{"model/method/init_args/alignment": {"class_path": "own_metric.Mine"}})
    monkeypatch.syspath_prepend(str(Path.cwd()))
    with pytest.raises(SystemExit, match=r"needs own_metric.Mine, which is no part of fsar: say .* --code"):
        tool.main([str(run), "--to", "shared"])
    tool.main([str(run), "--to", "shared", "--code", "https://example.org/own_metric.py."])
    card = Path("shared", "README.md").read_text()
    assert (
        "`own_metric.Mine`, which is code of its author and no part of fsar: https://example.org/own_metric.py. "
        in card
    )
    assert 'fsar.load("shared", trust_classes=True)' in card
    with pytest.raises(ValueError, match=r"names own_metric.Mine as model.method.init_args.alignment.class_path"):
        fsar.load("shared")
    assert type(fsar.load("shared", trust_classes=True).learner.method.alignment).__name__ == "Mine"


def test_a_file_of_frozen_weights_is_asked_for_by_name(tool: ModuleType, run: Path, tmp_path: Path) -> None:
    weights = Path(
        shutil.copy(ROOT / "fsar" / "encoders" / "tiny" / "fsar-tiny.safetensors", tmp_path / "tiny.safetensors")
    )
    key = "model/method/init_args/encoder/init_args/pretrained"
    change(run / "config.yaml", **{key: str(weights), key.replace("pretrained", "quick_gelu"): True})
    method = fsar.inference.predictor.configure(["--config", str(run / "config.yaml")], "cpu").learner
    checkpoint: dict[str, Any] = {"state_dict": method.state_dict(), "global_step": 1}
    method.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, run / "checkpoints" / "best.ckpt")
    tool.main([str(run), "--to", "shared"])
    card = Path("shared", "README.md").read_text()
    assert "* The file `tiny.safetensors`, named by the option `--model.encoder.pretrained`." in card
    assert 'fsar.load("shared", overrides=["--model.encoder.pretrained", "FILE"])' in card
    assert "There were no validation classes: the checkpoint is the last" in card
    assert str(tmp_path) not in "".join(
        content.decode(errors="replace") for content in contents(Path("shared")).values()
    )
    with pytest.raises(FileNotFoundError, match=r"shared needs the file tiny.safetensors"):
        open_run("shared")
    open_run("shared", overrides=["--model.encoder.pretrained", str(weights)])
