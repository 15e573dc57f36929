"""The inter-view adapter against outputs of the released one, and its own form."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fsar.fusion.inter_view import InterView

Reference = Callable[..., dict[str, Tensor]]


@pytest.mark.parametrize("kind", ["eval", "train_nodrop"])
def test_as_released_with_gradients(reference: Reference, kind: str) -> None:
    arrays = reference(f"pointclip_inter_view_{kind}")
    part = InterView(12, views=4, published=True).train(kind != "eval")
    part.load_state_dict({key[2:]: x for key, x in arrays.items() if key.startswith("w.")})
    for module in part.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    views = arrays["views"].clone().requires_grad_()
    out = part(views).flatten(1)
    (out * arrays["upstream"]).sum().backward()
    for found, key in ((out, "out"), (views.grad, "grad_views"), (part.fusion_ratio.grad, "grad_fusion_ratio")):
        torch.testing.assert_close(found, arrays[key], atol=1e-5, rtol=1e-5)


def test_our_form_knows_no_neighbours() -> None:
    part, views = InterView(12, views=4).train(), torch.randn(2, 3, 4, 12)
    torch.testing.assert_close(part(views)[1, 2], part(views[1, 2]))
    assert torch.equal(InterView(12, views=4, ratio=0.0)(views), views)
    plain = InterView(12, views=4, residual="plain")
    assert bool((plain(views) >= views).all())  # what is added went through a relu


def test_two_views_decide_together() -> None:
    """Whether two views differ cannot be read off either; the adapter learns it."""
    torch.manual_seed(3)
    bits = torch.randint(2, (256, 2))
    views = nn.functional.one_hot(bits, 2).float() + 0.05 * torch.randn(256, 2, 2)
    labels = bits[:, 0] ^ bits[:, 1]

    def train(adapter: nn.Module, head: nn.Module, steps: int = 200) -> float:
        optimizer = torch.optim.Adam([*adapter.parameters(), *head.parameters()], lr=0.02)
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(head(adapter(views).mean(1)), labels).backward()
            optimizer.step()
        return float((head(adapter(views).mean(1)).argmax(-1) == labels).float().mean())

    assert train(InterView(2, views=2, hidden=16, residual="plain"), nn.Linear(2, 2)) > 0.95


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"views": 1}, "views=1, but there must be two"),
        ({"views": 4, "ratio": 1.5}, r"ratio must lie in 0\.\.1"),
        ({"views": 4, "residual": "some"}, "residual is ratio or plain"),
    ],
)
def test_wrong_options(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        InterView(12, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="made for views=4 of 12 channels"):
        InterView(12, views=4)(torch.rand(2, 3, 12))
