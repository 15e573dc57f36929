"""The methods of ``fsar baselines``, and what they are tuned on."""

from __future__ import annotations

from fsar.alignment import OTAM, FrameMean
from fsar.encoders import FrameEncoder
from fsar.method import Method
from fsar.methods import (
    APE,
    APET,
    Clip4Clip,
    CoOp,
    LinearProbe,
    NearestNeighbour,
    Prototype,
    SimpleShot,
    TipAdapter,
    TipAdapterF,
    ZeroShot,
)
from fsar.methods.clip_family.tuning import Grid, published_grid
from fsar.text import TextBank

STRENGTHS = [10.0 ** (i / 2) for i in range(-4, 9)]


def family(
    encoder: FrameEncoder, texts: TextBank | None, train_classes: list[str] | None
) -> dict[str, tuple[Method, Grid]]:
    """Methods without training by name, each with the grid that it is tuned on; the first is the reference."""
    blind: dict[str, tuple[Method, Grid]] = {
        "nearest neighbour": (NearestNeighbour(encoder), {}),
        "prototype": (Prototype(encoder, FrameMean()), {}),
        "prototype, OTAM": (Prototype(encoder, OTAM(temperature=0.1)), {}),
        "SimpleShot": (SimpleShot(encoder), {}),
        "linear probe": (LinearProbe(encoder), {"strength": STRENGTHS}),
        "ridge probe": (LinearProbe(encoder, solver="ridge"), {"strength": STRENGTHS}),
    }
    if encoder.text is None:
        return blind
    cache, coarse = published_grid(50, 50), published_grid(50, 50, 1.5, steps=(50, 20, 10))
    return {
        "zero-shot": (ZeroShot(encoder, texts=texts), {}),
        **blind,
        "Tip-Adapter": (TipAdapter(encoder, texts), cache),
        "Tip-Adapter-F": (TipAdapterF(encoder, texts), cache),
        "APE": (APE(encoder, texts=texts, channel_classes=train_classes), coarse),
        "APE-T": (APET(encoder, texts=texts, channel_classes=train_classes), cache),
    }


def learned(encoder: FrameEncoder) -> dict[str, tuple[Method, float]]:
    """Methods that learn on training episodes, with their learning rates; none without a text tower."""
    if encoder.text is None:
        return {}
    return {
        "CoOp": (CoOp(encoder), 2e-3),
        "CLIP4Clip, LSTM": (Clip4Clip(encoder, "lstm"), 1e-4),
        "CLIP4Clip, Transformer": (Clip4Clip(encoder, "transformer", init_from_text=False), 1e-4),
        "CLIP4Clip, Transformer, support": (Clip4Clip(encoder, "transformer", "support", init_from_text=False), 1e-4),
    }
