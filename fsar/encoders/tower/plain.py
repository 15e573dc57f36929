"""ViTs of plain blocks, of open_clip and of timm, in the same words: what halves and adapters must know of a tower.

A plain block is ``x <- x + s1 MSA(LN1(x))``, then ``x <- x + s2 MLP(LN2(x))``, with a factor per channel or none. Those
of timm may turn queries and keys by the places of their patches (EVA, DINOv3, PE); then the tower hands them a rotary
embedding, which holds for the tokens of one frame and for no other sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from timm.models.eva import Eva, EvaBlock
from timm.models.vision_transformer import Block as TimmVitBlock
from timm.models.vision_transformer import VisionTransformer as TimmVit
from torch import Tensor, nn

PLAIN = (ResidualAttentionBlock, TimmVitBlock, EvaBlock)
_OF_TIMM = {"class_embedding": "cls_token", "ln_pre": "norm_pre"}


@dataclass(frozen=True)
class Vit:
    """A ViT inside of a tower, plain or not.

    Args:
        visual: the tower.
        body: the ViT: the tower itself, or what open_clip wraps.
        root: of the names of its weights: "", or "trunk.".
    """

    visual: Any
    body: Any
    root: str

    @property
    def timm(self) -> bool:
        """Whether it is one of timm."""
        return not isinstance(self.body, VisionTransformer)

    @property
    def blocks(self) -> Any:
        """First to last; an assignment ``blocks[i] = ...`` puts another in its place."""
        return self.body.blocks if self.timm else self.body.transformer.resblocks

    @property
    def at(self) -> str:
        """How the names of the blocks' weights begin, before their number."""
        return f"{self.root}blocks." if self.timm else "transformer.resblocks."

    @property
    def after(self) -> tuple[str, ...]:
        """How the names of those weights begin that act behind the blocks."""
        own = ("norm.", "fc_norm.", "attn_pool.", "head.")
        return (*(f"{self.root}{name}" for name in own), "head.") if self.timm else ("ln_post.", "proj")

    @property
    def prefix(self) -> int:
        """Tokens before the patches: the class token first, then registers."""
        return int(self.body.num_prefix_tokens) if self.timm else 1

    @property
    def class_token(self) -> bool:
        """Whether there is one."""
        return not self.timm or self.body.cls_token is not None

    @property
    def checkpointing(self) -> bool:
        """Whether blocks compute their activations again in the backward pass."""
        return bool(self.body.grad_checkpointing if self.timm else self.body.transformer.grad_checkpointing)

    def place(self, name: str) -> str:
        """The tower's name of ``ln_pre``, ``ln_post``, ``class_embedding`` of open_clip, or of a weight of theirs."""
        head, dot, rest = name.partition(".")
        if self.timm and head == "ln_post":
            head = "fc_norm" if isinstance(self.body.norm, nn.Identity) else "norm"
        elif self.timm:
            head = _OF_TIMM[head]
        return f"{self.root}{head}{dot}{rest}"

    def embed(self, frames: Tensor) -> Tensor:
        """Tokens ``(b p w)`` that enter the first block, of ``(b c h w)``."""
        if not self.timm:
            return self.body._embeds(frames)
        found = self.body._pos_embed(self.body.patch_embed(frames))
        tokens: Tensor = self.body.norm_pre(found[0] if isinstance(found, tuple) else found)
        return tokens

    def turns(self) -> Sequence[Tensor | None]:
        """The rotary embedding ``(p' r)`` of each block, None without."""
        rope = getattr(self.body, "rope", None)
        if rope is None:
            return [None] * len(self.blocks)
        own = hasattr(rope, "feat_shape") and not self.body.dynamic_img_size
        made = rope.get_embed() if own else rope.get_embed(shape=self.body.patch_embed.grid_size)
        return list(made) if getattr(self.body, "rope_mixed", False) else [made] * len(self.blocks)

    def finish(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Features ``(b d)`` of what the last block gives; and the tokens of which the patches are taken, see
        :func:`fsar.encoders.tower.seen.patches_of`."""
        if not self.timm:
            pooled, _ = self.body._pool(tokens)
            return pooled if self.body.proj is None else pooled @ self.body.proj, tokens
        tokens = self.body.norm(tokens)
        features = self.body.forward_head(tokens)
        return self.visual.head(features) if self.root else features, tokens


def find_vit(visual: nn.Module) -> Vit | None:
    """The ViT of a tower, whose blocks may be of any kind, or adapted; None where there is none, or one that pools with
    attention in open_clip's own way."""
    if isinstance(visual, VisionTransformer):
        return None if visual.attn_pool is not None else Vit(visual, visual, "")
    body, root = (visual.trunk, "trunk.") if isinstance(visual, TimmModel) else (visual, "")
    return Vit(visual, body, root) if isinstance(body, TimmVit | Eva) else None


def explain_not_plain(visual: nn.Module) -> str:
    """Why a tower is no ViT of plain blocks; "" when it is one."""
    vit = find_vit(visual)
    if vit is None:
        body = visual.trunk if isinstance(visual, TimmModel) else visual
        pools = isinstance(body, VisionTransformer)
        return "its tokens are pooled by attention" if pools else f"its network is of the class {type(body).__name__}"
    strange = next((block for block in vit.blocks if type(block) not in PLAIN), None)
    return "" if strange is None else f"its blocks are of the class {type(strange).__name__}"


class TimmBlock:
    """A plain block of timm under the names that those of open_clip have, see :data:`fsar.adapters.base.Block`.

    Args:
        block: of timm.
        turn: the rotary embedding of the frame's patches, None without.
    """

    def __init__(self, block: Any, turn: Tensor | None) -> None:
        self.block, self.turn = block, turn
        self.ln_1, self.ln_2, self.mlp = block.norm1, block.norm2, block.mlp

    def __call__(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(x) if self.turn is None else self.block(x, rope=self.turn)
        return out

    @property
    def unplaced(self) -> TimmBlock:
        """The block for sequences over frames or clips, which are no patches and have no places."""
        return TimmBlock(self.block, None)

    def attention(self, q_x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """Of ``(b l w)``: the frame's tokens, and whatever was added behind them, which is not turned."""
        how: dict[str, Tensor] = {}
        if self.turn is not None:
            added = q_x.shape[1] - self.block.attn.num_prefix_tokens - self.turn.shape[-2]
            how["rope"] = extend(self.turn, added)
        if attn_mask is not None:
            how["attn_mask"] = attn_mask.to(q_x.dtype)
        attended: Tensor = self.block.attn(q_x, **how)
        return attended

    def ls_1(self, x: Tensor) -> Tensor:
        """The factors of what the attention gives."""
        return scale(self.block, 1, x)

    def ls_2(self, x: Tensor) -> Tensor:
        """The factors of what the feed-forward part gives."""
        return scale(self.block, 2, x)


def in_common_words(block: nn.Module, turn: Tensor | None = None) -> Any:
    """A block as adapters see it: one of timm behind open_clip's names, any other as it is."""
    return TimmBlock(block, turn) if isinstance(block, TimmVitBlock | EvaBlock) else block


def extend(turn: Tensor, count: int) -> Tensor:
    """A rotary embedding ``(... p 2r)``, sines before cosines, with ``count`` places that are not turned."""
    if count <= 0:
        return turn
    sines = turn.new_zeros(*turn.shape[:-2], count, turn.shape[-1] // 2)
    return torch.cat([turn, torch.cat([sines, torch.ones_like(sines)], dim=-1)], dim=-2)


def scale(block: Any, number: int, x: Tensor) -> Tensor:
    """The block's own factors per channel: a module in a ViT, a parameter in EVA, or nothing."""
    factors = getattr(block, f"gamma_{number}", None)
    own = getattr(block, f"ls{number}", None)
    return own(x) if own is not None else x if factors is None else factors * x
