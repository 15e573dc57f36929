"""The frame encoder: shapes, ranges, chunks, what is trained, precision, tokens, fingerprint."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from episodes.clips import Streams
from fsar.encoders import ClipEncoder


def trained_names(encoder: torch.nn.Module) -> list[str]:
    return [name for name, parameter in encoder.named_parameters() if parameter.requires_grad]


def frames(side: int = 32, lead: tuple[int, ...] = (2, 3)) -> Tensor:
    """``(... t c h w)`` uint8."""
    return torch.randint(0, 256, (*lead, 3, side, side), dtype=torch.uint8)


def test_leading_axes_and_frames_are_independent(weights: str) -> None:
    encoder = ClipEncoder("test-vit-quickgelu", weights)
    clips = frames(lead=(2, 4, 3))
    features = encoder(clips)
    assert features.shape == (2, 4, 3, encoder.channels)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features[1, 2], encoder(clips[1, 2]), rtol=0, atol=1e-5)
    torch.testing.assert_close(features[1, 2, 0], encoder(clips[1, 2, :1])[0], rtol=0, atol=1e-5)


def test_uint8_equals_float(weights: str) -> None:
    encoder = ClipEncoder("test-vit-quickgelu", weights)
    clips = frames()
    assert torch.equal(encoder(clips), encoder(clips.float() / 255))


def test_chunks_change_nothing(weights: str) -> None:
    clips = frames(lead=(7,))
    whole = ClipEncoder("test-vit-quickgelu", weights)
    parts = ClipEncoder("test-vit-quickgelu", weights, frames_per_chunk=2)
    sizes: list[int] = []
    parts.visual.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[0])))
    torch.testing.assert_close(whole(clips), parts(clips), rtol=0, atol=1e-5)
    assert sizes == [2, 2, 2, 1]


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        (torch.zeros(2, 3, 48, 40), r"48 x 40 pixels .* takes 32 x 32. Set data.size to 32"),
        (torch.zeros(3, 32, 32), r"\(\.\.\. t c h w\).*found shape \(3, 32, 32\)"),
        (torch.zeros(2, 32, 32, 3), "3 colour channels"),
        (torch.full((2, 3, 32, 32), 200.0), "0..1, found 200..200"),
        (torch.full((2, 3, 32, 32), -2.0), "normalises the frames itself"),
        (torch.zeros(2, 3, 32, 32, dtype=torch.int64), "uint8 or floating point, found torch.int64"),
    ],
)
def test_wrong_clips_are_refused(clips: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClipEncoder("test-plain", None)(clips)


@pytest.mark.parametrize("model", ["test-plain", "test-resnet", "test-timm"])
def test_a_frozen_tower_stays_in_eval_mode_and_builds_no_graph(model: str) -> None:
    encoder = ClipEncoder(model, None).train()
    assert encoder.training
    assert encoder.frozen
    assert trained_names(encoder) == []
    assert not any(module.training for module in (*encoder.visual.modules(), *encoder.require_text().tower.modules()))
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    clips = frames(encoder.image_size, (2,))
    assert not encoder(clips).requires_grad
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_an_attack_on_the_pixels_of_a_frozen_tower_gets_its_gradient() -> None:
    clips = torch.rand(2, 3, 32, 32, requires_grad=True)
    ClipEncoder("test-plain", None)(clips).sum().backward()
    assert clips.grad is not None
    assert clips.grad.abs().sum() > 0


def test_the_last_blocks_and_what_follows_are_trained() -> None:
    encoder = ClipEncoder("test-plain", None, tune=1)
    parts = ("visual.transformer.resblocks.2.", "visual.ln_post.", "visual.proj")
    assert trained_names(encoder) == [n for n, _ in encoder.named_parameters() if n.startswith(parts)]
    assert len(trained_names(encoder)) == 12 + 2 + 1
    seen: list[bool] = []
    for block in encoder.blocks:
        block.register_forward_hook(lambda module, inputs, output: seen.append(output.requires_grad))
    encoder(frames()).sum().backward()
    assert seen == [False, False, True]
    assert all((p.grad is not None) == (n in trained_names(encoder)) for n, p in encoder.named_parameters())
    with torch.no_grad():
        assert not encoder(frames()).requires_grad


def test_the_last_stage_of_a_resnet_is_trained_and_the_others_keep_their_statistics() -> None:
    encoder = ClipEncoder("test-resnet", None, tune=1).train()
    assert all(name.startswith(("visual.layer4.", "visual.attnpool.")) for name in trained_names(encoder))
    assert encoder.visual.layer4[0].bn1.training
    assert not encoder.visual.layer3[0].bn1.training
    assert not encoder.visual.bn1.training
    assert not encoder.eval().visual.layer4[0].bn1.training


def test_the_last_block_of_a_timm_tower_is_trained() -> None:
    encoder = ClipEncoder("test-timm", None, tune=1)
    last = len(encoder.blocks) - 1
    assert {n.split(".")[1] for n in trained_names(encoder)} == {"trunk", "head"}
    inside = [n for n in trained_names(encoder) if n.startswith("visual.trunk.")]
    assert all(n.startswith((f"visual.trunk.blocks.{last}.", "visual.trunk.norm")) for n in inside)
    assert "visual.trunk.norm.weight" in inside


def test_full_tuning_trains_the_image_tower_and_text_only_when_asked() -> None:
    for tune_text in (False, True):
        encoder = ClipEncoder("test-plain", None, tune="full", tune_text=tune_text)
        assert all(p.requires_grad for p in encoder.visual.parameters())
        assert encoder.require_text().trained == tune_text


@pytest.mark.parametrize("tune", [0, 4, "half"])
def test_impossible_tuning_is_refused(tune: int) -> None:
    with pytest.raises(ValueError, match=rf"tune={tune!r}: .* in 1\.\.3"):
        ClipEncoder("test-plain", None, tune=tune)


@pytest.mark.parametrize("model", ["test-vit-quickgelu", "test-resnet"])
def test_bf16_weights_give_nearly_the_same_float32_features(model: str) -> None:
    exact = ClipEncoder(model, None)
    rounded = ClipEncoder(model, None, precision="bf16")
    rounded.load_state_dict(exact.state_dict())
    clips = frames(exact.image_size)
    one, other = exact(clips), rounded(clips)
    assert other.dtype == torch.float32
    assert F.cosine_similarity(one, other, dim=-1).min() > 0.999
    assert not torch.equal(one, other)
    assert next(rounded.require_text().parameters()).dtype == torch.float32


def test_bf16_weights_are_not_trained() -> None:
    with pytest.raises(ValueError, match="precision='bf16'"):
        ClipEncoder("test-plain", None, tune=1, precision="bf16")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_autocast_stays_outside_the_tower_on_a_cpu(precision: str) -> None:
    encoder = ClipEncoder("test-plain", None, precision=precision)
    clips, seen = frames(), []
    plain = encoder(clips)
    encoder.blocks[0].register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = encoder(clips)
        text = encoder.require_text()(["a dog"])
        assert torch.is_autocast_enabled("cpu")
    assert seen == [False]
    assert torch.equal(plain, mixed)
    assert text.dtype == torch.float32


@pytest.mark.parametrize("model", ["test-plain", "test-timm"])
def test_tokens_are_what_open_clip_gives(model: str) -> None:
    encoder = ClipEncoder(model, None, frames_per_chunk=2)
    clips = frames(encoder.image_size, (1, 3))
    count = len(encoder.blocks)
    names = [f"layer {i}" for i in (*range(count + 1), -1)]
    found = encoder.features(Streams(frames=clips), ("frames", "layers", *names))
    features, layers = found["frames"], [found[name] for name in names]
    torch.testing.assert_close(features, encoder(clips), rtol=0, atol=1e-6)
    with torch.no_grad():
        theirs = encoder.visual.forward_intermediates(
            encoder.normalise(clips.flatten(0, 1)), indices=None, output_fmt="NLC", output_extra_tokens=True
        )
    for ours, prefix, patches in zip(
        layers[1:-1], theirs["image_intermediates_prefix"], theirs["image_intermediates"], strict=True
    ):
        torch.testing.assert_close(ours[0], torch.cat([prefix, patches], dim=1), rtol=0, atol=1e-5)
    assert torch.equal(layers[-1], layers[-2])
    assert torch.equal(found["layers"], torch.stack(layers[:-1], -3))
    with pytest.raises(ValueError, match=rf"the tower has {count} blocks"):
        encoder.features(Streams(frames=clips), [f"layer {count + 1}"])


def test_tokens_of_a_resnet_are_its_map_row_by_row() -> None:
    encoder = ClipEncoder("test-resnet", None)
    clips = frames(64, (2,))
    with torch.no_grad():
        theirs = encoder.visual.forward_intermediates(encoder.normalise(clips))["image_intermediates"]
    found = encoder.features(Streams(frames=clips), ("layer 2", "layer 4"))
    layers = found["layer 2"], found["layer 4"]
    assert layers[1].shape == (2, 4, 512)
    torch.testing.assert_close(layers[0].mT.reshape(theirs[2].shape), theirs[2], rtol=0, atol=1e-5)
    assert not encoder.visual.layer1[0]._forward_hooks
    with pytest.raises(ValueError, match="layers of several shapes"):
        encoder.features(Streams(frames=clips), ("layers",))


class _Adapter(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block, self.shift = block, nn.Parameter(torch.zeros(64))

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        return self.block(x, attn_mask=attn_mask) + self.shift


def test_an_adapter_put_into_the_blocks_is_trained_and_nothing_else() -> None:
    encoder = ClipEncoder("test-plain", None)
    clips = frames()
    before, name = encoder(clips), encoder.fingerprint()
    encoder.blocks[1] = _Adapter(encoder.blocks[1])
    after = encoder.train()(clips)
    assert torch.equal(before, after.detach()) or torch.allclose(before, after, atol=1e-5)
    after.sum().backward()
    assert trained_names(encoder) == ["visual.transformer.resblocks.1.shift"]
    assert encoder.blocks[1].shift.grad.abs().sum() > 0
    assert encoder.blocks[1].training
    assert not encoder.blocks[1].block.training
    assert encoder.fingerprint() != name


def test_checkpointing_changes_no_gradient_and_keeps_less(weights: str) -> None:
    clips = frames(lead=(4,))
    kept, gradients = [], []
    for checkpointing in (False, True):
        encoder = ClipEncoder("test-vit-quickgelu", weights, tune="full", checkpointing=checkpointing)
        sizes: dict[int, int] = {}

        def keep(x: Tensor, sizes: dict[int, int] = sizes) -> Tensor:
            sizes[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            features = encoder(clips)
        kept.append(sum(sizes.values()))
        features.square().sum().backward()
        gradients.append([p.grad for p in encoder.visual.parameters()])
    assert kept[1] < kept[0]
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two)


def test_a_tower_without_blocks_refuses_checkpointing() -> None:
    with pytest.raises(ValueError, match="leave checkpointing out"):
        ClipEncoder("test-resnet", None, tune="full", checkpointing=True)
