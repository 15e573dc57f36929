"""Post-training on frames from the command line: what is trained, what stays, and who reads the weights."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from fsar.encoders import ClipEncoder
from fsar.encoders.weights.state import read_state

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, about itself and about our tiny loaders
CLASSES = ["one", "two", "three"]
MODEL = """
import torch
from torch import nn

class Tiny(nn.Module):
    def __init__(self, side=4, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.side, self.linear = side, nn.Linear(6, 3)
        self.register_buffer("null_text", torch.zeros(1, 6))
        self.register_buffer("kept", torch.linspace(0.9, 0.1, 10))

    def encode(self, frames):
        return nn.functional.adaptive_avg_pool2d(frames, self.side)

    def forward(self, latent, steps, condition):
        return latent + self.linear(condition.mean(1))[:, :, None, None]

class Half(Tiny):
    def forward(self, latent, steps, condition):
        return super().forward(latent, steps, condition)[..., :2]

class Loud(Tiny):
    def forward(self, latent, steps, condition):
        return 1e9 * super().forward(latent, steps, condition)
"""


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    (tmp_path / "own_diffusion.py").write_text(MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(importlib.sys.modules, "own_diffusion", raising=False)  # type: ignore[attr-defined]
    return importlib.import_module("fsar.commands.train.post_train")


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """Three classes of two clips of two frames, and the toy CLIP whose last block is trained."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        for clip in range(2):
            folder = tmp_path / "videos" / name / str(clip)
            folder.mkdir(parents=True)
            for frame in range(2):
                Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(folder / f"{frame}.jpg")
    source = {"root": str(tmp_path / "videos"), "train": CLASSES, "val": [], "test": []}
    benchmark = {"class_path": "episodes.splits.Folder", "init_args": source}
    encoder = {"model": "fsar-tiny", "pretrained": "shapes", "tune": 1}
    method = {
        "encoder": {"class_path": "fsar.encoders.ClipEncoder", "init_args": encoder},
        "alignment": {"class_path": "fsar.alignment.FrameMean"},
    }
    content = {
        "data": {"benchmark": benchmark, "frames": 2, "size": 64, "workers": 0},
        "model": {"method": {"class_path": "fsar.methods.Prototype", "init_args": method}},
    }
    (tmp_path / "run.yaml").write_text(json.dumps(content))
    quiet = ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.enable_progress_bar", "false"]
    own = ["--denoiser", "own_diffusion.Tiny", "--mean-null", "--steps", "4", "--batch", "2", "--lr", "0.1"]
    return ["-c", str(tmp_path / "run.yaml"), *quiet, *own, "--out", str(tmp_path / "out")]


def test_the_weights_it_leaves_are_read_again_and_only_the_last_block_has_moved(
    tool: ModuleType, options: list[str], tmp_path: Path
) -> None:
    result = tool.main(options)
    assert set(result["last_tenth"]) == {"loss", "diffusion", "anchor"}
    assert result["videos"] == 6
    assert json.loads((tmp_path / "out" / "post_training.json").read_text()) == result
    file = tmp_path / "out" / "encoder.safetensors"
    again = ClipEncoder("fsar-tiny", str(file), quick_gelu=False)
    old, new = ClipEncoder("fsar-tiny", "shapes").state_dict(), again.state_dict()
    moved = {name for name in old if not torch.equal(old[name], new[name])}
    assert moved
    assert all("resblocks.2" in name or "ln_post" in name or name == "visual.proj" for name in moved), moved
    trained = torch.load(tmp_path / "out" / "weights.ckpt", weights_only=True)["state_dict"]
    for name, value in trained.items():
        torch.testing.assert_close(new[name.removeprefix("method.encoder.")], value)
    assert again.logit_scale == pytest.approx(ClipEncoder("fsar-tiny", "shapes").logit_scale, rel=1e-5)
    assert set(read_state(file)[0]) >= {"logit_scale", "visual.proj"}
    built, _ = importlib.import_module("fsar.build").build(
        [*options[:2], "--ckpt_path", str(tmp_path / "out" / "weights.ckpt")], "cpu"
    )
    torch.testing.assert_close(built.method.encoder.visual.proj, again.visual.proj)


def test_the_same_seed_gives_the_same_weights_and_no_anchor_is_the_release(
    tool: ModuleType, options: list[str], tmp_path: Path
) -> None:
    first = tool.main(options)
    again = tool.main([*options[:-1], str(tmp_path / "again")])
    assert first == again
    free = tool.main([*options[:-1], str(tmp_path / "free"), "--anchor", "0", "--replacement"])
    assert set(free["last_tenth"]) == {"loss", "diffusion"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--denoiser", "own_diffusion.None"], "there is no such class"),
        (["--denoiser", "json.JSONDecoder"], "lacks encode and null_text and kept"),
        (["--denoiser-options", "{sides: 3}"], "do not fit own_diffusion.Tiny"),
        (["--denoiser", "own_diffusion.Half"], "belongs to a latent of another size"),
        (["--model.method.encoder.init_args.tune", "frozen"], "nothing of the encoder is trained"),
    ],
)
def test_what_cannot_work_is_refused(tool: ModuleType, options: list[str], change: list[str], said: str) -> None:
    at = options.index(change[0]) if change[0] in options else len(options)
    words = [*options[:at], *options[at + 2 :], *change]
    with pytest.raises(SystemExit) as stopped:
        tool.main(words)
    assert said in str(stopped.value)


def test_a_rate_that_is_too_high_is_told_with_the_step_and_leaves_nothing(
    tool: ModuleType, options: list[str], tmp_path: Path
) -> None:
    at = options.index("--lr")
    with pytest.raises(SystemExit) as stopped:
        tool.main([*options[:at], "--lr", "1e30", *options[at + 2 :]])
    assert re.search(r"the loss of step \d is (nan|inf).*lower --lr", str(stopped.value)), stopped.value
    one = [*options[:at], "--lr", "1e38", *options[at + 2 :]]
    one[one.index("--steps") + 1] = "1"  # no later step is there to notice
    one[one.index("own_diffusion.Tiny")] = "own_diffusion.Loud"
    with pytest.raises(SystemExit) as stopped:
        tool.main(one)
    assert "no longer finite" in str(stopped.value)
    assert not (tmp_path / "out").exists()


def test_adapters_are_trained_and_the_tower_under_them_stays(
    tool: ModuleType, options: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "run.yaml"
    content = json.loads(file.read_text())
    encoder = content["model"]["method"]["init_args"]["encoder"]
    encoder["init_args"]["tune"] = "frozen"
    adapter = {"class_path": "fsar.adapters.STAdapter", "init_args": {"hidden": 8}}
    wrapped = {"class_path": "fsar.encoders.Adapted", "init_args": {"encoder": encoder, "adapter": adapter}}
    content["model"]["method"]["init_args"]["encoder"] = wrapped
    file.write_text(json.dumps(content))
    tool.main(options)
    assert not (tmp_path / "out" / "encoder.safetensors").exists()  # no option reads adapters from a file of weights
    ckpt = str(tmp_path / "out" / "weights.ckpt")
    build = importlib.import_module("fsar.build").build
    fresh, again = (build([*options[:2], *extra], "cpu")[0].method.encoder for extra in ([], ["--ckpt_path", ckpt]))
    before, after = fresh.state_dict(), again.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    trained = {name for name, weight in again.named_parameters() if weight.requires_grad}
    assert moved & trained
    assert moved <= trained
    assert not any(name.endswith("visual.proj") for name in trained)
