"""Values of patches by phrases, against the released head and exact cases."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fsar.text.phrases import DEPTH, MOTION, PatchPhraseMap


def test_as_released(reference: Callable[..., dict[str, Tensor]], shared: object) -> None:
    arrays = reference("depthclip_head")
    part = PatchPhraseMap(published_channels=True)
    torch.testing.assert_close(part.values, arrays["bins"])
    found = part(arrays["map_hw_b_c"].transpose(0, 1), arrays["text"].mT)
    torch.testing.assert_close(found, arrays["depth"].flatten(1), atol=2e-5, rtol=0)


def test_patches_that_are_phrases_have_their_values() -> None:
    text = torch.eye(7, dtype=torch.float64)
    found = PatchPhraseMap().double()(3 * text, text)
    torch.testing.assert_close(found, torch.tensor(list(DEPTH.values()), dtype=torch.float64))
    part = PatchPhraseMap(MOTION, template="something {}", scale=0.0)
    torch.testing.assert_close(part(torch.randn(2, 4, 5), torch.randn(3, 5)), torch.full((2, 4), 0.5))
    assert part.texts == ["something still", "something moving slowly", "something moving fast"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"phrases": {"far": 1.0}}, "two phrases at least"),
        ({"template": "far"}, "once, where the phrase goes"),
        ({"temperature": 0.0}, "temperature must be above 0"),
    ],
)
def test_wrong_options(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PatchPhraseMap(**options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"need texts \(7 5\), found \(7, 4\)"):
        PatchPhraseMap()(torch.rand(3, 5), torch.rand(7, 4))
