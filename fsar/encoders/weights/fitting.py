"""Which networks of torchvision and timm have the tensors of a file: their names and shapes, but for the classifier's.

What each network has stands in ``networks.json``, for to build them all takes minutes; this writes it anew::

    python -m fsar.encoders.weights.fitting
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from episodes.files import write_atomically

TABLE = Path(__file__).with_name("networks.json")
"""``heads``: what classifiers are called, each of them one or several prefixes; ``networks``: names by digest."""


class _Empty(TorchFunctionMode):
    """Tensors that are not filled take no memory and no time; those that are computed are computed."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **{**(kwargs or {}), **({"device": "meta"} if func is torch.empty else {})})


def fitting_networks(state: Mapping[str, Tensor]) -> list[str]:
    """Names as ``--encoder`` takes them; those of one list have the same tensors, which do not tell them apart."""
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    found = {name for heads in table["heads"] for name in table["networks"].get(digest(without(state, heads)), [])}
    return sorted(found)


def suggest_networks(state: Mapping[str, Tensor]) -> str:
    """A sentence that names the networks that a state dict fits; may be empty."""
    found = fitting_networks(state)
    return f"Its names and shapes are those of {' or '.join(found)}." if found else ""


def without(state: Mapping[str, Tensor], heads: Sequence[str]) -> dict[str, Tensor]:
    """A state dict without the tensors of its classifier."""
    return {key: x for key, x in state.items() if not key.startswith(tuple(f"{head}." for head in heads))}


def digest(state: Mapping[str, Tensor]) -> str:
    """Of names and shapes, whatever their order."""
    rows = sorted(f"{key} {tuple(x.shape)}" for key, x in state.items())
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:12]


def list_networks() -> Iterator[str]:
    """All of them."""
    for module in (torchvision.models, torchvision.models.video):
        yield from (f"torchvision:{name}" for name in torchvision.models.list_models(module=module))
    yield from (f"timm:{name}" for name in timm.list_models())


def describe_network(name: str) -> tuple[set[str], tuple[str, ...]]:
    """Digests of a network, one for each size of frames that torchvision has weights for, and what its classifier is
    called."""
    from fsar.encoders.image_networks import network_without_head  # which asks this module what a file fits
    from fsar.encoders.video.network import VIDEO_NETWORKS, body_without_head

    library, _, model = name.partition(":")
    if library == "torchvision" and model in VIDEO_NETWORKS:
        body, head = _build(body_without_head, model)
        return {digest(body.state_dict())}, (head,)
    sizes = {224}
    if library == "torchvision":
        sizes = {entry.transforms().crop_size[0] for entry in torchvision.models.get_model_weights(model)}
    made = [_build(network_without_head, library, model, size) for size in sorted(sizes)]
    return {digest(network.state_dict()) for network, _ in made}, made[0][1]


def _build(make: Any, *args: Any) -> tuple[nn.Module, Any]:
    try:
        with _Empty():
            found: tuple[nn.Module, Any] = make(*args)
    except RuntimeError:  # it computes with weights while it is built
        found = make(*args)
    return found


def write_table() -> None:
    """Build every network, and write what they have."""
    heads: set[tuple[str, ...]] = set()
    networks: dict[str, list[str]] = {}
    for name in list_networks():
        digests, head = describe_network(name)
        heads.add(head)
        for each in digests:
            networks.setdefault(each, []).append(name)
    rows = (f"  {json.dumps(key)}: {json.dumps(sorted(names))}" for key, names in sorted(networks.items()))
    said = f' "heads": {json.dumps(sorted(heads))},\n "networks": {{\n' + ",\n".join(rows) + "\n }\n"
    with write_atomically(TABLE) as part:
        part.write_text(f"{{\n{said}}}\n", encoding="utf-8")


if __name__ == "__main__":
    write_table()
