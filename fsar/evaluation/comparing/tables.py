"""Tables of accuracies by episode: intervals, paired differences, accuracy by number of shots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fsar.evaluation.accuracy import half_interval
from fsar.methods.clip_family.linear_probe import shots_to_match

Right = NDArray[np.float64]
"""``(e)`` share of the queries that are named right in each episode."""


def half_width(values: Right) -> float:
    """Of the 95 % interval of the mean over episodes."""
    return half_interval(float(values.std(ddof=1)), len(values))


def table(results: dict[str, Right]) -> str:
    """Accuracy of every method with its interval, and its paired difference from every other (row minus column)."""
    width = max(map(len, results)) + 1
    head = " " * (width + 3) + f"{'accuracy':<17}" + "".join(f"{f'- {i + 1}':>8}" for i in range(len(results)))
    lines = [head]
    for number, (name, own) in enumerate(results.items(), 1):
        line = f"{number:>2} {name:<{width}}{100 * own.mean():5.2f} ± {100 * half_width(own):4.2f}     "
        for other in results.values():
            difference = own - other
            star = "*" if abs(difference.mean()) > half_width(difference) else " "
            line += "      · " if other is own else f"{100 * difference.mean():+7.1f}{star}"
        if half_width(own) == 0 < own.mean() < 1:
            line += "  the same in each episode"
        lines.append(line)
    return "\n".join(lines)


def curve(by_shots: dict[int, dict[str, Right]]) -> str:
    """Accuracy by shots, and the shots at which a method without text matches zero-shot."""
    shots = list(by_shots)
    first = by_shots[shots[0]]
    width = max(map(len, first)) + 2
    head = " " * width + "".join(f"{f'{k}-shot':>9}" for k in shots)
    lines = [head + ("   matches zero-shot at" if "zero-shot" in first else "")]
    for name in first:
        accuracy = {k: float(by_shots[k][name].mean()) for k in shots}
        line = f"{name:<{width}}" + "".join(f"{100 * accuracy[k]:9.2f}" for k in shots)
        if "zero-shot" in first and name != "zero-shot":
            line += f"   {shots_to_match(float(first['zero-shot'].mean()), accuracy):.1f} shots"
        lines.append(line)
    return "\n".join(lines)
