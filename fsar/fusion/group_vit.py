"""Token grouping: patches are handed to a few learned group tokens, and groups take the place of patches.

Xu et al. 2022, "GroupViT: Semantic Segmentation Emerges from Text Supervision", https://arxiv.org/abs/2202.11094,
section 3.1; form of the grouping block as its released code behaves. With x the patches ``(... p d)``, g the learned
tokens::

    ĝ    = LN(MLP over the token axis (LN g));   ĝ = LN(a + MLP(LN a)),  a = ĝ + attention(ĝ <- LN x)
    s_ip = q(ĝ_i)·k(x_p) / √d                                   score="cosine": scale · cos(q(ĝ_i), k(x_p)), ours
    A    = softmax over the groups i                            of s (soft), or of s + Gumbel noise while training
    Â    = A, or its one-hot maximum with A's gradient          assign="soft"; "hard", "gumbel"
    y_i  = ĝ_i + W_o Σ_p Â_ip W_v x_p / (Σ_p Â_ip + 1);   out_i = y_i + MLP(LN y_i)
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from episodes.clips import Features
from fsar.fusion.base import Fusion, Levels

Assign = Literal["soft", "hard", "gumbel"]


def assign_groups(scores: Tensor, assign: Assign, noise: Tensor | None = None) -> Tensor:
    """How much of each token goes to each group.

    Args:
        scores: ``(... G p)``.
        assign: "soft", shares that add up to 1 over the groups; "hard", all of a token to one group, with the gradient
            of the shares; "gumbel", as "hard" with noise on the scores.
        noise: ``(... G p)`` of the Gumbel distribution; none for "soft" and "hard", and in evaluation.

    Returns:
        ``(... G p)``; the columns add up to 1.
    """
    soft = (scores if noise is None else scores + noise).softmax(-2)
    if assign == "soft":
        return soft
    hard = torch.zeros_like(soft).scatter_(-2, soft.argmax(-2, keepdim=True), 1.0)
    return hard + (soft - soft.detach())  # exactly one-hot


def draw_gumbel(like: Tensor) -> Tensor:
    """Noise ``-log(-log u)`` of the shape of ``like``, finite."""
    return -torch.empty_like(like).exponential_().clamp_min(torch.finfo(like.dtype).tiny).log()


def multi_label_loss(image: Tensor, nouns: Tensor, scale: Tensor | float, pool: Tensor | None = None) -> Tensor:
    """The release's contrast of images with the prompts of their own nouns, negatives all nouns of the batch.

    Targets are ``1/K`` for each of an image's K nouns, and one-hot from a noun to its image; the mean of both cross
    entropies.

    Args:
        image: ``(b d)`` global features.
        nouns: ``(b K d)`` features of each image's prompts.
        scale: factor of the cosines.
        pool: ``(b G d)`` group tokens; with them the cosine of an image is the logsumexp of its groups' (ours).
    """
    b, k, _ = nouns.shape
    words = nn.functional.normalize(nouns, dim=-1).flatten(0, 1)  # (b K, d)
    if pool is None:
        logits = scale * nn.functional.normalize(image, dim=-1) @ words.mT  # (b, b K)
    else:
        logits = (scale * nn.functional.normalize(pool, dim=-1) @ words.mT).logsumexp(-2)
    owner = torch.arange(b, device=image.device).repeat_interleave(k)
    targets = nn.functional.one_hot(owner, b).mT.to(logits.dtype) / k
    by_image = nn.functional.cross_entropy(logits, targets)
    by_noun = nn.functional.cross_entropy(logits.mT, owner)
    return (by_image + by_noun) / 2


class MLP(nn.Module):
    """``W_2 GELU(W_1 x)`` over the last axis."""

    def __init__(self, inside: int, hidden: int, outside: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inside, hidden)
        self.fc2 = nn.Linear(hidden, outside)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.fc2(nn.functional.gelu(self.fc1(x)))
        return found


class CrossAttention(nn.Module):
    """Attention of tokens ``(... g d)`` to others ``(... p d)``, then a feed-forward part; a norm closes."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attn = nn.ModuleDict(
            {name: nn.Linear(channels, channels) for name in ("q_proj", "k_proj", "v_proj", "proj")}
        )
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MLP(channels, 4 * channels, channels)
        self.norm_post = nn.LayerNorm(channels)

    def forward(self, tokens: Tensor, others: Tensor, mask: Tensor | None = None) -> Tensor:
        """``mask (... p)`` is true on real tokens."""
        q, k, v = (
            self.attn[name](x).unflatten(-1, (self.heads, -1)).transpose(-3, -2)
            for name, x in (("q_proj", tokens), ("k_proj", others), ("v_proj", others))
        )
        seen = None if mask is None else mask[..., None, None, :]
        heads = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        x = tokens + self.attn["proj"](heads.transpose(-3, -2).flatten(-2))
        out: Tensor = self.norm_post(x + self.mlp(self.norm2(x)))
        return out


