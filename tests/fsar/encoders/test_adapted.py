"""What every adapter must keep to, and the encoder that carries it."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from episodes.clips import Streams
from fsar.adapters import AIM, Adapter, D2STAdapter, LoRA, MAClipAdapter, STAdapter
from fsar.encoders import ClipEncoder, ImageEncoder
from fsar.encoders.adapted import Adapted

Tiny = Callable[..., ClipEncoder]
MAKERS: dict[str, Callable[[], Adapter]] = {
    "aim": lambda: AIM(drop_path=0.0),
    "aim two temporal": lambda: AIM(drop_path=0.0, temporal_input=True),
    "st": STAdapter,
    "st twice": lambda: STAdapter(before_mlp=True),
    "st kinetics": lambda: STAdapter(before_attention=False, before_mlp=True),
    "d2st": D2STAdapter,
    "lora": lambda: LoRA(rank=2),
    "lora all": lambda: LoRA(rank=2, target="all"),
    "ma": MAClipAdapter,
    "ma as drawn": lambda: MAClipAdapter(start_masked=False),
}
IDENTITY = ["aim", "aim two temporal", "st", "st twice", "st kinetics", "d2st", "lora", "lora all"]
SEES_TIME = ["aim", "aim two temporal", "st", "st twice", "st kinetics", "d2st", "ma", "ma as drawn"]
ANY_T = ["st", "st twice", "st kinetics", "lora", "lora all", "ma", "ma as drawn"]
BEFORE_MLP = ["st twice", "st kinetics"]


def clips(*lead: int, side: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(*lead, 3, side, side, generator=generator)


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def perturbed(encoder: Adapted) -> Adapted:
    """Zero first values hide what an adapter does."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, parameter in trained(encoder).items():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
            if name.endswith("adapter.bias") and parameter.shape == (2,):
                parameter.zero_()  # MA-CLIP's mask of its added tokens
    return encoder


@pytest.mark.parametrize("name", IDENTITY)
def test_is_clip_at_first(tiny: Tiny, name: str) -> None:
    encoder = Adapted(tiny(), MAKERS[name]()).eval()
    with torch.no_grad():
        torch.testing.assert_close(encoder(clips(2, 8)), tiny()(clips(2, 8)), rtol=1e-5, atol=1e-6)


def test_a_masked_ma_clip_starts_near_clip_and_the_drawn_one_does_not(tiny: Tiny) -> None:
    plain, text = tiny()(clips(2, 8)), torch.randn(2, 48)
    distance = {}
    for name in ("ma", "ma as drawn"):
        encoder = Adapted(tiny(), MAKERS[name]()).eval()
        with torch.no_grad():
            for words in (None, text):
                distance[name, words is None] = float((encoder(clips(2, 8), words) - plain).norm() / plain.norm())
    assert max(distance["ma", True], distance["ma", False]) < 1e-4
    assert min(distance["ma as drawn", True], distance["ma as drawn", False]) > 1e-3


@pytest.mark.parametrize("name", MAKERS)
def test_only_the_adapter_is_trained_and_every_part_of_it_gets_a_gradient(tiny: Tiny, name: str) -> None:
    encoder = perturbed(Adapted(tiny(), MAKERS[name]())).train()
    ends = {"d2st": "|class_embedding|ln_post", "aim": "|ln_post", "aim two temporal": "|ln_post"}
    allowed = re.compile(r"\.adapter\.|frame_positions" + ends.get(name, ""))
    frozen = {n: p.detach().clone() for n, p in encoder.state_dict().items() if n not in trained(encoder)}
    assert all(allowed.search(n) for n in trained(encoder))
    words = torch.randn(2, 48) if encoder.reads_text else None
    optimizer = torch.optim.AdamW(trained(encoder).values(), lr=0.1)
    encoder(clips(2, 8), words).square().sum().backward()
    # a class token cannot be reached by what the last block's patches alone pass on
    unreached = {n for n, p in trained(encoder).items() if p.grad is None or not p.grad.abs().sum() > 0}
    assert {n.split("adapter.")[1].split(".")[0] for n in unreached} == ({"mlp"} if name in BEFORE_MLP else set())
    assert all(n.startswith("visual.transformer.resblocks.2.") for n in unreached)
    optimizer.step()
    after = encoder.state_dict()
    assert all(torch.equal(value, after[n]) for n, value in frozen.items())


