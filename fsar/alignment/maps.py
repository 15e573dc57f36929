"""How frames were matched: the costs of all pairs, and the path, as a person or JSON can be shown them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fsar.alignment.base import Alignment, CostAlignment


@dataclass(frozen=True, eq=False)
class AlignmentMap:
    """How the frames of a clip were matched with those of a class.

    Args:
        metric: name of the metric.
        cost: ``(t u)`` costs of all pairs of frames: rows of the query, columns of the class's prototype (the mean of
            its clips, frame by frame).
        path: ``(t u)`` how much each pair is matched: the path, soft if the metric is.
    """

    metric: str
    cost: Tensor
    path: Tensor

    def record(self) -> dict[str, Any]:
        """What JSON can hold, numbers to four digits."""
        rounded = {name: getattr(self, name).double().numpy().round(4).tolist() for name in ("cost", "path")}
        return {"metric": self.metric, **rounded}


def alignment_maps(metric: Alignment, query: Tensor, prototypes: Tensor) -> list[list[AlignmentMap]]:
    """The maps of all queries ``(q t d)`` with all classes ``(n u d)``, ``[query][class]``; no class for a metric that
    matches no frames one to one."""
    if not isinstance(metric, CostAlignment):
        return [[] for _ in query]
    costs, paths = metric.cost(query, prototypes).detach().float().cpu(), metric.path(query, prototypes).float().cpu()
    name = type(metric).__name__
    return [[AlignmentMap(name, *pair) for pair in zip(*rows, strict=True)] for rows in zip(costs, paths, strict=True)]
