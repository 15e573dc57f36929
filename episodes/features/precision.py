"""Tensors to numpy and back, bfloat16 included, which numpy does not have: there its bits stand in uint16."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Precision = Literal["float32", "float16", "bfloat16"]


def rounded(x: Tensor, precision: Precision) -> Tensor:
    """The same values in the precision, on the CPU; what is too large for it becomes infinite."""
    return x.detach().to("cpu", getattr(torch, precision))


def to_numpy(x: Tensor) -> NDArray[np.generic]:
    """A tensor of one of the precisions as an array of the same bits."""
    return (x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy()


def from_numpy(values: NDArray[np.generic], precision: Precision) -> Tensor:
    """What :func:`to_numpy` gave, as a tensor again; without a copy."""
    x = torch.from_numpy(values)
    return x.view(torch.bfloat16) if precision == "bfloat16" else x
