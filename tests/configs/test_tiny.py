"""Every configuration on the toy CLIP trains and is tested by the command line, whatever benchmark it is laid on."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
import yaml

from fsar.commands.train.fit import main

METHODS = Path(__file__).resolve().parents[2] / "configs" / "method"
TINY = [METHODS / "clip_fsar_tiny.yaml", *sorted((METHODS / "tiny").glob("*.yaml"))]
TRAINED_OVER_EPISODES = {
    "action_clip", "aim", "clip4clip", "clip_cpm2c", "clip_fsar_tiny", "clip_mei", "clip_spm", "cocoop", "coop",
    "cross_transformer", "d2st", "emp_net", "evl", "hyrsm", "hyrsm_plus_plus", "lora", "ma_clip", "molo",
    "prototype_head", "st_adapter", "strm", "ta2n", "task_adapter_pp", "team", "trx", "ts_fsar",
}  # fmt: skip


@pytest.fixture
def files(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Trainer and data of two training episodes of 8 frames, in a folder of their own; the method is still to name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FSAR_RUN", raising=False)
    monkeypatch.setattr(sys, "argv", ["fsar"])
    content = yaml.safe_load(config.read_text())
    del content["model"]
    content["trainer"]["logger"] = False
    content["data"] |= {"frames": 8, "size": 64, "train_episodes": 2, "test_episodes": 4, "check_videos": False}
    content["data"]["benchmark"]["init_args"]["val"] = []
    Path("data.yaml").write_text(yaml.safe_dump(content))
    return ["-c", "data.yaml", "-c"]


def test_there_is_one_for_every_method_that_is_trained_over_episodes() -> None:
    assert {path.stem for path in TINY} == TRAINED_OVER_EPISODES


@pytest.mark.parametrize("method", TINY, ids=lambda path: path.stem)
def test_the_yaml_of_the_method_is_all_that_is_swapped(method: Path, files: list[str]) -> None:
    main(["fit", "--debug", "--run", "run", *files, str(method)])
    main(["test", "--debug", "--run", "run"])
    (result,) = (json.loads(path.read_text()) for path in Path("run").glob("results/*/results.json"))
    assert result["episodes"] == 4
    checkpoint = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())
    (optimizer,) = checkpoint["optimizer_states"]
    assert any(state["exp_avg"].any() for state in optimizer["state"].values())  # gradients came
