"""Few-shot video action recognition: encoders, methods, temporal alignment, training and evaluation.

``fsar.load(run)`` reads a run folder and answers questions about clips. Importing this package is cheap: torch comes
with the first name that needs it.

>>> import fsar
>>> from PIL import Image
>>> for clip, grey in {"dark": 20, "bright": 230, "query": 220}.items():  # a folder of numbered frames is a clip
...     Path(clip).mkdir()
...     for t in range(8):
...         Image.new("RGB", (64, 64), (grey, grey, grey)).save(f"{clip}/{t}.png")
>>> model = fsar.bare("fsar-tiny", "shapes", device="cpu")  # an encoder alone; a run of yours is fsar.load("runs/mine")
>>> [answer] = model.predict({"night": ["dark"], "day": ["bright"]}, ["query"])
>>> isinstance(model, fsar.Predictor), answer.ranking[0][0]
(True, 'day')
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsar.inference.predictor import Predictor, bare, load

__version__ = "0.2.0"
__all__ = ["Predictor", "bare", "load"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from fsar.inference import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module 'fsar' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__})
