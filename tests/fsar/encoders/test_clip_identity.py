"""What an encoder is known by: its fingerprint, its copies, what its state holds."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor

from fsar.encoders import ClipEncoder, FrameEncoder


def trained_names(encoder: torch.nn.Module) -> list[str]:
    return [name for name, parameter in encoder.named_parameters() if parameter.requires_grad]


def frames(side: int = 32, lead: tuple[int, ...] = (2, 3)) -> Tensor:
    """Clips of random pixels."""
    return torch.randint(0, 256, (*lead, 3, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_fingerprint_names_what_defines_the_features(weights: str) -> None:
    def make(**options: object) -> FrameEncoder:
        return ClipEncoder("test-vit", weights, **{"quick_gelu": False, **options})

    first = make()
    same = [make(), make(frames_per_chunk=1), make(templates=["{}"]), copy.deepcopy(first)]
    assert {encoder.fingerprint() for encoder in same} == {first.fingerprint()}
    moved = make()
    with torch.no_grad():
        moved.visual.proj[0, 0] += 1e-3
    others = [moved, make(mean=(0.5, 0.5, 0.5)), make(std=(1, 1, 1)), make(precision="bf16"), make(quick_gelu=True)]
    assert len({encoder.fingerprint() for encoder in (first, *others)}) == 6


def test_fingerprint_of_a_tuned_tower_names_the_frozen_rest() -> None:
    encoder = ClipEncoder("test-resnet", None, tune=1).train()
    frozen, everything = encoder.fingerprint(), encoder.fingerprint(trained=True)
    with torch.no_grad():
        encoder.visual.layer4[0].conv1.weight.add_(1)
    encoder(frames(64))  # moves the statistics of layer4's BatchNorm
    assert encoder.fingerprint() == frozen
    assert encoder.fingerprint(trained=True) != everything


def test_fingerprint_is_the_same_in_another_process(architectures: Path, weights: str) -> None:
    config = str(architectures / "test-plain.json")
    code = (
        f"import torch; torch.manual_seed(3); from fsar.encoders import ClipEncoder; "
        f"print(ClipEncoder({config!r}, None).fingerprint())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=_root())
    torch.manual_seed(3)
    assert done.stdout.strip() == ClipEncoder(config, None).fingerprint()


def _root() -> Path:
    return Path(__file__).resolve().parents[3]


def test_copies_and_pickles_are_the_same_encoder() -> None:
    encoder = ClipEncoder("test-plain", None, tune=1)
    clips, names = frames(), ["swinging", "diving"]
    text = encoder.require_text()(names)
    for twin in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        torch.testing.assert_close(twin(clips), encoder(clips))
        assert torch.equal(twin.text(names), text)
        assert trained_names(twin) == trained_names(encoder)
        assert list(twin.state_dict()) == list(encoder.state_dict())


def test_state_dict_holds_weights_alone() -> None:
    encoder = ClipEncoder("test-plain", None)
    encoder.require_text()(["a dog"])
    assert all(key.startswith(("visual.", "text.tower.")) for key in encoder.state_dict())
