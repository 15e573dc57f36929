"""The form of the frames that an encoder and its data agree on; the encoder says it, the data follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Resize = Literal["short_side", "squash"]
Interpolation = Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class Framing:
    """How an encoder wants its frames: what they are resized to, and the square in their middle that it sees.

    Args:
        size: side of that square, pixels.
        resize_to: length of the short side, or of both sides, before it is cut out.
        resize: see :class:`episodes.transforms.ClipTransform`.
        interpolation: likewise.
        encoder: who asks, for messages; nothing when nobody has asked yet.
    """

    size: int = 224
    resize_to: int = 256
    resize: Resize = "short_side"
    interpolation: Interpolation = "bilinear"
    encoder: str = ""

    @classmethod
    def usual(cls, size: int, encoder: str = "") -> Framing:
        """Bilinear, short side to 8/7 of ``size``: the 256 to 224 of published few-shot code, at any size."""
        return cls(size, round(size * 8 / 7), encoder=encoder)

    def check(self, option: str, size: int | Sequence[int] | None) -> None:
        """Compare what an option makes of the frames with what the encoder takes.

        Raises:
            ValueError: when they differ.
        """
        height, width = (size, size) if isinstance(size, int) else size or (self.size, self.size)
        if self.encoder and (height, width) != (self.size, self.size):
            raise ValueError(
                f"{option} gives frames of {height} x {width} pixels, but the encoder {self.encoder} takes {self.size} "
                f"x {self.size}. Set {option} to {self.size}, or leave it out: the data then follow the encoder."
            )
