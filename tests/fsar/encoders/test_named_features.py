"""Features by name: patches of every kind of tower, layers, halves, and needs that are not met."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from episodes.clips import Contents, Features, LowerHalf, Streams
from fsar.adapters import AIM, EVL, Ladder, STAdapter
from fsar.encoders import Adapted, Beside, ClipEncoder, FrameEncoder, ImageEncoder
from fsar.encoders.tower.seen import ordered
from fsar.evaluation.bank import contents, to_store
from fsar.method import Method, Parts

Tiny = Callable[..., ClipEncoder]
BOTH = ("frames", "patches")
MAPS = (
    ("torchvision", "resnet18", 64),
    ("torchvision", "squeezenet1_1", 64),
    ("torchvision", "mobilenet_v2", 64),
    ("torchvision", "densenet121", 64),
    ("torchvision", "shufflenet_v2_x0_5", 64),
    ("torchvision", "mnasnet0_5", 64),
    ("torchvision", "swin_t", 64),
    ("torchvision", "convnext_tiny", 64),
    ("timm", "test_resnet", 64),
    ("timm", "test_efficientnet", 64),
    ("timm", "swin_tiny_patch4_window7_224", 64),
)


class OfPatches(Method):
    """A method that reads patches."""

    uses_text = False
    needs = BOTH

    def query_parts(self, features: Features) -> Parts:
        return {"patches": features["patches"].flatten(-3, -2)}


def pixels(side: int, *lead: int) -> Streams:
    return Streams(frames=torch.randint(0, 256, (*lead, 3, side, side), dtype=torch.uint8))


@pytest.mark.filterwarnings("ignore::UserWarning:timm.layers.interpolate")
@torch.no_grad()
@pytest.mark.parametrize(("library", "model", "side"), MAPS, ids=[model for _, model, _ in MAPS])
def test_the_mean_of_a_networks_map_is_its_frame(library: Any, model: str, side: int) -> None:
    encoder, clips = ImageEncoder(model, None, library, image_size=side, frames_per_chunk=2), pixels(side, 1, 3)
    found = encoder.features(clips, BOTH)
    assert encoder.grid == ((3, 3) if "squeeze" in model else (2, 2))
    assert found["patches"].shape == (1, 3, encoder.grid[0] ** 2, encoder.widths["patches"])
    torch.testing.assert_close(found["patches"].mean(-2), found["frames"], rtol=1e-4, atol=1e-5)
    assert torch.equal(found["frames"], encoder(clips["frames"]))
    hooks = [m for m in encoder.visual.modules() if m._forward_hooks or m._forward_pre_hooks]
    assert not hooks
    assert "forward_features" not in vars(encoder.visual)


@torch.no_grad()
@pytest.mark.parametrize(
    ("library", "model", "grid"), [("torchvision", "vit_b_32", 2), ("timm", "test_vit", 4), ("timm", "test_vit3", 4)]
)
def test_the_tokens_of_a_vit_come_without_those_before_them(library: Any, model: str, grid: int) -> None:
    encoder = ImageEncoder(model, None, library, image_size=64)
    clips = pixels(64, 2)
    found = encoder.features(clips, BOTH)["patches"]
    assert encoder.grid == (grid, grid)
    assert found.shape == (2, grid**2, encoder.widths["patches"])
    frames = encoder.normalise(clips["frames"])
    frames[0, :, : 64 // grid, : 64 // grid] += 3.0  # the first patch changes most where it stands
    encoder.normalise = lambda x: frames  # type: ignore[method-assign]
    moved = (encoder.features(clips, BOTH)["patches"] - found).norm(dim=-1)
    assert moved[0].argmax() == 0
    assert not moved[1].any()


@torch.no_grad()
@pytest.mark.parametrize("model", ["test-vit-quickgelu", "test-timm", "test-resnet"])
def test_patches_of_open_clips_towers(model: str) -> None:
    encoder = ClipEncoder(model, None)
    clips = pixels(encoder.image_size, 2, 3)
    found, frames = encoder.features(clips, BOTH), encoder.normalise(clips["frames"].flatten(0, 1))
    visual: Any = encoder.visual
    if model == "test-resnet":
        expected = visual.forward_intermediates(frames, indices=1, output_fmt="NCHW")["image_intermediates"][0]
        expected = expected.flatten(2).mT
    elif model == "test-timm":
        expected = visual.trunk.forward_features(frames)[:, visual.trunk.num_prefix_tokens :]
    else:
        visual.output_tokens = True
        expected = visual(frames)[1]
        visual.output_tokens = False
    torch.testing.assert_close(found["patches"].flatten(0, 1), expected, rtol=0, atol=1e-5)
    assert torch.equal(found["frames"], encoder(clips["frames"]))


HALVES: tuple[Callable[[Tiny], FrameEncoder], ...] = (
    lambda tiny: tiny(tune=1),
    lambda tiny: Adapted(tiny(), STAdapter(), last=1),
    lambda tiny: Adapted(tiny(), AIM(frames=0)),
)


@pytest.mark.parametrize("make", HALVES)
def test_both_halves_give_patches_too(tiny: Tiny, make: Callable[[Tiny], FrameEncoder]) -> None:
    encoder = make(tiny).eval()
    clips = pixels(32, 2, 4)
    found = encoder.features(clips, BOTH)
    assert found.trailing(0) == {"frames": (2, 4, 48), "patches": (2, 4, 64, 64)}
    assert encoder.grid == (8, 8)
    visual: Any = encoder.visual
    last = encoder.features(clips, ("layer -1",))["layer -1"]
    torch.testing.assert_close(found["patches"], visual.ln_post(last)[..., 1:, :], rtol=1e-4, atol=1e-5)
    found["patches"].sum().backward()
    assert sum(float(p.grad.abs().sum()) for p in encoder.parameters() if p.grad is not None) > 0


@torch.no_grad()
def test_a_ladder_gives_its_patches_and_the_towers_own_frames(tiny: Tiny) -> None:
    plain, clips = tiny(), pixels(32, 2, 4)
    expected = plain(clips["frames"])
    encoder = Beside(plain, Ladder(width=16, heads=2, temporal=(1,)))
    assert encoder.gives == ("frames", "patches", "tower")
    assert encoder.widths == {"frames": 16, "patches": 16, "tower": 48}
    assert encoder.grid == (8, 8)
    found = encoder.features(clips, ("patches", "tower"))
    assert found.trailing(2) == {"frames": (16,), "patches": (64, 16), "tower": (48,)}
    torch.testing.assert_close(found["tower"], expected, rtol=1e-4, atol=1e-5)


def test_a_method_says_what_is_stored_for_it(tiny: Tiny) -> None:
    clips = pixels(32, 1, 2)
    frozen, tuned = OfPatches(tiny()), OfPatches(tiny(tune=1))
    assert contents(frozen) == Contents(Features, BOTH)
    assert to_store(frozen, clips).trailing(2) == {"frames": (48,), "patches": (64, 64)}
    assert contents(tuned) == Contents(LowerHalf, ("layer 2",))
    with torch.no_grad():
        again = tuned.features_of(to_store(tuned, clips))
        torch.testing.assert_close(again["patches"], tuned.encode(clips)["patches"], rtol=1e-4, atol=1e-5)
    with pytest.raises(
        ValueError, match=r"OfPatches reads frames and patches, but what was stored .* frames, not pat.*`fsar ext"
    ):
        frozen.features_of(Features(frames=torch.zeros(1, 2, 48)))


def test_patches_are_refused_where_there_is_no_map(tiny: Tiny) -> None:
    pooled = FrameEncoder(
        nn.Sequential(nn.Flatten(), nn.Linear(48, 5)), 5, 4, (0.5,) * 3, (0.5,) * 3, identity="linear"
    )
    message = r"OfPatches reads frames and patches, but {} .*gives frames.*, not patches\. Use another encoder"
    with pytest.raises(ValueError, match=message.format(r"FrameEncoder \(linear\)")):
        OfPatches(pooled)
    for encoder in (Beside(tiny(), EVL(frames=4, layers=1)), Adapted(tiny(), STAdapter(), output="video")):
        with pytest.raises(ValueError, match=message.format(type(encoder).__name__)):
            OfPatches(encoder)
    with pytest.raises(ValueError, match="what is asked for reads audio, but ClipEncoder"):
        tiny().features(pixels(32, 2), ("audio",))


def test_asking_for_patches_moves_nothing_else() -> None:
    """Neither random numbers nor running statistics."""
    encoder = ImageEncoder("test_resnet", None, "timm", image_size=64, tune="full").train()
    before = {name: value.clone() for name, value in encoder.visual.state_dict().items()}
    state = torch.get_rng_state()
    assert encoder.grid == (2, 2)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in encoder.visual.state_dict().items())
    assert encoder.training


LAYERS = (
    ("torchvision", "swin_t", 96, "features"),
    ("timm", "swin_tiny_patch4_window7_224", 96, "layers"),
    ("timm", "samvit_base_patch16_224", 768, "blocks"),
    ("timm", "mvitv2_tiny", 96, "stages"),
    ("timm", "test_resnet", None, "layer1"),
)


@pytest.mark.filterwarnings("ignore::UserWarning:timm.layers.interpolate")
@torch.no_grad()
@pytest.mark.parametrize(("library", "model", "width", "where"), LAYERS, ids=[model for _, model, *_ in LAYERS])
def test_what_a_block_gives_has_its_channels_last(library: Any, model: str, width: int | None, where: str) -> None:
    """Maps with their channels first or last become tokens of channels, row by row."""
    side = 224 if "sam" in model else 64
    encoder, clips = ImageEncoder(model, None, library, image_size=side), pixels(side, 1)
    kept: list[Any] = []
    block = encoder.blocks[0]
    handle = block.register_forward_hook(lambda module, inputs, output: kept.append(output))
    found = encoder.features(clips, ("frames", "layer 1"))["layer 1"][0]
    handle.remove()
    state = kept[0][0] if isinstance(kept[0], tuple) else kept[0]
    wanted = state[0]
    if wanted.dim() == 3:
        wanted = wanted.flatten(0, 1) if width else wanted.flatten(1).T
    assert found.shape[-1] == (width or state.shape[1])
    assert torch.equal(found, wanted)


def test_a_map_as_high_as_it_has_channels_goes_by_the_others() -> None:
    """Swin at 384 pixels has 96 channels on 96 x 96 places; its other maps tell which axis is which."""
    blocks = nn.Sequential(nn.Identity(), nn.Conv2d(4, 6, 1, 2))
    for last in (False, True):
        maps = [torch.rand(2, 4, 4, 4), torch.rand(2, 2, 2, 6) if last else torch.rand(2, 6, 2, 2)]
        first, second = ordered([maps[0], maps[0], maps[1]], nn.ModuleDict({"blocks": blocks}))[1:]
        assert torch.equal(first, maps[0].flatten(1, 2) if last else maps[0].flatten(2).mT)
        assert second.shape == (2, 4, 6)


@pytest.mark.parametrize(("model", "names"), [("pit_ti_224", "patches"), ("twins_svt_small", "layer 1")])
def test_what_is_not_known_of_a_network_is_one_error(model: str, names: str) -> None:
    encoder = ImageEncoder(model, None, "timm")
    if names != "patches":
        with pytest.raises(ValueError, match="no row of tokens or maps"):
            encoder.features(pixels(224, 1), [names])
    else:
        with pytest.raises(ValueError, match=r"PoolingVisionTransformer.* patches are not known"):
            encoder.features(pixels(224, 1), [names])
