"""What a tower makes on its way to the features of a frame: its last map or patch tokens, and what its blocks give."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import isqrt
from typing import Any

import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from fsar.encoders.tower.blocks import as_tokens, blocks_of, has_blocks, record_states

LAYER = re.compile(r"layer (-?\d+)")
_AT_INPUT = {"transformer": False, "attnpool": True, "avgpool": True, "encoder": False}
_AT_INPUT |= {"conv5": False, "layers": False, "features": False, "classifier": True}
"""Modules of open_clip's and torchvision's networks where the last map or the last tokens are, the first that is there:
at the input of a pooling or of the place of a classifier that pools, at the output of the body."""


def layers_among(needs: Sequence[str]) -> list[str]:
    """The names that ask for what blocks give: ``layers``, all of them, or ``layer i``."""
    return [name for name in needs if name == "layers" or LAYER.fullmatch(name)]


def check_needs(needs: Sequence[str], gives: Sequence[str], blocks: int, reader: str, encoder: str) -> None:
    """Refuse a reader of features that an encoder does not give.

    Args:
        needs: what is read, by name.
        gives: what there is; ``layers`` stands for every ``layer i`` too.
        blocks: how many blocks the tower has.
        reader: who reads, for the message.
        encoder: whose features, for the message.

    Raises:
        ValueError: names both, and the way out.
    """
    lacking = [n for n in needs if n not in gives and not (LAYER.fullmatch(n) and "layers" in gives)]
    if lacking:
        sizes = [name.removeprefix("frames ") for name in lacking if re.fullmatch(r"frames \d+", name)]
        way_out = "Use another encoder, such as fsar.encoders.ClipEncoder with ViT-B-16 or RN50, or a method that reads"
        way_out += " frames alone."
        if sizes:
            way_out = f"Wrap the encoder: fsar.encoders.TwoResolutions with size {sizes[0]}."
        raise ValueError(
            f"{reader} reads {' and '.join(needs)}, but {encoder} gives {' and '.join(gives)}, not "
            f"{' and '.join(lacking)}. {way_out}"
        )
    if wrong := [n for n in needs if (found := LAYER.fullmatch(n)) and not -1 - blocks <= int(found[1]) <= blocks]:
        raise ValueError(f"{', '.join(wrong)}: the tower has {blocks} blocks, so layers are 0..{blocks} or -1.")


@contextmanager
def watched(visual: nn.Module, needs: Sequence[str]) -> Iterator[Callable[[], dict[str, Tensor]]]:
    """One pass of frames through the tower, of which can then be asked what of it is among ``needs``, float32.

    ``patches (b p w)`` are the last map or tokens, ``projected (b p d)`` these in the space of the text; ``layer i
    (b p w)`` is what block ``i`` (from 1) gives, 0 what enters the first and -1 the last, the class token first where
    there is one; ``layers (b l p w)`` are all of these.
    """
    layers = layers_among(needs)
    with ExitStack() as hooks:
        last = hooks.enter_context(last_of(visual)) if {"patches", "projected"} & {*needs} else []
        states = hooks.enter_context(record_states(blocks_of(visual))) if layers else []

        def found() -> dict[str, Tensor]:
            made = patches_among(needs, visual, last[-1]) if last else {}
            tokens_of = ordered(states, visual) if layers else []
            for name in layers:
                chosen = tokens_of if name == "layers" else [tokens_of[int(name.split()[1])]]
                if len({state.shape for state in chosen}) > 1:
                    raise ValueError(
                        "layers of several shapes do not fit into one tensor: ask for 'layer 1' and so on."
                    )
                made[name] = torch.stack(chosen, 1).float() if name == "layers" else chosen[0].float()
            return made

        yield found


def has_patches(visual: nn.Module) -> bool:
    """Whether we know where the last map or tokens of this tower are."""
    return _timm(visual) is not None or _place(visual) is not None


def names_given(visual: nn.Module) -> tuple[str, ...]:
    """What a tower can be asked for, beside ``layer i``: see :meth:`fsar.encoders.FrameEncoder.features`."""
    projects = isinstance(visual, VisionTransformer) and visual.attn_pool is None and visual.proj is not None
    there = {"patches": has_patches(visual), "projected": projects, "layers": has_blocks(visual)}
    return ("frames", *(name for name, given in there.items() if given))


def patches_among(needs: Sequence[str], visual: Any, state: Tensor) -> dict[str, Tensor]:
    """``patches`` and ``projected`` of the last map or tokens, those that are needed, float32."""
    if not {"patches", "projected"} & {*needs}:
        return {}
    patches = patches_of(visual, state)
    made = {"patches": patches.float()} if "patches" in needs else {}
    return made | ({"projected": (patches @ visual.proj).float()} if "projected" in needs else {})


def patches_of(visual: Any, state: Tensor) -> Tensor:
    """``(b p w)``, row by row and without class token, of the last map ``(b w h w')`` or tokens; after the closing norm
    where the tower has one."""
    if isinstance(visual, VisionTransformer):
        return (state if visual.attn_pool is not None else visual.ln_post(state))[:, 1:]
    timm = _timm(visual)
    if state.dim() == 3:
        return state[:, 1 if timm is None else _prefix_of(timm, state.shape[1]) :]
    channels_last = timm is not None and state.shape[1] != timm.num_features
    return as_tokens(state.movedim(-1, 1) if channels_last else state)


def ordered(states: Sequence[Any], visual: nn.Module) -> list[Tensor]:
    """What blocks gave as tokens ``(b p w)``.

    Frames are square, so of a map the two sides that are equal are rows and columns; where all three are, it has its
    channels where the network's other maps have them.

    Raises:
        ValueError: blocks that are no steps of the pass, or that give something else than tokens or a map.
    """
    states = [state[0] if isinstance(state, tuple) and state else state for state in states]  # timm's MViT adds a size
    count = len(blocks_of(visual)) + 1
    if len(states) != count or not all(isinstance(s, Tensor) and s.dim() in (3, 4) for s in states):
        raise ValueError(
            f"what the blocks of {type(visual).__name__} give is no row of tokens or maps: ask for others."
        )
    sides = [state.shape[1:] for state in states if state.dim() == 4]
    usual = any(a == b != c for a, b, c in sides)
    return [
        as_tokens(s, s.dim() == 4 and s.shape[1] == s.shape[2] and (usual or s.shape[2] != s.shape[3])) for s in states
    ]


def _prefix_of(network: Any, tokens: int) -> int:
    """How many of so many tokens come before the patches, which are a square's.

    Raises:
        ValueError: they are none.
    """
    told = getattr(network, "num_prefix_tokens", None)
    found = int(hasattr(network, "cls_token")) if told is None else int(told)
    if tokens <= found or isqrt(tokens - found) ** 2 != tokens - found:
        raise ValueError(
            f"{type(network).__name__} of timm ends in {tokens} tokens, of which the patches are not known."
        )
    return found


def _timm(visual: nn.Module) -> Any:
    """The network of timm that the tower is or holds, or None."""
    network = visual.trunk if isinstance(visual, TimmModel) else visual
    return network if type(network).__module__.startswith("timm.") else None


def _place(visual: nn.Module) -> str | None:
    return next((name for name in _AT_INPUT if isinstance(getattr(visual, name, None), nn.Module)), None)


@contextmanager
def last_of(visual: nn.Module) -> Iterator[list[Tensor]]:
    """A list that gets the last map or tokens of every pass."""
    last: list[Tensor] = []
    timm = _timm(visual)
    if timm is not None:  # all of its networks are forward_head(forward_features(x))
        plain = timm.forward_features

        def keep(*inputs: Any, **options: Any) -> Tensor:
            last.append(plain(*inputs, **options))
            return last[-1]

        timm.forward_features = keep
        try:
            yield last
        finally:
            del timm.forward_features
        return
    place = _place(visual)
    assert place is not None
    module = visual.get_submodule(place)
    if _AT_INPUT[place]:
        hook = module.register_forward_pre_hook(lambda module, inputs: last.append(inputs[0]))
    else:
        hook = module.register_forward_hook(lambda module, inputs, output: last.append(output))
    try:
        yield last
    finally:
        hook.remove()
