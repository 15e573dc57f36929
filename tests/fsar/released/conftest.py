"""Arrays made by released code, and towers and parts that are given its weights under its names."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from torch import Tensor, nn

from fsar.encoders import ClipEncoder

Rules = Sequence[tuple[str, str]]  # patterns of released names, and ours; "#k" marks a part of a joined weight


class Arrays:
    """One file of reference arrays."""

    def __init__(self, path: Path) -> None:
        self.file = np.load(path)

    def __call__(self, key: str) -> Tensor:
        return torch.from_numpy(self.file[key])

    def under(self, prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): self(k) for k in self.file.files if k.startswith(prefix)}


class Released:
    """What the tests of this folder share."""

    ADAPTED: Rules = (
        (r"resblocks\.(\d+)\.(ln_|attn|mlp)", r"resblocks.\1.block.\2"),
        (r"^temporal_embedding$", "frame_positions.weight"),
    )
    HUGGING_FACE: Rules = (
        (r"^embeddings\.patch_embedding", "conv1"),
        (r"^embeddings\.position_embedding\.weight", "positional_embedding"),
        (r"^embeddings\.", ""),
        (r"^pre_layernorm", "ln_pre"),
        (r"^post_layernorm", "ln_post"),
        (r"^layers\.(\d+)\.", r"transformer.resblocks.\1."),
        (r"layer_norm(\d)", r"ln_\1"),
        (r"self_attn\.([qkv])_proj\.(\w+)", r"attn.in_proj_\2#\1"),
        (r"self_attn\.", "attn."),
        (r"(resblocks.*)mlp\.fc1", r"\1mlp.c_fc"),
        (r"(resblocks.*)mlp\.fc2", r"\1mlp.c_proj"),
        (r"^projection\.weight$", "proj"),
    )

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder, self.scratch = folder, scratch

    def arrays(self, name: str) -> Arrays:
        return Arrays(self.folder / f"{name}.npz")

    def tower(self, size: int, width: int, layers: int, heads: int = 4, channels: int = 48) -> ClipEncoder:
        """A ViT of the size of a reference, whose pixels stay as they are."""
        vision = {"image_size": size, "patch_size": 4, "width": width, "layers": layers, "head_width": width // heads}
        text = {"context_length": 24, "width": 32, "heads": 2, "layers": 1}
        config = {"embed_dim": channels, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}
        (self.scratch / "test-released.json").write_text(json.dumps(config))
        open_clip.add_model_config(self.scratch)
        return ClipEncoder("test-released", None, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))

    def place(self, tensors: dict[str, Tensor], released: str, rules: Rules) -> tuple[str, Tensor]:
        """Our name of a released weight, and the tensor, or its part, that holds it."""
        name = released
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        name, _, part = name.partition("#")
        if part.isdigit():
            return name, tensors[name][int(part) : int(part) + 1]
        return name, tensors[name].chunk(3)["qkv".index(part)] if part else tensors[name]

    def give(self, module: nn.Module, weights: dict[str, Tensor], rules: Rules) -> None:
        """Loads the released weights, which must be all that the module has."""
        state = module.state_dict()
        given = set()
        for released, value in weights.items():
            name, place = self.place(state, released, rules)
            place.copy_(shaped(value, place))
            given.add(name)
        assert given == set(state)

    def check_gradients(
        self, module: nn.Module, expected: dict[str, Tensor], rules: Rules, share: float = 1e-5
    ) -> None:
        """Likewise; a gradient that is zero but for rounding (the bias of keys) must be so here too, however the
        processor rounds."""
        zero = max(1e-6, share * max(float(value.abs().max()) for value in expected.values()))
        grads = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
        for released, value in expected.items():
            _, grad = self.place(grads, released, rules)
            if float(value.abs().max()) < 1e-6:
                assert float(grad.abs().max()) < zero
            else:
                self.agree(grad, shaped(value, grad), share)

    def agree(self, found: Tensor, expected: Tensor, share: float = 1e-5) -> None:
        """Equal up to a share of the largest entry."""
        assert found.shape == expected.shape
        assert float((found.detach() - expected).abs().max()) <= share * float(expected.abs().max())


def shaped(value: Tensor, like: Tensor) -> Tensor:
    """A released value without axes of length 1, and transposed where ours is."""
    value = value.squeeze()
    turned = value.dim() == 2 and value.shape != like.shape and value.shape == like.shape[::-1]
    return (value.mT if turned else value).reshape(like.shape)


@pytest.fixture
def released(shared: Path, tmp_path: Path) -> Released:
    return Released(shared / "reference", tmp_path)