class GroupAssignment(nn.Module):
    """Hands tokens ``(... p d)`` to groups ``(... G d)`` and gives what each group receives."""

    def __init__(self, channels: int, assign: Assign, score: Literal["dot", "cosine"]) -> None:
        super().__init__()
        if assign not in ("soft", "hard", "gumbel"):
            raise ValueError(f"TokenGrouping: assign is soft, hard or gumbel, found {assign!r}.")
        if score not in ("dot", "cosine"):
            raise ValueError(f"TokenGrouping: score is dot or cosine, found {score!r}.")
        self.assign: Assign = assign
        self.score = score
        self.scale = nn.Parameter(torch.tensor(5.0)) if score == "cosine" else None
        self.q_proj = nn.Linear(channels, channels)
        self.k_proj = nn.Linear(channels, channels)
        self.v_proj = nn.Linear(channels, channels)
        self.proj = nn.Linear(channels, channels)

    def forward(
        self, groups: Tensor, tokens: Tensor, noise: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What the groups receive ``(... G d)``, and the shares ``(... G p)``.

        Args:
            groups: ``(... G d)``.
            tokens: ``(... p d)``.
            noise: ``(... G p)``, instead of drawn noise.
            mask: ``(... p)`` bool, true on real tokens.
        """
        q, k = self.q_proj(groups), self.k_proj(tokens)
        if self.scale is None:
            scores = q @ k.mT / q.shape[-1] ** 0.5
        else:
            scores = self.scale * nn.functional.normalize(q, dim=-1) @ nn.functional.normalize(k, dim=-1).mT
        if noise is None and self.assign == "gumbel" and self.training:
            noise = draw_gumbel(scores)
        shares = assign_groups(scores, self.assign, noise)
        if mask is not None:
            shares = shares * mask[..., None, :]
        received = shares @ self.v_proj(tokens) / (shares.sum(-1, keepdim=True) + 1)
        out: Tensor = self.proj(received)
        return out, shares


class GroupingBlock(nn.Module):
    """``G_in`` learned tokens and ``p`` patches to ``G`` groups; names of weights as in the released code."""

    def __init__(
        self, channels: int, tokens: int, groups: int, heads: int, assign: Assign, score: Literal["dot", "cosine"]
    ) -> None:
        super().__init__()
        self.norm_tokens = nn.LayerNorm(channels)
        self.mlp_inter = MLP(tokens, channels // 2, groups)
        self.norm_post_tokens = nn.LayerNorm(channels)
        self.norm_x = nn.LayerNorm(channels)
        self.pre_assign_attn = CrossAttention(channels, heads)
        self.assign = GroupAssignment(channels, assign, score)
        self.norm_new_x = nn.LayerNorm(channels)
        self.mlp_channels = MLP(channels, 4 * channels, channels)

    def forward(
        self, x: Tensor, group_tokens: Tensor, noise: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """``x (... p d)`` and ``group_tokens (... G_in d)`` to groups ``(... G d)`` and shares ``(... G p)``."""
        groups = self.norm_post_tokens(self.mlp_inter(self.norm_tokens(group_tokens).mT).mT)
        x = self.norm_x(x)
        groups = self.pre_assign_attn(groups, x, mask)
        received, shares = self.assign(groups, x, noise, mask)
        new = groups + received
        return new + self.mlp_channels(self.norm_new_x(new)), shares


class TokenGrouping(Fusion):
    """Patches of a frame, or of a clip, to ``G`` groups that stand for its things.

    Args:
        channels: ``d`` of the patches.
        groups: ``G``.
        assign: see :func:`assign_groups`.
        scope: "frame", each frame has its own groups, ``t·G`` tokens to align; "clip", groups gather from all frames,
            ``G`` tokens.
        tokens: learned tokens before the block, more than the groups.
        heads: of the attention before the assignment.
        depth: blocks of a Transformer over patches and learned tokens together, before the assignment.
        score: "dot" as published; "cosine" with a learned factor that starts at 5: the plain product with Gumbel noise
            did not learn in a trial.

    Examples:
        >>> groups, shares = TokenGrouping(channels=24, groups=4, heads=2)(torch.rand(2, 8, 9, 24))
        >>> groups.shape, shares.shape  # (b t G d), (b t G p)
        (torch.Size([2, 8, 4, 24]), torch.Size([2, 8, 4, 9]))
    """

    needs = ("frames", "patches")
    keeps_frames = False

    def __init__(
        self,
        channels: int,
        groups: int = 8,
        assign: Assign = "soft",
        scope: Literal["frame", "clip"] = "frame",
        tokens: int = 64,
        heads: int = 8,
        depth: int = 1,
        score: Literal["dot", "cosine"] = "dot",
    ) -> None:
        super().__init__()
        if not 1 <= groups <= tokens:
            raise ValueError(f"TokenGrouping: groups={groups} must lie in 1..tokens={tokens}.")
        if channels % heads:
            raise ValueError(f"TokenGrouping: heads={heads} must divide the {channels} channels of the patches.")
        if scope not in ("frame", "clip"):
            raise ValueError(f"TokenGrouping: scope is frame or clip, found {scope!r}.")
        self.scope = scope
        self.group_tokens = nn.Parameter(torch.randn(tokens, channels) * 0.02)
        self.mixing = nn.ModuleList(
            nn.TransformerEncoderLayer(channels, heads, 4 * channels, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(depth)
        )
        self.block = GroupingBlock(channels, tokens, groups, heads, assign, score)

    def forward(self, patches: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Groups and what they gathered.

        Args:
            patches: ``(... t p d)``.
            mask: ``(... t p)`` bool, true on real patches.

        Returns:
            ``(... t G d)`` and shares ``(... t G p)``; with scope "clip" ``(... 1 G d)`` and ``(... 1 G t·p)``.
        """
        if patches.dim() < 3 or patches.shape[-1] != self.group_tokens.shape[-1]:
            raise ValueError(
                f"TokenGrouping was made for patches (... t p {self.group_tokens.shape[-1]}), found "
                f"{tuple(patches.shape)}: set channels to the width of the encoder's patches."
            )
        if self.scope == "clip":
            patches = patches.flatten(-3, -2).unsqueeze(-3)
            mask = None if mask is None else mask.flatten(-2).unsqueeze(-2)
        patches, tokens = self.mix(patches, self.group_tokens.expand(*patches.shape[:-2], -1, -1), mask)
        out: tuple[Tensor, Tensor] = self.block(patches, tokens, None, mask)
        return out

    def fuse(self, features: Features) -> Levels:
        """Groups in place of frames: ``(... t·G d)``, frame by frame."""
        return {"frames": self(features["patches"])[0].flatten(-3, -2)}

    def mix(self, patches: Tensor, tokens: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Patches ``(... p d)`` and learned tokens ``(... G_in d)`` after the Transformer over both."""
        count, lead = patches.shape[-2], patches.shape[:-2]
        x = torch.cat([patches, tokens], -2).flatten(0, -3)
        padding = None
        if mask is not None:
            padding = torch.cat([~mask, torch.zeros_like(tokens[..., 0], dtype=torch.bool)], -1).flatten(0, -2)
        for block in self.mixing:
            x = block(x, src_key_padding_mask=padding)
        x = x.unflatten(0, lead)
        return x[..., :count, :], x[..., count:, :]
