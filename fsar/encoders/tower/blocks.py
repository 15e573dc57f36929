"""A tower seen from outside: its blocks, what they give, and which of its weights are trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from timm.layers import DropPath
from torch import Tensor, nn

_BLOCKS = (
    "transformer.resblocks",
    *("trunk.blocks", "trunk.stages", "trunk.layers", "blocks", "stages", "layers"),  # of timm, in a tower or alone
    *("encoder.layers", "features"),
)
_RESNET = ("layer1", "layer2", "layer3", "layer4")


def blocks_of(visual: nn.Module) -> nn.ModuleList | nn.Sequential:
    """The blocks of an image tower of open_clip, timm or torchvision, first to last.

    Raises:
        ValueError: the tower is not a sequence of blocks that we know.
    """
    own = getattr(visual, "own_blocks", None)  # of a network that says itself
    if isinstance(own, nn.ModuleList | nn.Sequential):
        return own
    modules = dict(visual.named_modules())
    for name in _BLOCKS:
        found = modules.get(name)
        if isinstance(found, nn.ModuleList | nn.Sequential):
            return found
    if all(name in modules for name in _RESNET):
        return nn.ModuleList(modules[name] for name in _RESNET)
    raise ValueError(f"{type(visual).__name__} has no sequence of blocks that we know; use tune 'frozen' or 'full'.")


def has_blocks(visual: nn.Module) -> bool:
    """Whether :func:`blocks_of` knows the tower."""
    try:
        return bool(blocks_of(visual))
    except ValueError:
        return False


@contextmanager
def record_states(blocks: nn.ModuleList | nn.Sequential) -> Iterator[list[Tensor]]:
    """What enters the first block and what every block gives, in order, for one pass."""
    states: list[Tensor] = []
    first, *_ = blocks
    handles = [first.register_forward_pre_hook(lambda module, inputs: states.append(inputs[0]))]
    handles += [block.register_forward_hook(lambda module, inputs, output: states.append(output)) for block in blocks]
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()


def as_tokens(state: Tensor, channels_last: bool = False) -> Tensor:
    """Tokens ``(b p w)`` as they are; a map ``(b w h w')`` or, with ``channels_last``, ``(b h w' w)`` row by row."""
    if state.dim() != 4:
        return state
    return state.flatten(1, 2) if channels_last else state.flatten(2).transpose(1, 2)


def set_tuning(visual: nn.Module, tune: Literal["frozen", "full"] | int) -> nn.Module:
    """Marks what is trained: nothing, everything, or the last ``tune`` blocks with all that follows them.

    Raises:
        ValueError: a number of blocks that the tower does not have.
    """
    if tune == "full":
        return visual
    visual.requires_grad_(False)
    if tune == "frozen":
        return visual
    blocks = [block for block in blocks_of(visual) if next(block.parameters(), None) is not None]
    if isinstance(tune, str) or not 1 <= tune <= len(blocks):
        raise ValueError(f"tune={tune!r}: 'frozen', 'full', or a number of last blocks in 1..{len(blocks)}.")
    named = dict(visual.named_parameters())
    trained = {id(parameter) for block in blocks[-tune:] for parameter in block.parameters()}
    last = max(i for i, parameter in enumerate(named.values()) if id(parameter) in trained)
    for i, (name, parameter) in enumerate(named.items()):
        # Modules are listed in the order in which they act; only the projection of a ViT is listed before its time.
        parameter.requires_grad_(id(parameter) in trained or i > last or name == "proj")
    return visual


def trained_tensors(tower: nn.Module) -> set[str]:
    """Names of the trained parameters and of the buffers (running statistics) beside them."""
    trained = {name for name, parameter in tower.named_parameters() if parameter.requires_grad}
    owners = {name.rpartition(".")[0] for name in trained}
    return trained | {name for name, _ in tower.named_buffers() if name.rpartition(".")[0] in owners}


def keep_frozen_in_eval(tower: nn.Module) -> None:
    """Puts every module that has weights, but no trained one, into evaluation mode with all that it contains."""
    for module in tower.modules():
        weights = list(module.parameters())
        if weights and not any(weight.requires_grad for weight in weights):
            module.eval()


def checkpoint_blocks(visual: nn.Module, name: str) -> None:
    """Makes the blocks of a ViT compute their activations again in the backward pass instead of keeping them.

    Raises:
        ValueError: a tower that cannot.
    """
    if not hasattr(getattr(visual, "transformer", None), "grad_checkpointing"):
        raise ValueError(f"checkpointing needs a ViT of open_clip, and {name} has none: leave checkpointing out.")
    visual.set_grad_checkpointing(True)  # type: ignore[operator]


BRANCHES = ("ls_1", "ls_2", "drop_path", "drop_path1", "drop_path2")
"""What stands behind a block's branches, in open_clip and in timm."""


def drop_branches(visual: nn.Module, largest: float, name: str) -> None:
    """Lets every frame skip branches of the blocks in training (stochastic depth, Huang et al. 2016,
    https://arxiv.org/abs/1603.09382), with a probability that grows linearly from 0 in the first block to ``largest``.

    Frozen blocks are in evaluation mode, and drop nothing. Names of weights stay as they are.

    Raises:
        ValueError: a probability that is none, or a tower whose branches are not known.
    """
    if not 0 <= largest < 1:
        raise ValueError(f"drop_path is a probability in 0..1, below 1, found {largest}.")
    if not largest:
        return
    blocks = [module for module in visual.modules() if any(_is_open(module, branch) for branch in BRANCHES)]
    if not blocks:
        raise ValueError(f"drop_path needs blocks with branches to skip, and {name} has none: leave it out.")
    for i, block in enumerate(blocks):
        probability = largest * i / max(1, len(blocks) - 1)
        for branch in BRANCHES:
            if probability and _is_open(block, branch):
                setattr(block, branch, DropPath(probability))


def _is_open(module: nn.Module, branch: str) -> bool:
    return isinstance(getattr(module, branch, None), nn.Identity)
