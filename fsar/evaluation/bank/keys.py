"""What of a clip is stored or cached for a method, and under which name."""

from __future__ import annotations

import hashlib
from typing import Any

import torch

from episodes.clips import Clips, Contents, Features, LowerHalf, Streams
from fsar.encoders.tower.seen import layers_among
from fsar.encoders.weights.state import hash_tensors
from fsar.method import Method


def has_halves(method: Method) -> bool:
    """Whether a store keeps what the frozen half of the encoder gives, instead of whole features."""
    own = type(method).encode is not Method.encode or layers_among(method.needs)
    return bool(method.encoder.kept_layers) and not own


@torch.no_grad()
def to_store(method: Method, clips: Streams) -> Clips:
    """What a store keeps of clips, under :func:`feature_key`: what the encoder's frozen half gives, or the features
    that the method needs when it has no halves."""
    return method.encoder.below(clips) if has_halves(method) else method.encode(clips)


def contents(method: Method) -> Contents:
    """Kind and names of what :func:`to_store` gives."""
    if has_halves(method):
        return Contents(LowerHalf, tuple(f"layer {layer}" for layer in method.encoder.kept_layers))
    return Contents(Features, method.needs)


def feature_key(method: Method, training: bool = False) -> dict[str, Any]:
    """What turns a clip into what is stored for this method: its name in a feature store, as plain values.

    These are the encoder's name, the mean and deviation of its pixels, and a sha256 that covers these and the weights.
    An encoder with a frozen and a trained half has a key of the frozen half alone: training leaves it as it is, and
    methods that differ above share it.

    Args:
        method: asked for its encoder.
        training: what is stored is to take the place of pixels in training.

    Raises:
        ValueError: when nothing that could be stored would serve, because support clips are encoded together with their
            class's name, or because the encoder is trained from its first block on.
    """
    encoder = method.encoder
    about = {"mean": list(encoder.mean), "std": list(encoder.std)}
    if has_halves(method):
        return {"name": encoder.lower_identity, **about, "sha256": encoder.lower_fingerprint()}
    if method.text_conditioned:
        raise ValueError(method.store_refusal)
    if training and not encoder.frozen:
        raise ValueError(
            "data.features takes the place of pixels, but this encoder has no frozen lower half to store: it is "
            "trained from its first block on, or at its class embedding (D2STAdapter, unless tune_ends is false), or "
            "it is no ViT of open_clip or timm. Train the last blocks only (last of fsar.encoders.Adapted, tune of "
            "ClipEncoder), set tune to frozen, or leave out data.features."
        )
    digest = hashlib.sha256(encoder.fingerprint(trained=True).encode())
    if type(method).encode is not Method.encode:
        own = {name: x for name, x in method.state_dict().items() if not name.startswith("encoder.")}
        digest.update(f"{type(method).__qualname__} {hash_tensors(own)}".encode())
    return {"name": encoder.identity, **about, "sha256": digest.hexdigest()}


def cache_key(method: Method, device: torch.device, precision: str = "32-true") -> dict[str, Any] | None:
    """What turns a clip into features, where a cache of them can serve; None where they are not of the clip alone, or
    not of frozen weights that the encoder's hash covers.

    Args:
        method: asked for its encoder.
        device: it computes on.
        precision: of the trainer.
    """
    own = type(method).encode is not Method.encode
    if own or method.text_conditioned or not method.encoder.frozen or has_halves(method):
        return None
    needs = {} if tuple(method.needs) == Method.needs else {"needs": " ".join(method.needs)}
    return {**feature_key(method), "precision": precision, "device": device.type, "torch": torch.__version__, **needs}
