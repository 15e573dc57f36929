"""DropPath in a tower: trained blocks drop branches in training, nothing else changes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from timm.layers import DropPath

from fsar.encoders import ClipEncoder, ImageEncoder


def drops(encoder: ClipEncoder | ImageEncoder) -> list[DropPath]:
    return [module for module in encoder.visual.modules() if isinstance(module, DropPath)]


def test_a_trained_tower_drops_in_training_and_is_the_same_in_evaluation(tiny: Callable[..., ClipEncoder]) -> None:
    plain, encoder = tiny(tune="full"), tiny(tune="full", drop_path=0.6)
    assert [round(each.drop_prob, 2) for each in drops(encoder)] == [
        0.3,
        0.3,
        0.6,
        0.6,
    ]  # of three blocks, two branches
    assert encoder.state_dict().keys() == plain.state_dict().keys()
    assert encoder.fingerprint() == plain.fingerprint()
    clips = torch.randint(0, 256, (2, 3, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(encoder(clips), plain(clips))
    encoder.train()
    assert not torch.allclose(encoder(clips), encoder(clips))


def test_frozen_blocks_drop_nothing(tiny: Callable[..., ClipEncoder]) -> None:
    encoder = tiny(tune=1, drop_path=0.6).train()
    assert [each.training for each in drops(encoder)] == [False, False, True, True]
    frozen = tiny(drop_path=0.6).train()
    clips = torch.randint(0, 256, (1, 2, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(frozen(clips), frozen(clips))


def test_networks_of_timm_and_what_has_no_branches() -> None:
    encoder = ImageEncoder("test_vit", None, "timm", tune="full", drop_path=0.5)
    assert max(each.drop_prob for each in drops(encoder)) == 0.5
    with pytest.raises(ValueError, match="resnet18 has none: leave it out"):
        ImageEncoder("resnet18", None, image_size=32, tune="full", drop_path=0.5)
    with pytest.raises(ValueError, match=r"below 1, found 1\.5"):
        ImageEncoder("test_vit", None, "timm", tune="full", drop_path=1.5)
