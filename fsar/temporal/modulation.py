"""A token in front of a clip, mixed into its frames: how CLIP-CPM²C, CLIP-MEI and CLIP-SPM show a clip its text.

Guo et al. 2023, https://arxiv.org/abs/2312.01083; Deng et al. 2025, https://doi.org/10.1016/j.knosys.2025.113965;
CLIP-SPM's gates from its released code, https://github.com/hnlxy/CLIP-SPM. For frames x, a token τ and one block B of
attention (:class:`fsar.temporal.TemporalTransformer`)::

    y = x + 0.1 τ                              plain
    y = α τ g_t(τ) + x g_v(x)                  gated, g = σ(W₂ LeakyReLU(W₁ ·)); the token in front stays as it is
    [τ'; x'] = B([τ; y])
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fsar.temporal.transformer import TemporalTransformer

PLAIN_SHARE = 0.1


class Gates(nn.Module):
    """``α τ g_t(τ) + x g_v(x)``.

    Args:
        channels: ``d``.
        vision_ratio: hidden channels of the frames' gate, a share of ``d``.
        text_ratio: of the token's gate.
        slope: of the LeakyReLU.
        share: α.

    >>> Gates(channels=8)(torch.zeros(2, 4, 8), torch.zeros(2, 1, 8)).shape
    torch.Size([2, 4, 8])
    """

    def __init__(
        self,
        channels: int,
        vision_ratio: float = 0.5,
        text_ratio: float = 1.5,
        slope: float = 0.0025,
        share: float = 0.2,
    ) -> None:
        super().__init__()
        self.text, self.vision = (
            nn.Sequential(
                nn.Linear(channels, int(channels * ratio)),
                nn.LeakyReLU(slope),
                nn.Linear(int(channels * ratio), channels),
                nn.Sigmoid(),
            )
            for ratio in (text_ratio, vision_ratio)
        )
        self.share = share

    def forward(self, frames: Tensor, token: Tensor) -> Tensor:
        """Frames ``(... t d)`` and a token ``(... 1 d)`` to ``(... t d)``."""
        mixed: Tensor = self.share * token * self.text(token) + frames * self.vision(frames)
        return mixed


class Modulation(nn.Module):
    """A token put in front of a clip and mixed into it; both come back changed.

    Args:
        channels: ``d``.
        heads: of the attention.
        head_width: channels of a head; ``d / heads`` when not given.
        hidden: width of the feed-forward part.
        gates: how token and frames are mixed; ``x + 0.1 τ`` without.

    Examples:
        >>> token, frames = Modulation(16)(torch.rand(3, 8, 16), torch.rand(3, 16))
        >>> token.shape, frames.shape
        (torch.Size([3, 16]), torch.Size([3, 8, 16]))
    """

    def __init__(
        self,
        channels: int,
        heads: int = 8,
        head_width: int | None = None,
        hidden: int = 2048,
        gates: Gates | None = None,
    ) -> None:
        super().__init__()
        self.block = TemporalTransformer(channels, heads=heads, hidden=hidden, head_width=head_width)
        self.gates = gates

    def forward(self, frames: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        """Frames ``(... t d)`` and tokens ``(... d)``, with axes that broadcast, to a token ``(... d)`` and frames."""
        front = token.to(frames.dtype).unsqueeze(-2).expand(*frames.shape[:-2], 1, -1)
        mixed = frames + PLAIN_SHARE * front if self.gates is None else self.gates(frames, front)
        changed = self.block(torch.cat([front, mixed], dim=-2))
        return changed[..., 0, :], changed[..., 1:, :]


def squared_distance(first: Tensor, second: Tensor, axes: int) -> Tensor:
    """Squared differences of clips ``(... v *)``, summed over all that is behind the clips' axis, mean over all else.

    Args:
        first: of clips.
        second: of the same clips.
        axes: leading axes, the last of which counts the clips.
    """
    return (first - second).square().flatten(axes).sum(-1).mean()


MODULATION_NAMES: dict[str, str | None] = {
    r"(?:module\.)?context2\.layers\.(\d+)\.0\.norm\.": r"modulation.block.blocks.\1.norm.",
    r"(?:module\.)?context2\.layers\.(\d+)\.0\.fn\.": r"modulation.block.blocks.\1.",
    r"(?:module\.)?context2\.layers\.(\d+)\.1\.net\.0\.": r"modulation.block.blocks.\1.feed_forward.1.",
    r"(?:module\.)?context2\.layers\.(\d+)\.1\.net\.3\.": r"modulation.block.blocks.\1.feed_forward.4.",
    r"(?:module\.)?gate_text\.": "modulation.gates.text.",
    r"(?:module\.)?gate_vision\.": "modulation.gates.vision.",
}
"""Released names and ours, for :func:`fsar.functional.rename_released`."""
