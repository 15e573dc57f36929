"""The attack: within its ball, whole levels, further away with every step, and the weights stay."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fsar.evaluation.shifts.attack import attack_frames, margin


def test_within_epsilon_and_further_away_than_noise() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(2), nn.Linear(3 * 8 * 8, 16), nn.Tanh(), nn.Linear(16, 6))
    before = {name: x.clone() for name, x in network.state_dict().items()}
    frames = torch.randint(0, 256, (3, 4, 3, 8, 8), dtype=torch.uint8)
    frames[0, 0] = 255
    start, labels = 2 * torch.rand(frames.shape) - 1, torch.tensor([0, 1, 2])
    with torch.no_grad():
        means = network(frames / 255)

    def harm(moved: Tensor) -> Tensor:
        with torch.no_grad():
            return margin(network(moved.float() / 255), means, labels)

    assert bool((harm(frames) < 0).all())
    found = {}
    for epsilon in (1, 8):
        moved = attack_frames(frames, network, means, labels, epsilon, start)
        assert moved.dtype == torch.uint8
        assert int((moved.int() - frames.int()).abs().max()) == epsilon
        found[epsilon] = harm(moved)
        noise = (frames + epsilon * start.sign()).clamp(0, 255).to(torch.uint8)
        assert bool((found[epsilon] > harm(noise)).all())
    assert bool((found[8] > found[1]).all())
    assert all(torch.equal(x, before[name]) for name, x in network.state_dict().items())
    assert all(weight.grad is None for weight in network.parameters())
    assert torch.equal(moved, attack_frames(frames, network, means, labels, 8, start))


def test_the_margin_is_to_the_most_alike_of_the_others() -> None:
    means = torch.eye(3)[:, None]  # (C t d), one frame
    features = torch.tensor([[[3.0, 4.0, 0.0]]])
    torch.testing.assert_close(margin(features, means, torch.tensor([0])), torch.tensor([0.8 - 0.6]))
    torch.testing.assert_close(margin(features, means, torch.tensor([2])), torch.tensor([0.8 - 0.0]))


def test_wrong_input() -> None:
    frames, labels = torch.zeros(1, 1, 3, 4, 4, dtype=torch.uint8), torch.tensor([0])
    means, start = torch.rand(2, 1, 48), torch.zeros(frames.shape)
    with pytest.raises(ValueError, match="found 0, 10"):
        attack_frames(frames, lambda x: x.flatten(2), means, labels, 0, start)
    with pytest.raises(ValueError, match="cuts off"):
        attack_frames(frames, lambda x: x.detach().flatten(2), means, labels, 1, start)
