"""EVL's decoder, and what TS-FSAR's networks start from, against arrays of their released code."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch

from episodes.clips import Streams
from fsar.adapters import EVL, Ladder
from fsar.encoders.beside import Beside
from fsar.methods import TSFSAR

EVL_TOWER = (
    (r"^cls_token$", "class_embedding"),
    (r"^pos_embed$", "positional_embedding"),
    (r"^patch_embed\.proj\.weight$", "conv1.weight"),
    (r"^blocks\.", "transformer.resblocks."),
    (r"attn\.([qkv])_proj\.(\w+)", r"attn.in_proj_\2#\1"),
    (r"norm(\d)", r"ln_\1"),
    (r"mlp\.fc1", "mlp.c_fc"),
    (r"mlp\.fc2", "mlp.c_proj"),
)
EVL_DECODER = (
    (r"^cls_token$", "query"),
    (r"^decoder_layers\.", "decoder."),
    (r"attn\.([qkv])_proj\.(\w+)", r"attention.in_proj_\2#\1"),
    (r"attn\.out_proj", "attention.out_proj"),
    (r"norm1", "norm_query"),
    (r"norm2", "norm_mlp"),
    (r"norm3", "norm_tokens"),
    (r"mlp\.fc1", "fc"),
    (r"mlp\.fc2", "proj"),
    (r"^temporal_conv\.(\d)", r"time.\1.conv"),
    (r"^temporal_pos_embed\.(\d)", r"time.\1.positions"),
    (r"^cross_attention\.(\d)\.w1", r"time.\1.before"),
    (r"^cross_attention\.(\d)\.w2", r"time.\1.after"),
)


def test_evl(released: Any) -> None:
    arrays = released.arrays("evl")
    weights = arrays.under("backbone/weight/")
    layers = len({name.split(".")[1] for name in weights if name.startswith("blocks")})
    encoder = released.tower(16, 32, layers)
    weights["pos_embed"][1:] += weights.pop("patch_embed.proj.bias")  # open_clip's patches have no bias
    weights["patch_embed.proj.weight"] = weights["patch_embed.proj.weight"].reshape(32, 3, 4, 4)
    closing = {n: x.clone() for n, x in encoder.visual.state_dict().items() if n.startswith(("ln_post", "proj"))}
    released.give(encoder.visual, {**weights, **closing}, EVL_TOWER)
    beside = Beside(encoder, EVL(frames=4, layers=2, output="video", dropout=0.0))
    released.give(beside.side, arrays.under("case0/weight/"), EVL_DECODER)

    first = layers - 2
    states = beside.below(Streams(frames=arrays("case0/frames"))).values()
    for i, (before, after) in enumerate(pairwise(states)):
        released.agree(after, arrays(f"case0/layer{i}/out"))
        time = beside.side.time[i]
        q, k = time.query_key(before, beside.blocks[first + i])
        for found, name in ((q * 8**0.5, "q"), (k, "k")):
            released.agree(found.transpose(2, 3), arrays(f"case0/layer{i}/{name}")[:, :, 1:])
        released.agree(time.cross(q, k), arrays(f"case0/layer{i}/cross")[:, :, 1:])
    video = beside(arrays("case0/frames")).squeeze(1)
    released.agree(video, arrays("case0/video"))
    (video * arrays("case0/upstream")).sum().backward()
    released.check_gradients(beside.side, arrays.under("case0/grad_weight/"), EVL_DECODER)


def test_what_ts_fsar_starts_from(released: Any) -> None:
    """Every weight of the side block and of the attention over CLIP's frames, with scikit-learn's signs.

    The reference was computed in float32, which loses 1e-4 in the axes.
    """
    arrays = released.arrays("ts_fsar_init")
    weights = arrays.under("weight/model.")
    encoder = released.tower(16, 64, 3)
    state = encoder.visual.state_dict()
    for name, value in weights.items():
        if name.startswith("layers."):
            place = released.place(state, name, released.HUGGING_FACE)[1]
            place.copy_(value)
    method = TSFSAR(encoder, Ladder(width=32, heads=2, temporal=(1,), init="pca"))
    block = method.encoder.side.blocks[2]
    for part, value in (("q", 0), ("k", 1), ("v", 2)):
        for kind in ("weight", "bias"):
            expected = weights[f"side_transformer.2.attn.{part}_linear.{kind}"]
            released.agree(getattr(block.qkv, kind).chunk(3)[value], expected, 2e-4 if kind == "weight" else 1e-6)
            expected = weights[f"Adapter.attn.{part}_linear.{kind}"]
            found = getattr(method.clip_attention, f"in_proj_{kind}").chunk(3)[value]
            released.agree(found, expected, 2e-4 if kind == "weight" else 1e-6)
    pairs: dict[str, Any] = {
        "side_transformer.2.attn.proj": block.out,
        "side_transformer.2.mlp.fc1": block.fc,
        "side_transformer.2.mlp.fc2": block.proj,
        "side_transformer.2.norm1": block.norm_1,
        "side_transformer.2.norm2": block.norm_2,
        "Adapter.attn.proj": method.clip_attention.out_proj,
        "Adapter.norm1": method.clip_norm,
    }
    for name, module in pairs.items():
        for kind in ("weight", "bias"):
            found, expected = getattr(module, kind), weights[f"{name}.{kind}"]
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 if expected.dim() == 2 else 1e-6)
    assert not method.encoder.side.gates.any()
    assert not any(weights[f"side_gate_params.{i}"].any() for i in range(3))
