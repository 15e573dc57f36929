"""The mean over a class's shots (Snell et al. 2017, https://arxiv.org/abs/1703.05175, eq. 1), frame by frame."""

from __future__ import annotations

import torch
from torch import Tensor


def shot_mean(support: Tensor, labels: Tensor, ways: int) -> Tensor:
    """Mean of the support clips of each class, in ascending label order.

    Args:
        support: ``(... s *)``, any trailing axes.
        labels: ``(... s)`` int64 in ``0..ways-1``; classes may have different numbers of clips.
        ways: ``n``.

    Returns:
        ``(... n *)``.

    Examples:
        >>> support, labels = torch.tensor([[1.0], [3.0], [8.0]]), torch.tensor([0, 0, 1])
        >>> shot_mean(support, labels, ways=2)
        tensor([[2.],
                [8.]])
    """
    shots, rest = divmod(labels.shape[-1], ways)
    if not rest and bool((labels == torch.arange(ways, device=labels.device).repeat_interleave(shots)).all()):
        return support.unflatten(labels.dim() - 1, (ways, shots)).mean(labels.dim()) if shots > 1 else support
    if labels.shape[-1] == ways:  # one shot: the mean is the clip itself, put at its label's place
        return take_clips(support, labels.argsort(-1))
    member = torch.nn.functional.one_hot(labels, ways).to(support.dtype).mT  # (... n s)
    flat = support.flatten(labels.dim())  # (... s x)
    mean = (member @ flat) / member.sum(-1, keepdim=True)
    return mean.unflatten(-1, support.shape[labels.dim() :]) if support.dim() > labels.dim() + 1 else mean


def shot_groups(support: Tensor, labels: Tensor, ways: int) -> Tensor:
    """The shots of each class side by side: ``(... s *) -> (... n k *)``, for metrics that merge shots themselves.

    Raises:
        ValueError: when the classes have different numbers of shots.

    Examples:
        >>> support, labels = torch.tensor([[1.0], [2.0], [3.0], [4.0]]), torch.tensor([0, 1, 0, 1])
        >>> shot_groups(support, labels, ways=2).squeeze(-1)  # (n k)
        tensor([[1., 3.],
                [2., 4.]])
    """
    shots, rest = divmod(labels.shape[-1], ways)
    order = labels.argsort(dim=-1, stable=True)
    expected = torch.arange(ways, device=labels.device).repeat_interleave(max(shots, 1))
    if rest or not bool((labels.gather(-1, order) == expected).all()):
        raise ValueError(
            f"this metric compares all shots of a class at once and needs as many for each: {labels.shape[-1]} support "
            f"clips do not divide evenly over {ways} classes. Give every class the same number of clips."
        )
    sorted_already = bool((labels == expected).all())
    return (support if sorted_already else take_clips(support, order)).unflatten(labels.dim() - 1, (ways, shots))


def take_clips(clips: Tensor, index: Tensor) -> Tensor:
    """``(... v *)`` and ``(... s)`` -> ``(... s *)``: the clips that ``index`` names along the clip axis.

    Examples:
        >>> take_clips(torch.tensor([[10.0], [11.0], [12.0]]), torch.tensor([2, 0]))
        tensor([[12.],
                [10.]])
    """
    trailing = clips.dim() - index.dim()
    index = index[(...,) + (None,) * trailing].expand(*index.shape, *clips.shape[index.dim() :])
    return clips.gather(index.dim() - 1 - trailing, index)
