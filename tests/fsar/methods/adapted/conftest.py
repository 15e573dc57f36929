"""A tiny CLIP with an 8 x 8 grid of patches, and episodes of random pixels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import open_clip
import pytest
import torch

from episodes.clips import Streams
from episodes.episode import Episode
from fsar.encoders import ClipEncoder

CONFIG = {
    "embed_dim": 48,
    "vision_cfg": {"image_size": 32, "patch_size": 4, "width": 64, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 24, "width": 32, "heads": 2, "layers": 1},
}
NAMES = tuple(f"action {word}" for word in ("jump", "run", "wave", "push", "pull", "fall"))


@pytest.fixture(scope="session", autouse=True)
def architecture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("methods")
    (folder / "test-method.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder)
    return folder


@pytest.fixture
def tiny() -> Callable[..., ClipEncoder]:
    """Makes the same encoder every time."""

    def make(**options: object) -> ClipEncoder:
        torch.manual_seed(1)
        encoder = ClipEncoder("test-method", None, **options)  # type: ignore[arg-type]
        torch.manual_seed(2)
        return encoder

    return make


@pytest.fixture
def pixels() -> Callable[..., Episode]:
    """Makes an episode of random clips of 3 of the 6 classes."""

    def make(ways: int = 3, shots: int = 1, queries: int = 2, t: int = 8, seed: int = 0) -> Episode:
        g = torch.Generator().manual_seed(seed)
        return Episode(
            Streams(frames=torch.rand(ways * shots, t, 3, 32, 32, generator=g)),
            Streams(frames=torch.rand(ways * queries, t, 3, 32, 32, generator=g)),
            torch.arange(ways).repeat_interleave(shots),
            torch.arange(ways).repeat_interleave(queries),
            torch.randperm(len(NAMES), generator=g)[:ways],
            NAMES,
            torch.tensor(seed),
        )

    return make
