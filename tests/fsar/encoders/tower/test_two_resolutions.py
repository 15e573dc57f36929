"""A tower at two resolutions: its positions, what each of the two sees, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from episodes.clips import Streams
from fsar.adapters import STAdapter
from fsar.alignment import FrameMean
from fsar.encoders import Adapted, ClipEncoder, ImageEncoder, TwoResolutions
from fsar.encoders.beside import resize_frames, stretch_positions
from fsar.fusion import MultiScale
from fsar.methods import Prototype

NEEDS = ("frames", "frames 96")


def toy() -> ClipEncoder:
    return ClipEncoder("fsar-tiny", "shapes")


def test_positions_keep_their_places() -> None:
    positions = torch.randn(65, 12, dtype=torch.float64)
    torch.testing.assert_close(stretch_positions(positions, 8), positions, atol=1e-6, rtol=0)
    row = torch.arange(8.0).repeat_interleave(8)[:, None]  # the row of each patch
    wide = stretch_positions(torch.cat([torch.full((1, 1), 9.0), row]), 12)
    assert wide.shape == (145, 1)
    assert wide[0] == 9
    rows = wide[1:].unflatten(0, (12, 12))[..., 0]
    torch.testing.assert_close(rows, rows[:, :1].expand(-1, 12))
    assert bool((rows[:, 0].diff() > 0).all())


@torch.no_grad()
def test_each_resolution_is_a_pass_of_its_own() -> None:
    plain, encoder = toy(), TwoResolutions(toy(), 96)
    clips = Streams(frames=torch.randint(0, 256, (2, 3, 3, 96, 96), dtype=torch.uint8))
    found = encoder.features(clips, NEEDS)
    small = resize_frames(clips["frames"].flatten(0, 1), 64)
    torch.testing.assert_close(found["frames"].flatten(0, 1), plain(small[:, None])[:, 0], atol=1e-5, rtol=1e-5)
    own = plain.visual.positional_embedding
    plain.visual.positional_embedding = nn.Parameter(stretch_positions(own, 12))
    expected = plain.visual(plain.normalise(clips["frames"].flatten(0, 1)))
    torch.testing.assert_close(found["frames 96"].flatten(0, 1), expected, atol=1e-5, rtol=1e-5)
    assert encoder.visual.positional_embedding.shape == (65, 96)  # that of the tower stays
    assert encoder.features(clips).keys() == {"frames"}
    assert encoder.fingerprint() != toy().fingerprint()


@torch.no_grad()
def test_a_smaller_one_leaves_the_frames_as_they_are() -> None:
    encoder, frames = TwoResolutions(toy(), 48), torch.randint(0, 256, (2, 3, 3, 64, 64), dtype=torch.uint8)
    found = encoder.features(Streams(frames=frames), ("frames", "frames 48"))
    assert torch.equal(found["frames"], toy()(frames))
    assert not torch.allclose(found["frames"], found["frames 48"], atol=1e-2)
    assert (encoder.framing.size, TwoResolutions(toy(), 96).framing.size) == (64, 96)


def test_multi_scale_reads_both_and_says_who_gives_them() -> None:
    part = MultiScale(grids=[], resolutions=[96])
    levels = part.fuse(TwoResolutions(toy(), 96).features(Streams(frames=torch.rand(1, 2, 3, 96, 96)), NEEDS))
    assert list(levels) == ["frames", "frames 96"]
    concat = MultiScale(grids=[], resolutions=[96], fuse="concat", channels=64, width=96)
    assert concat.fuse(levels)["frames"].shape == (1, 2, 64)  # type: ignore[arg-type]
    Prototype(TwoResolutions(toy(), 96), FrameMean(), fusion=part)
    with pytest.raises(ValueError, match=r"not frames 96. Wrap the encoder: fsar.encoders.TwoResolutions with size 96"):
        Prototype(toy(), FrameMean(), fusion=part)


@pytest.mark.parametrize("size", [64, 60, 0])
def test_a_size_that_does_not_fit(size: int) -> None:
    with pytest.raises(ValueError, match=f"size={size} must be a multiple of the patches' 8 pixels and another than"):
        TwoResolutions(toy(), size)


def test_towers_that_have_no_positions_to_stretch() -> None:
    with pytest.raises(ValueError, match="stretches the positions of a ViT of open_clip"):
        TwoResolutions(ImageEncoder("squeezenet1_1", None, "torchvision", image_size=64), 96)
    with pytest.raises(ValueError, match="that sees single pictures"):
        TwoResolutions(Adapted(toy(), STAdapter(4)), 96)
