"""What an accuracy is over: these episodes, or other clips and classes too; and whether it can be told from chance."""

from __future__ import annotations

from typing import Any

import numpy as np

from fsar.evaluation.comparing.significance import bootstrap_clips


def measure_reach(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Facts for a result.

    Args:
        arrays: of :meth:`fsar.evaluation.results.Predictions.arrays`.

    Returns:
        ``chance``; ``interval_over_classes``, where 95 % of the accuracies lie when classes, and clips inside them, are
        drawn anew (not for one class, nor for queries without numbers of videos); and ``same_guess``, whether all
        queries of every episode were named alike, which no method that looks at them does.
    """
    guess = arrays["scores"].argmax(-1)
    right = (guess == arrays["truth"]).astype(float)
    facts: dict[str, Any] = {"chance": 1 / arrays["scores"].shape[-1]}
    if guess.shape[-1] > 1:
        facts["same_guess"] = bool((guess == guess[:, :1]).all())
    truth = np.take_along_axis(arrays["classes"], arrays["truth"], -1)
    if "video" in arrays and (arrays["video"] >= 0).all() and len(np.unique(truth)) > 1:
        wide = bootstrap_clips(right.ravel(), truth.ravel(), arrays["video"].ravel())
        facts["interval_over_classes"] = [wide.low, wide.high]
        facts["classes_seen"] = wide.units
    return facts


def describe_reach(result: dict[str, Any]) -> str:
    """A line to stand under the accuracy.

    Examples:
        >>> describe_reach({"chance": 0.5, "interval_over_classes": [0.31, 0.62], "classes_seen": 2})
        '± is over episodes; other clips and classes: 31.0 to 62.0 % (2 classes), chance (50 %) is not ruled out'
        >>> describe_reach({"chance": 0.5, "interval_over_classes": [1.0, 1.0], "classes_seen": 2})
        '± is over episodes; other clips and classes: not to be told from 2 classes whose queries all fared alike'
        >>> describe_reach({"chance": 0.2, "same_guess": True})
        '± is over episodes; all queries of an episode got the same name: nothing was recognised (chance 20 %)'
    """
    chance, said = f"{100 * result['chance']:.3g} %", "± is over episodes"
    if "interval_over_classes" in result:
        low, high = result["interval_over_classes"]
        said += "; other clips and classes: "
        if low == high:  # all right, or all wrong
            return f"{said}not to be told from {result['classes_seen']} classes whose queries all fared alike"
        said += f"{100 * low:.1f} to {100 * high:.1f} % ({result['classes_seen']} classes)"
        if low <= result["chance"] <= high and not result.get("same_guess"):
            said += f", chance ({chance}) is not ruled out"
    if result.get("same_guess"):
        said += f"; all queries of an episode got the same name: nothing was recognised (chance {chance})"
    return said
