"""For methods that see images alone: stored outputs of released code in our terms, and what must hold for all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from episodes.clips import Clips, Features, as_clips, combined
from episodes.episode import Episode, IndexEpisode, Task


class NoEncoder(nn.Module):
    """Stands where an encoder would: heads are tested on features."""

    def __init__(self, channels: int, grid: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        self.channels, self.grid, self.text = channels, grid, None
        self.image_size = 32 * grid[0]
        self.widths = {"frames": channels, "patches": channels}

    def check_needs(self, needs: Any, reader: str) -> None:
        """Everything is given."""

    def steps(self, frames: int) -> int:
        """One for each frame."""
        return frames

    def normalise(self, frames: Tensor) -> Tensor:
        """Frames are stored as networks get them."""
        return frames


def label_episode(support_labels: Tensor, query_labels: Tensor) -> Task:
    """An episode that is its labels: what the heads read of one."""
    ways = int(support_labels.max()) + 1
    lead = support_labels.shape[:-1]
    classes = torch.arange(ways).expand(*lead, ways)
    names = tuple(f"class {i}" for i in range(ways))
    number = torch.zeros(lead).long()
    return IndexEpisode(support_labels, query_labels, support_labels, query_labels, classes, names, number)


class Checks:
    """What tests of this folder share."""

    NoEncoder = NoEncoder
    label_episode = staticmethod(label_episode)

    def stored_episode(self, arrays: dict[str, Tensor], classes: int = 12, clips: str = "{}") -> Episode:
        """The episode that stored outputs are of; gradients reach its clips, whose arrays are named like ``clips``."""
        labels, by_label = arrays["support_labels"], torch.arange(int(arrays["support_labels"].max()) + 1)
        if "support_classes" in arrays:
            by_label = by_label.scatter(0, labels, arrays["support_classes"])
        support, query = (arrays[clips.format(role)].clone().requires_grad_() for role in ("support", "query"))
        names = tuple(f"class {c}" for c in range(classes))
        features = Features(frames=support), Features(frames=query)
        return Episode(*features, labels, arrays["query_labels"], by_label, names, torch.tensor(0))

    def feature_episode(self, support: Tensor, query: Tensor, labels: Task) -> Episode:
        """Features with the labels of an episode."""
        return Episode(**{**vars(labels), "support": support, "query": query})

    def without_dropout(self, method: Any) -> Any:
        """The method, with every dropout at 0."""
        for module in method.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        return method

    def scores(self, method: Any, episode: Episode) -> Any:
        """What a method says of an episode of features."""
        text = torch.empty(*episode.support_labels.shape, 0)
        parts = method.support_parts(episode.support, text), method.query_parts(episode.query)
        return method.score(*parts, episode, torch.empty(len(episode.class_names), 0))

    def agree(self, found: dict[str, Tensor], expected: dict[str, Tensor], share: float = 1e-5) -> None:
        """Everything expected was found, equal up to a share of the largest entry."""
        assert expected.keys() <= found.keys()
        for name, wanted in expected.items():
            value = found[name].detach()
            assert value.shape == wanted.shape, name
            error = float((value - wanted).abs().max() / wanted.abs().max())
            assert error < share, f"{name}: {error:.2g}"

    def episodes(self, method: Any, make: Callable[[int], Any], ways: int = 3, shots: int = 2) -> None:
        """Queries do not see each other; relabelled classes permute the logits; the order of support clips does not
        matter; a batch of episodes scores as each alone.

        Args:
            method: in evaluation mode.
            make: features of so many clips.
            ways: n.
            shots: k.
        """
        s, q = ways * shots, 4
        support, query = make(s), make(q)
        labels, query_labels = torch.arange(ways).repeat_interleave(shots), torch.arange(q) % ways
        episode = label_episode(labels, query_labels)
        logits = scored(method, support, query, episode)
        alone = scored(method, support, take(query, [1]), label_episode(labels, query_labels[1:2]))
        torch.testing.assert_close(alone[0], logits[1])
        order = torch.randperm(ways)
        relabelled = scored(method, support, query, label_episode(order[labels], order[query_labels]))
        torch.testing.assert_close(relabelled[:, order], logits)
        mixed = torch.arange(s).reshape(ways, shots).mT.flatten()  # shots of a class keep their order
        shuffled = scored(method, take(support, mixed), query, label_episode(labels[mixed], query_labels))
        torch.testing.assert_close(shuffled, logits)
        other = make(s), make(q)
        both = label_episode(labels.expand(2, -1), query_labels.expand(2, -1))
        together = scored(method, stack(support, other[0]), stack(query, other[1]), both)
        torch.testing.assert_close(together, torch.stack([logits, scored(method, *other, episode)]))


def take(features: Any, index: Any) -> Any:
    """Some clips."""
    return features.at(index) if isinstance(features, Clips) else features[index]


def stack(first: Any, second: Any) -> Any:
    """Two episodes' clips side by side."""
    return combined(torch.stack, [first, second]) if isinstance(first, Clips) else torch.stack([first, second])


def scored(method: Any, support: Any, query: Any, episode: Task) -> Tensor:
    """Logits of features."""
    text = torch.empty(episode.ways, 0)
    clip_text = torch.empty(*episode.support_labels.shape, 0)
    support, query = (as_clips(x, "features") for x in (support, query))
    logits: Tensor = method.score(
        method.support_parts(support, clip_text), method.query_parts(query), episode, text
    ).logits
    return logits


@pytest.fixture
def checks() -> Checks:
    return Checks()


@pytest.fixture
def released_names(shared: Path) -> Callable[[str], dict[str, Tensor]]:
    """A state dict of a released full-size model without storage, by the method's name."""

    def load(method: str) -> dict[str, Tensor]:
        known = json.loads((shared / "reference" / "checkpoint_names.json").read_text())[method]["tensors"]
        return {name: torch.empty(shape, device="meta") for name, shape in known.items()}

    return load
