"""What an alignment is: two sets of clips in, one similarity per (query, support) pair out."""

from __future__ import annotations

from torch import Tensor, nn


class Alignment(nn.Module):
    """Compares query clips with class prototypes (or single support clips).

    Subclass it and write :meth:`forward` to plug in a metric of your own; name the class by ``class_path`` in YAML or
    hand the object over in Python.
    """

    def forward(
        self,
        query: Tensor,
        support: Tensor,
        query_mask: Tensor | None = None,
        support_mask: Tensor | None = None,
    ) -> Tensor:
        """Similarity of every query with every support clip; higher is more alike.

        Args:
            query: ``(... q t d)`` frame features.
            support: ``(... n u d)`` frame features; leading axes broadcast against the query's.
            query_mask: ``(... q t)`` bool, true on real frames; padding stands at the end.
            support_mask: ``(... n u)`` bool.

        Returns:
            ``(... q n)``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward(query, support, ...).")
