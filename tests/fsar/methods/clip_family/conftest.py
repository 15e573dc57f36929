"""An encoder whose clips are features already, episodes of such, and a tiny CLIP."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import open_clip
import pytest
import torch
from torch import Tensor, nn

from episodes.clips import Features
from episodes.episode import Episode
from fsar.encoders import ClipEncoder

CLASSES, CHANNELS = 12, 16


class FixedText(nn.Module):
    """A text tower that answers the name "7" with row 7 of given features, whatever the template."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features
        self.tower = SimpleNamespace()

    def forward(self, names: Sequence[str]) -> Tensor:
        return self.encode(names)

    def per_template(self, names: Sequence[str]) -> Tensor:
        return self.encode(names)[:, None]

    def encode(self, texts: Sequence[str]) -> Tensor:
        return torch.stack([self.features[int("".join(c for c in text if c.isdigit()))] for text in texts])

    def fits(self, text: str) -> bool:
        return True


class PassThrough(nn.Module):
    """An encoder whose clips are features already."""

    def __init__(self, text: Tensor | None) -> None:
        super().__init__()
        self.channels = CHANNELS if text is None else text.shape[-1]
        self.text = None if text is None else FixedText(text)

    def require_text(self) -> FixedText:
        assert self.text is not None
        return self.text


@pytest.fixture
def encoder() -> PassThrough:
    return PassThrough(torch.randn(CLASSES, CHANNELS, generator=torch.Generator().manual_seed(7)))


@pytest.fixture
def make_encoder() -> Callable[[Tensor], PassThrough]:
    return PassThrough


@pytest.fixture
def blind() -> PassThrough:
    """An encoder without a text tower."""
    return PassThrough(None)


@pytest.fixture
def make_episode() -> Callable[..., Episode]:
    return random_episode


def random_episode(
    ways: int = 5, shots: int = 2, queries: int = 2, d: int = CHANNELS, seed: int = 0, shuffle: bool = True
) -> Episode:
    """Features ``(s 8 d)`` that lean towards a direction of their class, supports in any order."""
    g = torch.Generator().manual_seed(seed)
    centres = torch.randn(ways, 1, d, generator=g)
    labels, targets = torch.arange(ways).repeat_interleave(shots), torch.arange(ways).repeat_interleave(queries)
    labels = labels[torch.randperm(len(labels), generator=g)] if shuffle else labels
    return Episode(
        Features(frames=centres[labels] + 1.5 * torch.randn(ways * shots, 8, d, generator=g)),
        Features(frames=centres[targets] + 1.5 * torch.randn(ways * queries, 8, d, generator=g)),
        labels,
        targets,
        torch.randperm(CLASSES, generator=g)[:ways],
        tuple(str(i) for i in range(CLASSES)),
        torch.tensor(seed),
    )


CONFIG = {
    "embed_dim": 64,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 64, "layers": 1, "head_width": 32},
    "text_cfg": {"context_length": 24, "width": 64, "heads": 1, "layers": 4},
}


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of a tiny CLIP whose text tower is as wide as its features, registered with open_clip."""
    folder = tmp_path_factory.mktemp("family")
    (folder / "family-clip.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder)
    return "family-clip"


@pytest.fixture
def clip(tiny_clip: str) -> ClipEncoder:
    encoder = ClipEncoder(tiny_clip, None)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return encoder
