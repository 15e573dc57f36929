"""The two halves of a ViT of open_clip or timm: the lower is frozen, so that its tokens can be kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fsar.encoders.tower.plain import Vit, find_vit

_POSITIONS = "frame_positions."  # they enter at an adapted block, see fsar.encoders


def first_trained(visual: nn.Module) -> int:
    """Number of the first trained block of a ViT, from which on it must be computed in every step.

    0 when there is no frozen half to speak of: nothing is trained; or something in the first block, before it, or at a
    place we do not know is; or the tower is no ViT of open_clip or timm.
    """
    vit = find_vit(visual)
    if vit is None:
        return 0
    trained = [name for name, parameter in visual.named_parameters() if parameter.requires_grad]
    if not trained or not all(name.startswith((vit.at, *vit.after, _POSITIONS)) for name in trained):
        return 0
    numbers = [int(name.removeprefix(vit.at).split(".")[0]) for name in trained if name.startswith(vit.at)]
    return min(numbers, default=len(vit.blocks))


def lower_half(visual: nn.Module, frames: Tensor, layers: Sequence[int]) -> dict[str, Tensor]:
    """Tokens of some layers of a ViT, ``(b c h w)`` to ``layer i (b p w)``.

    Nothing above the last of them is computed. 0 is what enters the first block, ``i`` what block ``i`` (from 1) gives.
    """
    vit = _vit(visual)
    x = vit.embed(frames)
    found = {"layer 0": x}
    for number, (block, turn) in enumerate(zip(vit.blocks[: max(layers)], vit.turns(), strict=False), 1):
        x = _run(block, x, turn)
        if number in layers:
            found[f"layer {number}"] = x
    return {f"layer {layer}": found[f"layer {layer}"] for layer in layers}


def upper_half(visual: nn.Module, x: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """Features ``(b d)`` from the tokens ``(b p w)`` that enter block ``first``, counted from 0; and the tokens of
    which the patches are taken."""
    vit = _vit(visual)
    again = vit.checkpointing and torch.is_grad_enabled()
    for block, turn in zip(vit.blocks[first:], vit.turns()[first:], strict=True):
        x = checkpoint(_run, block, x, turn, use_reentrant=False) if again else _run(block, x, turn)
    return vit.finish(x)


def lower_weights(visual: nn.Module, last: int) -> Iterator[tuple[str, Tensor]]:
    """What decides the tokens of layer ``last`` of a ViT, by the names of the tower without adapters."""
    vit, state = _vit(visual), visual.state_dict()
    for name in state:
        rest = name.removeprefix(vit.at)
        if name.startswith((*vit.after, _POSITIONS)) or (rest != name and int(rest.split(".")[0]) >= last):
            continue
        yield name.replace(".block.", ".", 1), state[name]


def _vit(visual: nn.Module) -> Vit:
    vit = find_vit(visual)
    assert vit is not None  # first_trained says 0 then
    return vit


def _run(block: nn.Module, x: Tensor, turn: Tensor | None) -> Tensor:
    out: Tensor = block(x) if turn is None else block(x, rope=turn)
    return out
