"""For methods that read class texts: stored outputs of released code in our terms; a tiny CLIP with an 8 x 8 grid of
patches, and episodes of random pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from episodes.clips import Features, Streams
from episodes.episode import Episode
from fsar.encoders import ClipEncoder

NAMES = tuple(f"action {word}" for word in ("jump", "run", "wave", "push", "pull", "fall"))


class NoEncoder(nn.Module):
    """Stands where an image-text encoder would: heads are tested on features."""

    def __init__(self, channels: int, grid: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        self.channels, self.grid = channels, grid
        self.widths = {"frames": channels, "patches": channels}

    def text(self, names: Any) -> Tensor:
        """Some numbers for each name."""
        return torch.stack([torch.randn(self.channels, generator=torch.Generator().manual_seed(len(n))) for n in names])

    def check_needs(self, needs: Any, reader: str) -> None:
        """Everything is given."""


class Checks:
    """What tests of methods share."""

    NoEncoder = NoEncoder

    def weights(self, arrays: dict[str, Tensor], prefix: str = "weight/") -> dict[str, Tensor]:
        """The released state dict among the arrays."""
        return {name.removeprefix(prefix): x for name, x in arrays.items() if name.startswith(prefix)}

    def stored_episode(self, arrays: dict[str, Tensor], *roles: str) -> Episode:
        """The episode that stored outputs are of; gradients reach its clips."""
        labels = arrays["support_labels"]
        by_label = torch.arange(int(labels.max()) + 1).scatter(0, labels, arrays["support_classes"])
        clips = (Features(frames=arrays[role].clone().requires_grad_()) for role in roles or ("support", "query"))
        names = tuple(f"class {c}" for c in range(len(arrays["text"])))
        return Episode(next(clips), next(clips), labels, arrays["query_labels"], by_label, names, torch.tensor(0))

    def random_episode(self, d: int, ways: int = 3, shots: int = 2, queries: int = 4, frames: int = 5) -> Episode:
        """Random features."""
        labels = torch.arange(ways).repeat_interleave(shots)
        clips = [Features(frames=torch.randn(count, frames, d)) for count in (ways * shots, queries)]
        names = tuple(f"class {c}" for c in range(ways + 2))
        asked = torch.arange(queries) % ways
        return Episode(clips[0], clips[1], labels, asked, torch.arange(ways), names, torch.tensor(0))

    def relabelled(self, episode: Episode, order: Tensor) -> Episode:
        """The same episode with ``order[label]`` for every label."""
        return replace(
            episode,
            support_labels=order[episode.support_labels],
            query_labels=order[episode.query_labels],
            classes=episode.classes[order.argsort()],
        )

    def without_dropout(self, method: Any) -> Any:
        """The method, with every dropout at 0."""
        for module in method.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        return method

    def scores(self, method: Any, episode: Episode, text: Tensor) -> Any:
        """What a method says of an episode of features."""
        parts = method.support_parts(episode.support, text[episode.support_classes]), method.query_parts(episode.query)
        return method.score(*parts, episode, text)

    def agree(self, found: dict[str, Tensor], expected: dict[str, Tensor], share: float = 1e-5) -> None:
        """Everything expected was found, equal up to a share of the largest entry."""
        assert expected.keys() <= found.keys()
        for name, wanted in expected.items():
            value = found[name].detach().reshape(wanted.shape)
            error = float((value - wanted).abs().max() / wanted.abs().max())
            assert error < share, f"{name}: {error:.2g}"


@pytest.fixture
def checks() -> Checks:
    return Checks()


@pytest.fixture
def tiny(architectures_by_depth: Callable[[int], str]) -> Callable[..., ClipEncoder]:
    """Makes the same encoder of two blocks every time, as it is drawn."""

    def make(**options: object) -> ClipEncoder:
        torch.manual_seed(1)
        encoder = ClipEncoder(architectures_by_depth(2), None, **options)  # type: ignore[arg-type]
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
