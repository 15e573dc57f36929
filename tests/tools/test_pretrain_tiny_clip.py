"""The tiny CLIP that ships, and the tool that makes it."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from types import ModuleType

import open_clip
import pytest
import torch
from safetensors.torch import load_file

from episodes.shapes import appearance, motion
from episodes.shapes.captions import captioned_frames
from fsar.alignment import OTAM, FrameMean

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "fsar" / "encoders" / "tiny" / "fsar-tiny.safetensors"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pretrain_tiny_clip", ROOT / "tools" / "pretrain_tiny_clip.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model(tool: ModuleType) -> open_clip.CLIP:
    return tool.make_model(WEIGHTS).eval()


def test_the_weights_are_small_and_load_strictly(model: open_clip.CLIP) -> None:
    assert sum(file.stat().st_size for file in WEIGHTS.parent.iterdir()) <= 4_000_000
    weights = load_file(WEIGHTS)
    assert set(weights) == set(model.state_dict())
    assert {w.dtype for w in weights.values()} == {torch.float16}
    assert all(bool(w.isfinite().all()) for w in weights.values())


def test_the_tokenizer_takes_the_context_from_the_config(model: open_clip.CLIP) -> None:
    tokens = open_clip.get_tokenizer("fsar-tiny")(["a photo of a star on grass", "word " * 200])
    captions = [text for some in captioned_frames(200, "lengths")[1] for text in some]
    assert bool((open_clip.get_tokenizer("fsar-tiny")(captions)[:, -1] == 0).all())  # none is cut off
    assert tokens.shape == (2, model.context_length)
    assert model.vocab_size == 49408


@torch.no_grad()
def test_names_of_unseen_pairs_are_recognised(tool: ModuleType, model: open_clip.CLIP) -> None:
    features = tool.encode(model, tool.clips("appearance", "test", 3))
    texts = tool.encode_names(model, appearance.CLASSES["test"])
    everything = torch.arange(len(texts))[None]
    assert tool.zero_shot(features, texts, everything) > 0.4  # chance is 1/12
    assert tool.zero_shot(features, texts[torch.arange(11, -1, -1)], everything) < 0.15


@torch.no_grad()
def test_frames_tell_opposites_apart_only_in_order(tool: ModuleType, model: open_clip.CLIP) -> None:
    draw = torch.Generator().manual_seed(0)
    features = tool.encode(model, tool.clips("motion", "test", 6))
    pairs = torch.tensor(motion.OPPOSITES["test"]).repeat(100, 1)
    assert 0.4 < tool.one_shot(features, FrameMean(), pairs, draw) < 0.6
    assert tool.one_shot(features, OTAM(), pairs, draw) > 0.58


def test_scores_against_a_loop(tool: ModuleType) -> None:
    features = torch.randn(4, 3, 8, 6)
    subsets = torch.tensor([[0, 2], [3, 1], [1, 0]])
    texts = torch.nn.functional.normalize(torch.randn(4, 6), dim=-1)
    means = torch.nn.functional.normalize(torch.nn.functional.normalize(features, dim=-1).mean(2), dim=-1)
    right = [
        int((texts[list(subset)] @ means[c, k]).argmax()) == label
        for subset in subsets.tolist()
        for label, c in enumerate(subset)
        for k in range(3)
    ]
    assert tool.zero_shot(features, texts, subsets) == pytest.approx(sum(right) / len(right))
    same = torch.randn(4, 1, 8, 6).expand(4, 3, 8, 6)
    assert tool.one_shot(same, FrameMean(), subsets, torch.Generator().manual_seed(0)) == 1.0


def options(**changed: object) -> argparse.Namespace:
    given = {"steps": 6, "batch": 32, "pictures": 64, "lr": 1e-3, "seed": 0, "state": None}
    return argparse.Namespace(**{**given, **changed})


def test_a_step_shows_one_scene_or_all(tool: ModuleType) -> None:
    blocks = torch.arange(12 * 64 * 2) // 64 % 12
    scenes = [blocks[tool.choose(len(blocks), 64, 0.5, seed)[0]].unique().numel() for seed in range(40)]
    assert 5 < scenes.count(1) < 35
    assert all(n == 1 or n > 6 for n in scenes)


def test_training_learns_and_repeats_itself(tool: ModuleType) -> None:
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(tool.make_model())
        tool.train(models[-1], options())
    first, second = (m.state_dict() for m in models)
    assert all(torch.equal(first[name], second[name]) for name in first)
    torch.manual_seed(0)
    fresh = tool.make_model().state_dict()
    assert not torch.equal(first["visual.proj"], fresh["visual.proj"])


def test_an_interrupted_training_goes_on(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    whole = tool.make_model()
    tool.train(whole, options())

    encode, calls = tool.encode, []

    def interrupted(*arguments: object) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return encode(*arguments)

    torch.manual_seed(0)
    monkeypatch.setattr(tool, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tool.train(tool.make_model(), options(state=tmp_path / "state.pt"))
    monkeypatch.undo()
    torch.manual_seed(1)
    resumed = tool.make_model()
    tool.train(resumed, options(state=tmp_path / "state.pt"))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
