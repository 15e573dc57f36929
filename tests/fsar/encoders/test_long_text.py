"""Long texts read whole: the released stretching, a file of Long-CLIP's form, and what stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fsar.encoders import ClipEncoder, LongText
from fsar.encoders.long_text import stretch_positions, stretch_tower
from fsar.text import TextBank, encode_whole

SHORT = "a hand moves a brush"
LONG = "a person stands in a kitchen and " * 12


@pytest.fixture(scope="module")
def encoder() -> LongText:
    return LongText("fsar-tiny", "shapes")  # 40 positions: 20 + 4 · 20


def test_the_positions_are_the_released_ones(reference: Callable[..., dict[str, Tensor]]) -> None:
    arrays = reference("longclip")
    torch.testing.assert_close(stretch_positions(arrays["positions_77"]), arrays["positions_248"])
    slow = [(1 - r / 4) * arrays["positions_77"][30] + r / 4 * arrays["positions_77"][31] for r in range(4)]
    torch.testing.assert_close(stretch_positions(arrays["positions_77"])[60:64], torch.stack(slow))
    with pytest.raises(ValueError, match="keeps 20 positions and needs two more, found 21"):
        stretch_positions(torch.zeros(21, 4))


def test_short_texts_and_frames_are_what_they_were(encoder: LongText) -> None:
    plain = ClipEncoder("fsar-tiny", "shapes")
    text = encoder.require_text()
    assert text.context_length == 100
    torch.testing.assert_close(text.encode([SHORT]), plain.require_text().encode([SHORT]))
    assert encoder.fingerprint() == plain.fingerprint()
    assert not any(weight.requires_grad for weight in encoder.parameters())


def test_the_end_of_a_long_text_is_read(encoder: LongText) -> None:
    text = encoder.require_text()
    one, other = text.encode([LONG + "opens a door", LONG + "closes a window"])
    assert text.length(LONG + "opens a door") > 77
    assert not torch.allclose(one, other)
    with pytest.raises(ValueError, match="has 175 tokens, but fsar-tiny-text-100 reads 100"):
        text.encode([2 * LONG + SHORT])
    with pytest.warns(UserWarning, match="split into 2 pieces"):
        encode_whole(text, [2 * LONG + SHORT])
    features = TextBank(["{} " + LONG]).features(text, ["waving"])  # no warning: it is read whole
    assert features.features.shape == (1, 1, 64)


def test_a_file_of_longclips_form_is_loaded_by_it_alone(encoder: LongText, tmp_path: Path) -> None:
    plain = ClipEncoder("fsar-tiny", "shapes", quick_gelu=None)
    state = {f"visual.{key}": x for key, x in plain.visual.state_dict().items()}
    state |= dict(encoder.require_text().tower.state_dict())
    trained = torch.randn(100, 32)
    state |= {"positional_embedding_res": trained, "logit_scale": torch.tensor(4.6)}
    torch.save(state, tmp_path / "long.pt")
    found = LongText("fsar-tiny", str(tmp_path / "long.pt"))
    positions = found.require_text().tower.positional_embedding
    torch.testing.assert_close(positions[20:], trained[20:])
    torch.testing.assert_close(positions[:20], plain.require_text().tower.positional_embedding[:20])
    assert found.require_text().context_length == 100
    with pytest.raises(ValueError, match="positional_embedding"):
        ClipEncoder("fsar-tiny", str(tmp_path / "long.pt"))


def test_it_is_trained_when_asked_and_other_towers_are_refused() -> None:
    assert LongText("fsar-tiny", "shapes", tune_text=True).require_text().trained
    with pytest.raises(ValueError, match="LongText stretches CLIP's own text tower, but that of X is Linear"):
        stretch_tower(torch.nn.Linear(2, 2), "X")
