"""Every fusion that is shipped trains and is tested by the command line, from pixels and from stored features."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
import yaml

from fsar.__main__ import main

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FUSIONS = sorted((CONFIGS / "fusion").glob("*.yaml"))


def test_there_is_one_of_every_kind() -> None:
    assert [path.stem for path in FUSIONS] == ["glip", "group_vit", "inter_view", "multi_scale"]


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda path: path.stem)
def test_a_fusion_is_laid_over_the_prototypes(
    fusion: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fsar"])
    content = yaml.safe_load(config.read_text())
    del content["model"]
    content["trainer"]["logger"] = False
    content["data"] |= {"frames": 8, "size": 64, "train_episodes": 2, "test_episodes": 4, "check_videos": False}
    content["data"]["benchmark"]["init_args"]["val"] = []
    Path("data.yaml").write_text(yaml.safe_dump(content))
    files = ["-c", "data.yaml", "-c", "method/tiny/prototype_head", "-c", str(fusion)]
    main(["extract", "--store", "features", *files])
    for run, features in (("pixels", []), ("stored", ["--data.features", "features"])):
        main(["fit", "--debug", "--run", run, *files, *features])
        main(["test", "--debug", "--run", run])
    weights = [
        torch.load(f"{run}/checkpoints/last.ckpt", weights_only=True)["state_dict"] for run in ("pixels", "stored")
    ]
    assert any("fusion" in name for name in weights[0])
    assert weights[0].keys() == weights[1].keys()
    results = [json.loads(next(Path(run).glob("results/*/results.json")).read_text()) for run in ("pixels", "stored")]
    accuracy = [result["accuracy"] for result in results]
    assert accuracy[0] == pytest.approx(accuracy[1], abs=0.26)  # stored in 16 bits: a few of 12 queries apart
