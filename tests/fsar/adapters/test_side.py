"""Networks beside a frozen tower."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

from fsar.adapters import EVL, Ladder, Side
from fsar.adapters.ladder import SideBlock, pruned, resampled
from fsar.encoders import ClipEncoder
from fsar.encoders.beside import Beside
from fsar.encoders.cost import added_cost

Tiny = Callable[..., ClipEncoder]
MAKERS: dict[str, Callable[[], Side]] = {
    "ladder": lambda: Ladder(width=32, heads=2, temporal=(1,)),
    "ladder pca": lambda: Ladder(width=32, heads=2, temporal=(1,), init="pca"),
    "evl": lambda: EVL(layers=2, dropout=0.0),
    "evl video": lambda: EVL(layers=2, output="video", dropout=0.0),
}


def clips(*lead: int) -> Tensor:
    return torch.rand(*lead, 3, 32, 32, generator=torch.Generator().manual_seed(3))


def shaken(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


@pytest.mark.parametrize("name", MAKERS)
def test_the_network_is_trained_and_no_graph_enters_the_tower(tiny: Tiny, name: str) -> None:
    encoder = Beside(tiny(), MAKERS[name]()).train()
    shaken(encoder.side)
    states: list[Tensor] = []
    encoder.blocks[-1].register_forward_hook(lambda module, inputs, output: states.append(output))
    before = {n: p.clone() for n, p in encoder.visual.state_dict().items()}
    features = encoder(clips(2, 8))
    assert not states[0].requires_grad
    features.square().sum().backward()
    torch.optim.AdamW([p for p in encoder.parameters() if p.requires_grad], lr=0.1).step()
    assert all(n.startswith("side.") for n, p in encoder.named_parameters() if p.requires_grad)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.side.parameters())
    assert all(torch.equal(p, before[n]) for n, p in encoder.visual.state_dict().items())
    assert not encoder.frozen
    assert encoder.text is None


@pytest.mark.parametrize("name", MAKERS)
def test_clips_are_alone_and_frames_are_ordered(tiny: Tiny, name: str) -> None:
    encoder = Beside(tiny(), MAKERS[name]()).eval()
    shaken(encoder.side)
    x = clips(2, 3, 8)
    with torch.no_grad():
        features = encoder(x)
        t = 1 if name == "evl video" else 8
        assert features.shape == (2, 3, t, encoder.channels)
        torch.testing.assert_close(encoder(x[1, 2]), features[1, 2], rtol=1e-4, atol=1e-5)
        turned = encoder(x.flip(2)).flip(2)
    if "ladder" in name:  # attention over frames without positions: features move with their frames
        torch.testing.assert_close(turned, features, rtol=1e-4, atol=1e-5)
    else:
        assert not torch.allclose(turned, features, rtol=1e-3, atol=1e-4)


def test_another_number_of_frames(tiny: Tiny) -> None:
    assert Beside(tiny(), MAKERS["ladder"]())(clips(1, 5)).shape == (1, 5, 32)
    with pytest.raises(ValueError, match="frames=8, but the clips have 5"):
        Beside(tiny(), MAKERS["evl"]())(clips(1, 5))


def test_the_temporal_block_of_the_ladder_is_what_sees_other_frames(tiny: Tiny) -> None:
    x = clips(1, 8)
    other = x.clone()
    other[:, 5] = 1 - other[:, 5]
    for temporal, seen in (((1,), True), ((), False)):
        encoder = Beside(tiny(), Ladder(width=32, heads=2, temporal=temporal)).eval()
        with torch.no_grad():
            assert torch.allclose(encoder(other)[:, 0], encoder(x)[:, 0], rtol=1e-4, atol=1e-6) != seen


def test_ladder_gates_start_at_one_half(tiny: Tiny) -> None:
    encoder = Beside(tiny(), MAKERS["ladder"]())
    states = tuple(torch.randn(1, 4, 65, 64) for _ in encoder.side.layers)
    side = encoder.side
    downs = [down(norm(h)) for h, norm, down in zip(states, side.norms, side.downs, strict=True)]
    s = downs[0]
    for block, d in zip(side.blocks, downs[1:], strict=True):
        s = (block(s) + d) / 2
    torch.testing.assert_close(side.tokens(states), s)


def test_pruned_clip_keeps_the_strongest_directions_and_the_first_rows(tiny: Tiny) -> None:
    weight = torch.randn(40, 20)
    for rows, columns, whole in ((30, 7, weight), (7, 15, weight.T)):  # cut to 30 outputs; to 15 inputs
        expected = PCA(min(rows, columns)).fit_transform(whole.numpy())
        expected = expected[:rows] if rows >= columns else expected.T[:, :columns]
        found = pruned(weight if rows >= columns else whole.T, rows, columns)
        torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-3, atol=1e-4)
    assert resampled(torch.linspace(0, 1, 64), 32).diff().gt(0).all()
    encoder = Beside(tiny(), MAKERS["ladder pca"]())
    attention, block = encoder.blocks[0].attn, encoder.side.blocks[0]
    torch.testing.assert_close(block.qkv.weight[:32], pruned(attention.in_proj_weight[:64], 32, 32))
    assert not torch.equal(block.qkv.weight[:32], block.qkv.weight[32:64])
    assert isinstance(block, SideBlock)
    with pytest.raises(ValueError, match="smaller width"):
        Beside(tiny(), Ladder(width=128, init="pca", temporal=()))


def test_evl_cross_frame_attention_written_out(tiny: Tiny) -> None:
    encoder = Beside(tiny(), MAKERS["evl"]())
    time = shaken(encoder.side.time[0])
    q, k = torch.randn(1, 3, 2, 64, 16), torch.randn(1, 3, 2, 64, 16)
    expected = torch.zeros(1, 3, 64, 64)
    for t in range(3):
        for other, weight in ((t - 1, time.before), (t + 1, time.after)):
            if not 0 <= other < 3:
                continue
            attention = (q[0, t] @ k[0, other].mT).softmax(-1).mean(0)
            for a in range(64):
                for b in range(64):
                    offset = (a // 8 - b // 8 + 7) * 15 + (a % 8 - b % 8 + 7)
                    expected[0, t, a] += attention[a, b] * weight[offset].detach()
    torch.testing.assert_close(time.cross(q, k), expected, rtol=1e-4, atol=1e-5)


def test_evl_reads_the_queries_and_keys_of_the_block(tiny: Tiny) -> None:
    encoder = Beside(tiny(), MAKERS["evl"]())
    block, state = encoder.blocks[0], torch.randn(1, 2, 65, 64)
    q, k = encoder.side.time[0].query_key(state, block)
    normed = block.ln_1(state.flatten(0, 1))
    own = nn.MultiheadAttention.forward(block.attn, normed, normed, normed, average_attn_weights=False)[1]
    assert own is not None  # (bt h l l)
    ours = (q @ k.mT).flatten(0, 1)
    torch.testing.assert_close(ours.softmax(-1), own[:, :, 1:, 1:] / own[:, :, 1:, 1:].sum(-1, keepdim=True))


@pytest.mark.parametrize(("side", "count"), [(Ladder(), 2_575_872 + 9_477_120 + 12), (EVL(), 32_874_240)])
def test_published_number_of_weights(side: Side, count: int) -> None:
    cost = added_cost(Beside(ClipEncoder("ViT-B-16", None), side))
    assert cost.trained == count
    assert 33e9 < cost.tower < 37e9
    assert 0 < cost.added < cost.tower / 4


def test_a_tower_that_is_trained_is_refused(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="tune='frozen'"):
        Beside(tiny(tune=1), EVL(layers=1))
    with pytest.raises(ValueError, match="counted from 0"):
        Beside(tiny(), Ladder())


def test_the_fingerprint_covers_the_network_when_asked(tiny: Tiny) -> None:
    encoder = Beside(tiny(), EVL(layers=1))
    names = [encoder.fingerprint(), encoder.lower_fingerprint(), encoder.fingerprint(trained=True)]
    shaken(encoder.side)
    moved = [encoder.fingerprint(), encoder.lower_fingerprint(), encoder.fingerprint(trained=True)]
    assert [a == b for a, b in zip(names, moved, strict=True)] == [True, True, False]
