"""An accuracy with the interval that every published number should carry; arithmetic alone, no torch is imported."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

from episodes.words import pluralise

Z_95 = 1.96
"""Standard deviations on either side of a normal mean that hold 95 % of the cases."""


def half_interval(deviation: float, count: int) -> float:
    """Half the width of the 95 % interval of a mean over ``count`` episodes; ``deviation`` is that of one of them.

    >>> half_interval(0.2, 400)
    0.0196
    """
    return float(Z_95 * deviation / count**0.5)


def plus_minus(value: float, interval: float) -> str:
    """Both in percent; one episode alone has no interval.

    >>> plus_minus(0.8635, 0.0031), plus_minus(0.8, float("nan"))
    ('86.35 ± 0.31', '80.00 ± ?')
    """
    return f"{100 * value:.2f} ± {show_half(interval)}"


def show_half(interval: float) -> str:
    """Half an interval in percent, "?" where there is none."""
    return f"{100 * interval:.2f}" if math.isfinite(interval) else "?"


def to_json(record: Any) -> str:
    """A record as JSON, which knows no NaN: it is null there."""
    return json.dumps(_finite(record), indent=2, default=str)


def from_json(text: str) -> Any:
    """What :func:`to_json` wrote, with NaN for intervals that are null: of one episode there is none.

    >>> from_json(to_json({"accuracy": 0.8, "interval_95": float("nan")}))
    {'accuracy': 0.8, 'interval_95': nan}
    """
    return json.loads(text, object_hook=_with_nan)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_nan(record: dict[str, Any]) -> dict[str, Any]:
    return {k: math.nan if x is None and k.endswith("interval_95") else x for k, x in record.items()}


class Accuracy(NamedTuple):
    """Mean accuracy, half the width of its 95 % interval (both in 0..1) and the number of episodes behind them.

    >>> print(Accuracy(0.8635, 0.0031, 10_000))
    86.35 ± 0.31 % (10,000 episodes)

    A guess that is the same for all clips is right for one class of every episode:

    >>> print(Accuracy(0.5, 0.0, 200))
    50.00 ± 0.00 % (200 episodes, the same in each)
    """

    mean: float
    interval: float
    episodes: int

    def __str__(self) -> str:
        alike = ", the same in each" if self.interval == 0 < self.mean < 1 and self.episodes > 1 else ""
        return f"{plus_minus(self.mean, self.interval)} % ({pluralise(self.episodes, 'episode')}{alike})"
