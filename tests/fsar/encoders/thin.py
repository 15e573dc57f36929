"""Published architectures made thin: every flag of theirs stays, widths and depths shrink, weights are random."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import open_clip
import timm
import torch

from fsar.encoders import ClipEncoder, FrameEncoder, ImageEncoder, VideoEncoder

VIT = {"embed_dim": 48, "depth": 3, "num_heads": 3}
THIN: dict[str, dict[str, Any]] = {
    "vit": VIT,
    "eva02": VIT,
    "convnext": {"depths": (1, 1, 1, 1), "dims": (8, 16, 32, 48)},
    "fastvit": {"layers": (1, 1, 1, 1), "embed_dims": (16, 16, 32, 32)},
    "tf_efficientnet": {},
}
TEXT = {"context_length": 24, "width": 32, "heads": 2, "layers": 1}


@contextmanager
def thin_timm() -> Iterator[None]:
    """timm makes its networks thin."""
    plain = timm.create_model

    def named(name: str, **options: Any) -> Any:
        family = next(key for key in THIN if name.startswith(key))
        return plain(name, **{**THIN[family], **options})

    with mock.patch.object(timm, "create_model", named):
        yield


def make(name: str, folder: Path, **options: Any) -> FrameEncoder:
    """The encoder of a row: ``open_clip:NAME``, ``timm:NAME@SIZE``, ``torchvision:NAME@SIZE``, ``video:NAME@SIZE``."""
    library, _, model = name.partition(":")
    model, _, side = model.partition("@")
    size = int(side) if side else None
    torch.manual_seed(1)
    with thin_timm():
        if library == "video":
            return VideoEncoder(model, None, image_size=size, **options).eval()
        if library != "open_clip":
            found: FrameEncoder = ImageEncoder(model, None, library, image_size=size, **options)  # type: ignore[arg-type]
        else:
            config: Any = open_clip.get_model_config(model)
            vision = config["vision_cfg"]
            if "timm_model_name" not in vision:
                deep = isinstance(vision["layers"], list)
                vision |= {"layers": [1, 1, 1, 1], "width": 16} if deep else {"layers": 3, "width": 48}
                vision |= {"image_size": 64} if deep else {"image_size": 4 * vision["patch_size"], "head_width": 16}
            config |= {"embed_dim": 48, "text_cfg": TEXT}
            path = folder / f"thin-{model}.json"
            path.write_text(json.dumps(config))
            found = ClipEncoder(str(path), None, **options)
    with torch.no_grad():
        for part, weight in found.visual.named_parameters():
            weight.add_(0.02 * torch.randn_like(weight))
            if "gamma" in part:  # factors that start near zero would hide what stands before them
                weight.add_(0.5)
    return found.eval()
