"""Numbers that no alignment can work with are an error that names the clip, not a wrong answer.

A length that overflows makes a cosine 0 without a trace, and a cost without end makes every class as likely. What is
looked at is one number for each frame and for each pair of clips, which costs next to nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

LONGEST = 1e12
"""Length of the longest frame feature: squares of its square are finite in float32."""


def check_lengths(query: Tensor, support: Tensor) -> None:
    """Look at the lengths of all frame features, ``(... q t)`` and ``(... n u)``; not while tracing.

    Raises:
        FloatingPointError: for one that is NaN or beyond :data:`LONGEST`.
    """
    if torch.compiler.is_compiling() or bool((query <= LONGEST).all() & (support <= LONGEST).all()):
        return
    for role, lengths in (("query", query), ("support", support)):
        wrong = ~(lengths <= LONGEST)
        if wrong.any():
            *clip, frame = wrong.nonzero()[0].tolist()
            raise FloatingPointError(
                f"Frame {frame} of {role} clip {', '.join(map(str, clip))} (counted from 0) has features of length "
                f"{lengths[wrong][0].item():.3g}; alignments take up to {LONGEST:g}. The encoder overflows on that "
                "clip, or its weights do not fit: look at both, or leave the clip out."
            )


def check_clip_lengths(query: Tensor, support: Tensor) -> None:
    """:func:`check_lengths` of features ``(... q t d)`` and ``(... n u d)``."""
    check_lengths(*(torch.linalg.vector_norm(x.detach(), dim=-1) for x in (query, support)))


def require_finite(value: Tensor, cost: Tensor) -> Tensor:
    """The costs of whole clips ``(...)``, once all are finite; not while tracing.

    Args:
        value: ``(...)``, in an episode ``(... q n)``.
        cost: ``(... t u)``, the frame costs that they were made of.

    Raises:
        FloatingPointError: for one that is NaN or infinite.
    """
    if not torch.compiler.is_compiling() and not bool(value.isfinite().all()):
        pair = tuple((~value.isfinite()).nonzero()[0].tolist())
        low, high = (x.item() for x in cost[pair].detach().aminmax())
        raise FloatingPointError(
            f"Matching clips {', '.join(map(str, pair)) or '0'} (..., query, support, counted from 0) costs "
            f"{value[pair].item():g}: their frame costs go from {low:g} to {high:g}. Write a cost that is finite."
        )
    return value