@pytest.mark.parametrize("name", SEES_TIME)
def test_the_order_of_the_frames_matters(tiny: Tiny, name: str) -> None:
    encoder = perturbed(Adapted(tiny(), MAKERS[name]())).eval()
    x = clips(1, 8)
    with torch.no_grad():
        forward, backward = encoder(x), encoder(x.flip(1)).flip(1)
    # MA-CLIP's attention over class tokens knows no order by itself: frame features move with their frames
    same = torch.allclose(forward, backward, rtol=1e-4, atol=1e-5)
    assert same == name.startswith("ma")
    other = x.clone()
    other[:, 1] = 1 - other[:, 1]
    with torch.no_grad():
        assert not torch.allclose(encoder(other)[:, 0], forward[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["lora", "lora all"])
def test_lora_sees_one_frame_at_a_time(tiny: Tiny, name: str) -> None:
    encoder = perturbed(Adapted(tiny(), MAKERS[name]())).eval()
    x = clips(1, 8)
    torch.testing.assert_close(encoder(x.flip(1)).flip(1), encoder(x))


@pytest.mark.parametrize("name", MAKERS)
def test_another_number_of_frames_works_or_says_what_to_do(tiny: Tiny, name: str) -> None:
    encoder = perturbed(Adapted(tiny(), MAKERS[name]())).eval()
    if name in ANY_T:
        assert encoder(clips(2, 5)).shape == (2, 5, 48)
    else:
        with pytest.raises(ValueError, match="frames=5"):
            encoder(clips(2, 5))


def test_without_frame_embeddings_any_number_of_frames_works(tiny: Tiny) -> None:
    for adapter in (AIM(frames=0), D2STAdapter(frames=0)):
        assert Adapted(tiny(), adapter)(clips(1, 5)).shape == (1, 5, 48)


@pytest.mark.parametrize("name", MAKERS)
def test_clips_do_not_see_each_other_and_chunks_change_nothing(tiny: Tiny, name: str) -> None:
    encoder = perturbed(Adapted(tiny(frames_per_chunk=9), MAKERS[name]())).eval()
    x, words = clips(2, 3, 8), torch.randn(2, 3, 48) if "ma" in name else None
    with torch.no_grad():
        together = encoder(x, words)
        alone = encoder(x[1, 2], None if words is None else words[1, 2])
    torch.testing.assert_close(together[1, 2], alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encoder(x, words).detach(), together, rtol=1e-4, atol=1e-5)  # in one piece, for a graph


@pytest.mark.parametrize("name", MAKERS)
def test_checkpointing_gives_the_same_gradients(tiny: Tiny, name: str) -> None:
    gradients = []
    for checkpointing in (False, True):
        encoder = perturbed(Adapted(tiny(), MAKERS[name](), checkpointing=checkpointing)).train()
        words = torch.ones(2, 48) if encoder.reads_text else None
        support, query = encoder(clips(2, 8), words), encoder(clips(1, 8) / 2)
        (support.square().sum() + query.square().sum()).backward()  # the support's blocks run again after the query's
        gradients.append({n: p.grad for n, p in trained(encoder).items() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for n, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][n], gradient, rtol=1e-4, atol=1e-4)


def kept_bytes(encoder: Adapted, x: Tensor) -> int:
    """What a pass keeps for its backward pass."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        features = encoder(x)
    features.sum().backward()
    boundaries = 3 * 2 * 8 * 65 * 64 * 4 if encoder.context.checkpointing else 0  # kept by the blocks, not by the graph
    return sum(kept.values()) + boundaries


def test_checkpointing_and_adapting_the_last_block_alone_keep_less_for_the_backward_pass(tiny: Tiny) -> None:
    x = clips(2, 8)
    everything = kept_bytes(Adapted(tiny(), AIM(drop_path=0)), x)
    assert kept_bytes(Adapted(tiny(), AIM(drop_path=0), checkpointing=True), x) < everything / 4
    assert kept_bytes(Adapted(tiny(), AIM(drop_path=0), last=1), x) < everything / 2


def test_the_encoders_own_checkpointing_is_taken_over(tiny: Tiny) -> None:
    encoder = tiny()
    encoder.visual.set_grad_checkpointing(True)
    adapted = Adapted(encoder, STAdapter())
    assert adapted.context.checkpointing
    assert not adapted.visual.transformer.grad_checkpointing


def test_adapters_in_the_last_blocks_alone(tiny: Tiny) -> None:
    encoder = Adapted(tiny(), STAdapter(), last=2)
    assert {n.split(".")[3] for n in trained(encoder)} == {"1", "2"}
    with pytest.raises(ValueError, match="the tower has 3 blocks"):
        Adapted(tiny(), STAdapter(), last=4)


@pytest.mark.parametrize("name", ["aim", "ma", "st"])
def test_the_frozen_lower_blocks_can_be_computed_once(tiny: Tiny, name: str) -> None:
    encoder = perturbed(Adapted(tiny(), MAKERS[name](), last=1)).train()
    x, words = clips(2, 2, 8), torch.randn(2, 2, 48) if name == "ma" else None
    states = encoder.below(Streams(frames=x))
    assert states.trailing(0) == {"layer 2": (2, 2, 8, 65, 64)}
    assert not states["layer 2"].requires_grad
    cached, whole = encoder.above(states, text=words)["frames"], encoder(x, words)
    torch.testing.assert_close(cached, whole, rtol=1e-4, atol=1e-5)
    weights = list(trained(encoder).values())
    both = [torch.autograd.grad(y.square().sum(), weights, allow_unused=True) for y in (cached, whole)]
    for one, two in zip(*both, strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="no frozen lower half"):
        Adapted(tiny(), MAKERS[name]()).below(Streams(frames=x))


def test_frame_embeddings_enter_where_the_adapted_blocks_begin(tiny: Tiny) -> None:
    encoder = Adapted(tiny(), AIM(drop_path=0), last=1)
    entered: list[Tensor] = []
    encoder.blocks[1].register_forward_hook(lambda module, inputs, output: entered.append(output))
    encoder(clips(1, 8)).sum().backward()
    assert not entered[0].requires_grad
    assert encoder.visual.frame_positions.weight.grad is not None


@pytest.mark.parametrize("name", MAKERS)
def test_a_bfloat16_tower_trains_float32_adapters(tiny: Tiny, name: str) -> None:
    adapter = MAKERS[name]()
    if adapter.trained:
        with pytest.raises(ValueError, match="precision='fp32'"):
            Adapted(tiny(precision="bf16"), adapter)
        adapter.trained = ()  # as with tune_ends or tune_norm false
    encoder = perturbed(Adapted(tiny(precision="bf16"), adapter)).train()
    words = torch.randn(2, 48) if encoder.reads_text else None
    features = encoder(clips(2, 8), words)
    features.sum().backward()
    assert features.dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in trained(encoder).values())
    exact = perturbed(Adapted(tiny(), adapter)).train()
    cosine = torch.cosine_similarity(features.detach(), exact(clips(2, 8), words), dim=-1)
    assert float(cosine.detach().min()) > 0.99


def test_without_projection_the_features_are_the_class_token_and_text_is_gone(tiny: Tiny) -> None:
    encoder = Adapted(tiny(), D2STAdapter(), project=False).eval()
    assert encoder.channels == 64
    assert encoder.text is None
    found = encoder.features(Streams(frames=clips(2, 8)), ("layer -1",))
    torch.testing.assert_close(found["frames"], encoder.visual.ln_post(found["layer -1"])[:, :, 0])


def test_tokens_are_those_of_the_adapted_tower(tiny: Tiny) -> None:
    encoder = perturbed(Adapted(tiny(frames_per_chunk=8), AIM())).eval()
    with torch.no_grad():
        found = encoder.features(Streams(frames=clips(3, 8)), ("layer 0", "layer -1"))
        features, before, after = found["frames"], found["layer 0"], found["layer -1"]
        torch.testing.assert_close(features, encoder(clips(3, 8)))
        assert before.shape == after.shape == (3, 8, 65, 64)
        torch.testing.assert_close(encoder.visual.ln_post(after)[..., 0, :] @ encoder.visual.proj, features)


def test_a_copy_and_a_failure_leave_no_trace(tiny: Tiny) -> None:
    encoder = perturbed(Adapted(tiny(), AIM())).eval()
    twin = copy.deepcopy(encoder)
    with torch.no_grad():
        twin.visual.frame_positions.weight.zero_()
        assert not torch.allclose(twin(clips(1, 8)), encoder(clips(1, 8)))
    with pytest.raises(ValueError, match="32 x 32"):
        encoder(clips(1, 8, side=40))
    assert encoder.context.clip is None
    with pytest.raises(RuntimeError, match="whole clips"):
        encoder.visual(clips(8))


def test_text_is_refused_by_an_adapter_that_reads_none(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="reads no class text"):
        Adapted(tiny(), AIM())(clips(1, 8), torch.ones(1, 48))


def test_the_fingerprint_knows_the_adapter_and_its_weights(tiny: Tiny) -> None:
    one, two = Adapted(tiny(), LoRA(rank=2)), Adapted(tiny(), LoRA(rank=3))
    assert one.fingerprint() != two.fingerprint() != tiny().fingerprint()
    before = one.fingerprint(trained=True)
    assert before != perturbed(one).fingerprint(trained=True)


def test_towers_that_cannot_be_adapted_are_refused(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="AIM needs a ViT of plain blocks"):
        Adapted(ImageEncoder("resnet18", None, image_size=32), AIM())
    with pytest.raises(ValueError, match="no adapter yet"):
        Adapted(Adapted(tiny(), AIM()), AIM())
