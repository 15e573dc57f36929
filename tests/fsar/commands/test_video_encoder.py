"""A network that makes a step of every two frames, through the commands: what they write names the frames of a step."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from fsar.__main__ import main

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, about itself and about our tiny loaders
ARCHITECTURE = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
HEAD = {"class_path": "fsar.temporal.TemporalTransformer", "init_args": {"channels": 24, "zero_init": True}}


def run(line: str) -> None:
    """One command line; it must not fail."""
    try:
        status = main(shlex.split(line))
    except SystemExit as end:
        status = end.code  # type: ignore[assignment]
    assert not status, f"fsar {line}: {status}"


@pytest.fixture(scope="module")
def folder(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a VideoMAE of 8 frames, ``run.yaml`` and what was trained with it in ``run``."""
    transformers = pytest.importorskip("transformers")
    root = tmp_path_factory.mktemp("video")
    torch.manual_seed(0)
    made = transformers.VideoMAEConfig(image_size=32, num_frames=8, **ARCHITECTURE)
    transformers.VideoMAEModel(made).save_pretrained(root / "network")
    pixels = {"image_mean": [0.4] * 3, "image_std": [0.2] * 3, "size": {"shortest_edge": 36}, "crop_size": 32}
    (root / "network" / "preprocessor_config.json").write_text(json.dumps(pixels))
    network = {"model": str(root / "network"), "weights": str(root / "network"), "library": "transformers"}
    content: dict[str, Any] = yaml.safe_load(config.read_text())
    content["data"] |= {"frames": 8, "test_episodes": 6}
    content["model"] = {
        "method": {
            "class_path": "fsar.methods.Prototype",
            "init_args": {
                "encoder": {"class_path": "fsar.encoders.VideoEncoder", "init_args": network},
                "alignment": {"class_path": "fsar.alignment.OTAM"},
                "temporal": HEAD,
            },
        }
    }
    (root / "run.yaml").write_text(yaml.safe_dump(content))
    run(f"extract --store {root}/store -c {root}/run.yaml")
    run(f"fit --run {root}/run -c {root}/run.yaml")
    run(f"test --run {root}/run")
    return root


def test_stored_features_give_what_videos_give(folder: Path) -> None:
    run(f"test --run {folder}/run --data.features {folder}/store --trainer.logger false")
    first, second = (json.loads(path.read_text()) for path in sorted((folder / "run").rglob("results.json")))
    assert first["accuracy"] == second["accuracy"]


def test_longer_clips_in_windows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = yaml.safe_load((folder / "run.yaml").read_text())
    content["data"]["frames"] = 12
    encoder = content["model"]["method"]["init_args"]["encoder"]["init_args"]
    encoder |= {"window": 8, "window_stride": 4}
    (folder / "long.yaml").write_text(yaml.safe_dump(content))
    run(f"extract --store {folder}/windows -c {folder}/long.yaml --splits test")
    run(f"test --run {folder}/videos -c {folder}/long.yaml")
    run(f"test --run {folder}/stored -c {folder}/long.yaml --data.features {folder}/windows")
    first, second = (
        json.loads(next((folder / name).rglob("results.json")).read_text()) for name in ("videos", "stored")
    )
    assert first["accuracy"] == second["accuracy"]
    assert first["encoder_sha256"] == second["encoder_sha256"]
    with pytest.raises(SystemExit, match=r"data\.frames is 14, but .* set data\.frames to 12 or 16, or window"):
        main(shlex.split(f"test -c {folder}/long.yaml --data.frames 14 --data.benchmark.root nowhere"))
    with pytest.raises(SystemExit, match=r"data\.frames is 12, but .* to 8, or window of the encoder to 8, or"):
        main(shlex.split(f"test -c {folder}/run.yaml --data.frames 12 --data.benchmark.root nowhere"))


def test_low_rank_changes_are_trained_kept_and_read(
    folder: Path, clips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = yaml.safe_load((folder / "run.yaml").read_text())
    own = content["model"]["method"]["init_args"]
    changes = {"class_path": "fsar.adapters.LoRA", "init_args": {"rank": 2}}
    own["encoder"] = {
        "class_path": "fsar.encoders.Adapted",
        "init_args": {"encoder": own["encoder"], "adapter": changes},
    }
    (folder / "lora.yaml").write_text(yaml.safe_dump(content))
    run(f"fit --run {folder}/lora -c {folder}/lora.yaml --trainer.max_steps 1 --model.temporal null")
    kept = torch.load(next((folder / "lora").rglob("last.ckpt")), weights_only=True)["state_dict"]
    assert {name.rpartition(".")[2] for name in kept} == {"a", "b"}
    assert any(bool(value.any()) for name, value in kept.items() if name.endswith(".b"))
    run(f"test --run {folder}/lora")
    found = json.loads(next((folder / "lora").rglob("results.json")).read_text())
    assert found["episodes"] == 6
    capsys.readouterr()
    with pytest.raises(SystemExit, match=r"data\.frames is 7, but .* was built for clips of 8"):
        main(shlex.split(f"test --run {folder}/lora --data.frames 7 --data.benchmark.root nowhere"))


@pytest.mark.parametrize(
    "line",
    [
        "sweep --run {run} --out {new} --ways 2 3 --shots 1",
        "robustness {run} --shifts reverse --out {new}",
        "protocol wrong-shot --run {run} --out {new} --ways 3 --shots 2 --episodes 4",
        "plot-alignment {clips}/class_0/0.mp4 {clips}/class_1/0.mp4 --run {run} --out {new}.png",
        "play {clips}/class_0/0.mp4 {clips}/class_1/0.mp4 --run {run} --out {new}.gif",
    ],
)
def test_commands_take_steps_of_several_frames(folder: Path, clips: Path, tmp_path: Path, line: str) -> None:
    run(line.format(run=folder / "run", clips=clips, new=tmp_path / "new"))


def test_answers_and_reports_name_the_frames_of_a_step(
    folder: Path, clips: Path, support: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = clips / "class_0" / "4.mp4"
    run(f"predict --run {folder}/run --support {support} --query {query} --json")
    found = json.loads(capsys.readouterr().out)["answers"][0]["alignment"]
    assert found["frames_of_a_step"] == 2
    assert len(found["cost"]) == 4
    run(f"report {folder}/run --gallery 1")
    page = (folder / "run" / "report.html").read_text()
    assert "1–2, 3–4, 5–6, 7–8" in page
    map_of_steps = page.split('<svg class="map"')[1].split("</svg>")[0]
    assert map_of_steps.count("<image") == 4 + 4
