"""The learner: what its random numbers depend on, and which weights count as frozen."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from episodes.episode import Episode
from fsar.alignment import OTAM
from fsar.encoders import ClipEncoder
from fsar.encoders.weights.state import frozen_fingerprint, frozen_names
from fsar.methods import ClipFSAR, Prototype, SimpleShot
from fsar.text import TextBank
from fsar.training.learner import Learner


class Encoder(nn.Module):
    """Clips are features already; one frozen weight and one frozen buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.channels, self.text, self.kept_layers, self.frozen = 16, None, (), True
        self.weight = nn.Parameter(torch.ones(1), requires_grad=False)
        self.register_buffer("scale", torch.ones(1))


def episode(number: int) -> Episode:
    g = torch.Generator().manual_seed(0)  # the same clips for every number
    clips, labels = torch.randn(10, 4, 16, generator=g), torch.arange(5)
    return Episode(clips[:5], clips[5:], labels, labels, labels, tuple("abcde"), torch.tensor(number))


@pytest.mark.filterwarnings("ignore:You are trying to `self.log")
def test_dropout_is_drawn_by_seed_and_number_of_the_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = Learner(Prototype(Encoder(), OTAM(), nn.Dropout(0.5))).train()  # type: ignore[arg-type]

    def loss(seed: int, number: int) -> float:
        torch.manual_seed(seed)
        learner.on_fit_start()
        torch.rand(number + 3)  # whatever was drawn before
        return float(learner.training_step(episode(number), 0))

    first = loss(0, 4)
    assert loss(0, 4) == first
    assert len({first, loss(0, 5), loss(0, 6), loss(1, 4)}) == 4


def centred(centre: Tensor) -> SimpleShot:
    method = SimpleShot(Encoder())  # type: ignore[arg-type]
    method.mean = centre
    return method


def test_a_buffer_of_the_method_itself_counts_among_the_frozen_weights() -> None:
    one, other = centred(torch.zeros(16)), centred(torch.ones(16))
    assert frozen_names(one) == {"mean", "encoder.weight", "encoder.scale"}
    assert frozen_fingerprint(one) == frozen_fingerprint(centred(torch.zeros(16)))
    assert frozen_fingerprint(one) != frozen_fingerprint(other)
    assert set(Learner(one).state_dict()) == set()


def test_buffers_beside_trained_weights_are_kept_with_them() -> None:
    class Scaled(Prototype):
        def __init__(self, **options: Any) -> None:
            super().__init__(Encoder(), OTAM(), **options)  # type: ignore[arg-type]
            self.register_buffer("own", torch.ones(2))

    method = Scaled(temporal=nn.BatchNorm1d(4))
    assert frozen_names(method) == {"encoder.weight", "encoder.scale"}
    trained = {"own", *(f"temporal.{name}" for name in method.temporal.state_dict())}
    assert set(Learner(method).state_dict()) == {f"method.{name}" for name in trained}


@pytest.mark.filterwarnings("ignore:You are trying to `self.log")
def test_texts_are_drawn_by_seed_and_number_of_the_episode_and_in_training_alone() -> None:
    method = ClipFSAR(
        ClipEncoder("fsar-tiny", "shapes"),
        OTAM(),
        texts=TextBank(["a {}", "the {} of it"], mix={"name": 1, "template": 1}),
    )
    said: list[tuple[str, ...]] = []

    def record(names: Any, mix: Any, generator: torch.Generator) -> list[str]:
        said.append(tuple(TextBank.sample(bank, names, mix, generator)))
        return list(said[-1])

    bank = method.texts
    assert bank is not None
    vars(bank)["sample"] = record
    learner = Learner(method).train()
    features = torch.randn(10, 4, 64, generator=torch.Generator().manual_seed(0))

    def train(seed: int, number: int) -> tuple[str, ...]:
        labels = torch.arange(5)
        torch.manual_seed(seed)
        learner.on_fit_start()
        clips = Episode(features[:5], features[5:], labels, labels, labels, tuple("abcde"), torch.tensor(number))
        learner.training_step(clips, 0)
        return said[-1]

    first = train(0, 4)
    assert train(0, 4) == first
    assert len({first, train(0, 5), train(0, 6), train(1, 4)}) > 2
    steps = len(said)
    method.eval()(Episode(features[:5], features[5:], *[torch.arange(5)] * 3, tuple("abcde"), torch.tensor(0)))
    assert len(said) == steps
