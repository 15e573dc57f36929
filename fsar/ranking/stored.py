"""What stands in an encoder's place where features are stored: it says what they are, and encodes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from fsar.encoders import FrameEncoder


class StoredEncoder(FrameEncoder):
    """The shapes of stored features, for heads that are trained on them.

    Args:
        channels: of ``frames``.
        grid: rows and columns of ``patches``; without it there are none.
        image_size: of the frames that were encoded.
        patch_channels: of ``patches``; 0 for those of ``frames``.

    >>> StoredEncoder(4, (7, 7)).widths
    {'frames': 4, 'patches': 4}
    """

    def __init__(
        self, channels: int, grid: tuple[int, int] | None = None, image_size: int = 224, patch_channels: int = 0
    ) -> None:
        super().__init__(nn.Identity(), channels, image_size, (0.0,) * 3, (1.0,) * 3, identity="stored features")
        self.sides, self.patch_channels = grid, patch_channels or channels

    @property
    def gives(self) -> tuple[str, ...]:
        return ("frames",) if self.sides is None else ("frames", "patches")

    @property
    def grid(self) -> tuple[int, int]:
        return self.sides or (1, 1)

    @property
    def widths(self) -> dict[str, int]:
        return {name: self.channels if name == "frames" else self.patch_channels for name in self.gives}

    def check_needs(self, needs: Sequence[str], reader: str) -> None:
        if lacking := [name for name in needs if name not in self.gives]:
            raise ValueError(f"{reader} reads {' and '.join(lacking)}, which the encoder does not give.")
