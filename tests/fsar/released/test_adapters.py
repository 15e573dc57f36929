"""AIM, ST-Adapter and D2ST-Adapter against arrays of their released code."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from episodes.clips import Streams
from fsar.adapters import AIM, STAdapter
from fsar.adapters.base import Clip
from fsar.adapters.d2st import STAGES, D2STPart, D2STStagePart
from fsar.encoders.adapted import Adapted

AIM_NAMES = (
    (r"MLP_Adapter", "adapter.joint"),
    (r"S_Adapter", "adapter.spatial"),
    (r"T_Adapter_in", "adapter.temporal_in"),
    (r"T_Adapter", "adapter.temporal"),
    (r"D_fc1", "down"),
    (r"D_fc2", "up"),
)
ST_NAMES = (
    (r"adapter_pre_attn", "adapter.attention"),
    (r"adapter_pre_mlp", "adapter.mlp"),
    (r"fc1", "down"),
    (r"fc2", "up"),
    (r"(adapter.*)conv\.", r"\1"),
)
D2ST_NAMES = (
    (r"pos_embed", "position"),
    (r"([st])_ln\.(norm\.)?", r"norm_\1."),
    (r"([st])_attn", r"path_\1"),
    (r"(norm|path)_s\b", r"\1_spatial"),
    (r"(norm|path)_t\b", r"\1_temporal"),
    (r"path_", ""),
    (r"conv_offset\.0", "offset_conv"),
    (r"conv_offset\.1\.norm", "offset_norm"),
    (r"conv_offset\.3", "offset"),
    (r"proj_q", "query"),
    (r"proj_k", "key"),
    (r"proj_v", "value"),
    (r"proj_out", "out"),
)


@pytest.mark.parametrize("case", ["case0", "case1"])
def test_aim(released: Any, case: str) -> None:
    arrays = released.arrays("aim")
    adapter = AIM(
        scale=float(arrays(f"{case}/adapter_scale")),
        temporal_input=int(arrays(f"{case}/temporal_adapters")) == 2,
        drop_path=0.0,
        frames=4,
    )
    encoder = Adapted(released.tower(16, 32, 2), adapter, project=False)
    names = (*released.ADAPTED, *AIM_NAMES)
    released.give(encoder.visual, arrays.under(f"{case}/weight/"), names)
    found = encoder.features(Streams(frames=arrays(f"{case}/frames")), ("frames", "layers"))
    features, tokens = found["frames"], found["layers"].unbind(-3)
    released.agree(features, arrays(f"{case}/features"))
    for found, name in zip(tokens, ("before_block0", "after_block0", "after_block1"), strict=True):
        released.agree(found.flatten(0, 1).transpose(0, 1), arrays(f"{case}/tokens_{name}"))
    (features * arrays(f"{case}/upstream")).sum().backward()
    released.check_gradients(encoder.visual, arrays.under(f"{case}/grad_weight/"), names)


@pytest.mark.parametrize("case", ["case0", "case1", "case2"])
def test_st_adapter(released: Any, case: str) -> None:
    arrays = released.arrays("st_adapter")
    before = [bool(arrays(f"{case}/pre_{place}")) for place in ("attention", "mlp")]
    encoder = Adapted(released.tower(16, 32, 2), STAdapter(16, *before), project=False, output="video")
    weights = arrays.under(f"{case}/weight/")
    head = nn.Linear(32, 7)
    head.load_state_dict({"weight": weights.pop("fc.weight"), "bias": weights.pop("fc.bias")})
    names = (*released.ADAPTED, *ST_NAMES)
    released.give(encoder.visual, weights, names)
    clips = arrays(f"{case}/frames")
    tokens = encoder.features(Streams(frames=clips), ("layer 0", "layer 2"))
    for layer, name in ((0, "before"), (2, "after")):
        released.agree(tokens[f"layer {layer}"].flatten(0, 1), arrays(f"{case}/tokens_{name}"))
    logits = head(encoder(clips).squeeze(1))
    released.agree(logits, arrays(f"{case}/class_logits"))
    (logits * arrays(f"{case}/upstream")).sum().backward()
    expected = arrays.under(f"{case}/grad_weight/")
    dead = {name for name, value in expected.items() if not value.any()}
    assert {name.split(".")[2] for name in dead} == ({"1"} if before[1] else set())  # patches of the last block
    released.check_gradients(encoder.visual, {n: v for n, v in expected.items() if n not in dead}, names)
    grads = {n: p.grad for n, p in encoder.visual.named_parameters()}
    for name in dead:
        ours = released.place(dict.fromkeys(grads, torch.zeros(3)), name, names)[0]
        assert grads[ours] is None or not grads[ours].any()


@pytest.mark.parametrize("case", ["adapter0", "adapter1", "adapter2"])
def test_d2st_adapter_of_a_vit(released: Any, case: str) -> None:
    arrays = released.arrays("d2st")
    grid = int(arrays(f"{case}/grid"))
    part = D2STPart(64, 16, 4, (grid, grid))
    released.give(part, arrays.under(f"{case}/weight/"), D2ST_NAMES)
    tokens = arrays(f"{case}/tokens").requires_grad_()
    adapted = part(nn.Identity(), tokens.transpose(0, 1), Clip(int(arrays(f"{case}/frames")))).transpose(0, 1)
    released.agree(adapted, arrays(f"{case}/adapted"))
    (adapted * arrays(f"{case}/upstream")).sum().backward()
    released.agree(tokens.grad, arrays(f"{case}/grad_tokens"))
    released.check_gradients(part, arrays.under(f"{case}/grad_weight/"), D2ST_NAMES)


@pytest.mark.parametrize(("case", "stage"), [("stage3", 2), ("stage4", 3)])
def test_d2st_adapter_of_a_resnet(released: Any, case: str, stage: int) -> None:
    arrays = released.arrays("d2st_resnet")
    maps = arrays(f"{case}/maps").requires_grad_()
    part = D2STStagePart(maps.shape[1], maps.shape[1] // 4, *STAGES[stage])
    released.give(part, arrays.under(f"{case}/weight/"), D2ST_NAMES)
    adapted = part(nn.Identity(), maps, Clip(int(arrays(f"{case}/frames"))))
    released.agree(adapted, arrays(f"{case}/adapted"))
    (adapted * arrays(f"{case}/upstream")).sum().backward()
    released.agree(maps.grad, arrays(f"{case}/grad_maps"))
