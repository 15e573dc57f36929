"""What stands in for a model whose features were computed elsewhere: it says what there is, and encodes nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from torch import Tensor, nn

from episodes.clips import Features, Streams
from episodes.imported import read_import
from fsar.encoders.frame import FrameEncoder


class Imported(FrameEncoder):
    """The model behind a folder of ``fsar import-features``: names, steps and widths of what it gave.

    It has no weights and no text tower. Methods that read stored features and no class names run on it, with
    ``data.features`` naming the same folder; nothing can be encoded that was not imported.

    Args:
        store: the folder.

    Raises:
        FileNotFoundError: when it holds no imported features.

    >>> from pathlib import Path
    >>> from numpy import float32, ones
    >>> from episodes.features.imported import write_import
    >>> about = write_import(Path("store"), "a model", "visual", ["a.mp4"], {"visual": ones((1, 3, 6), float32)})
    >>> encoder = Imported("store")
    >>> encoder.channels, encoder.steps(8), encoder.gives
    (6, 3, ('frames', 'visual'))
    """

    def __init__(self, store: str | os.PathLike[str]) -> None:
        about = read_import(Path(store))
        super().__init__(
            visual=nn.Identity(),
            channels=about.shapes[about.frames][1],
            image_size=32,
            mean=[0.0] * 3,
            std=[1.0] * 3,
            identity=f"{about.identity}, {about.sha256[:12]}",
        )
        self.store, self.about = os.fspath(store), about

    @property
    def gives(self) -> tuple[str, ...]:
        """``frames``, and every name of the import."""
        return tuple(dict.fromkeys(("frames", *self.about.shapes)))

    @property
    def widths(self) -> dict[str, int]:
        """Channels by name."""
        return {"frames": self.channels, **{name: d for name, (_, d) in self.about.shapes.items()}}

    def steps(self, frames: int) -> int:
        """As many as were imported, whatever ``data.frames`` says."""
        return self.about.shapes[self.about.frames][0]

    def spans(self, frames: int) -> list[tuple[int, int]]:
        """Not known of features from elsewhere: the shares of a clip, as if each step had seen its own."""
        count = self.steps(frames)
        return [(i * frames // count, max((i + 1) * frames // count - 1, i * frames // count)) for i in range(count)]

    def features(self, clips: Streams, needs: Sequence[str] = ("frames",), text: Tensor | None = None) -> Features:
        """Refuses pixels."""
        self._refuse()

    def fingerprint(self, trained: bool = False) -> str:
        """SHA-256 of what was imported."""
        return self.about.sha256

    def _refuse(self) -> NoReturn:
        raise ValueError(
            f"features of {self.store} were made elsewhere ({self.about.made_by}): no clip can be encoded here. Give "
            f"--data.features {self.store}, and name clips as its videos.csv does."
        )
