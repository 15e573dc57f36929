"""Long-CLIP: a text tower that reads 248 tokens instead of 77.

Zhang et al. 2024, "Long-CLIP: Unlocking the Long-Text Capability of CLIP", https://arxiv.org/abs/2403.15378, section
3.1; released code https://github.com/beichenzbc/Long-CLIP. With positions p of the tower, the first 20 stay and the
others, which CLIP hardly trained, are stretched by 4::

    new[20 + 4 i + r] = (1 - r/4) p[20 + i] + (r/4) p[20 + i + 1],   r = 0..3

behind the last position the line through the last two goes on. A released file also holds
``positional_embedding_res``, trained, which stands in place of the stretched rows. Stretching alone needs no training,
but nothing taught the tower to read so far; splitting a text (:func:`fsar.text.encode_whole`) is what happens
otherwise.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transformer import TextTransformer
from torch import Tensor, nn

from fsar.encoders.clip import ClipEncoder
from fsar.encoders.frame import Tune
from fsar.encoders.tower.precision import Precision
from fsar.encoders.tower.text_tower import TextEncoder
from fsar.encoders.weights.architecture import architecture, config_of
from fsar.encoders.weights.state import read_state
from fsar.encoders.weights.variants import LONG

KEPT, FACTOR = 20, 4


def stretch_positions(positions: Tensor, kept: int = KEPT, factor: int = FACTOR) -> Tensor:
    """``(n w)`` positions to ``(kept + factor · (n - kept) w)``: 77 to 248.

    Raises:
        ValueError: fewer than two positions to stretch.
    """
    rest = positions[kept:]
    if len(rest) < 2:
        raise ValueError(f"stretch_positions keeps {kept} positions and needs two more, found {len(positions)}.")
    after = torch.cat([rest[1:], 2 * rest[-1:] - rest[-2:-1]])
    share = torch.arange(factor, dtype=rest.dtype, device=rest.device)[:, None] / factor
    between = (1 - share) * rest[:, None] + share * after[:, None]  # (n-kept factor w)
    return torch.cat([positions[:kept], between.flatten(0, 1)])


class LongText(ClipEncoder):
    """CLIP whose text tower reads long texts whole; frames are encoded as by :class:`ClipEncoder`.

    Args:
        model: as in :class:`ClipEncoder`, with CLIP's own text tower.
        pretrained: as there, whose positions are stretched; or Long-CLIP's own file, whose positions were trained.
        tune: see :class:`ClipEncoder`.
        tune_text: train the text tower as well.
        precision: see :class:`ClipEncoder`.
        quick_gelu: likewise.
        templates: likewise.
        frames_per_chunk: likewise.
        download: likewise.
        checkpointing: likewise.

    Raises:
        ValueError: a text tower that is not CLIP's.

    >>> text = LongText("fsar-tiny", "shapes").text
    >>> text.fits("a " * 60), text(["a " * 60]).shape
    (True, torch.Size([1, 64]))
    """

    def __init__(
        self,
        model: str,
        pretrained: str | None,
        tune: Tune = "frozen",
        tune_text: bool = False,
        precision: Precision = "fp32",
        quick_gelu: bool | None = None,
        templates: Sequence[str] = ("a photo of {}",),
        frames_per_chunk: int | None = None,
        download: bool = False,
        checkpointing: bool = False,
    ) -> None:
        length = config_of(architecture(model))["text_cfg"].get("context_length", 77)
        long = long_architecture(model, KEPT + FACTOR * (length - KEPT))
        trained = pretrained is not None and is_long(Path(pretrained))
        super().__init__(
            long if trained else model,
            pretrained,
            tune,
            precision=precision,
            quick_gelu=quick_gelu,
            templates=templates,
            frames_per_chunk=frames_per_chunk,
            download=download,
            checkpointing=checkpointing,
        )
        self.identity = self.lower_identity = self.identity.replace(
            long, architecture(model)
        )  # the frames are the same
        tower = self.require_text().tower
        if not trained:
            stretch_tower(tower, model)
        self.text = TextEncoder(tower, long, templates, tune_text, download)


def is_long(path: Path) -> bool:
    """Whether a file is Long-CLIP's."""
    return path.is_file() and LONG in read_state(path)[0]


def long_architecture(model: str, length: int) -> str:
    """The name of the same architecture with a text tower that reads ``length`` tokens, known to open_clip."""
    name = architecture(model)
    config: dict[str, Any] = config_of(name)
    config["text_cfg"] = {**config["text_cfg"], "context_length": length}
    long = f"{name}-text-{length}"
    if long not in open_clip.list_models():
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, f"{long}.json").write_text(dumps(config), encoding="utf-8")
            open_clip.add_model_config(Path(folder))
    return long


def stretch_tower(tower: nn.Module, model: str) -> None:
    """Give a text tower of open_clip the stretched positions, and the mask that goes with them.

    Raises:
        ValueError: another kind of tower.
    """
    if not isinstance(tower, TextTransformer) or tower.attn_mask is None or tower.cls_emb is not None:
        raise ValueError(
            f"LongText stretches CLIP's own text tower, but that of {model} is {type(tower).__name__} of another kind: "
            "use ClipEncoder, which splits long texts."
        )
    positions: Any = tower.positional_embedding
    trained = positions.requires_grad
    tower.positional_embedding = nn.Parameter(stretch_positions(positions.detach()), requires_grad=trained)
    tower.num_pos = tower.context_length = len(tower.positional_embedding)
    tower.attn_mask = tower.build_causal_mask().to(positions.device)
