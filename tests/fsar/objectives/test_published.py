"""Objectives against outputs of released code, or of the paper's formula where none was released."""

from __future__ import annotations

from collections.abc import Callable

import open_clip
import pytest
import torch
from open_clip.loss import SigLipLoss
from torch import Tensor
from torch.nn.functional import normalize

from fsar.objectives import (
    AssignmentRule,
    grouping_loss,
    multi_positive_sigmoid,
    symmetric_contrast,
    trimodal_contrast,
)
from fsar.objectives.dreamlip import group_tokens, weigh_minmax

Reference = Callable[..., dict[str, Tensor]]


def test_sigmoid_and_merged_positives(reference: Reference) -> None:
    arrays = reference("fff_sigmoid")
    image, text = arrays["image"], arrays["text"]
    vt, vv, tt = image @ text.mT, image @ image.mT, text @ text.mT
    logits, eye = arrays["scale"] * vt + arrays["bias"], torch.eye(len(image), dtype=torch.bool)
    torch.testing.assert_close(multi_positive_sigmoid(logits, eye), arrays["loss_identity_open_clip"])
    found = AssignmentRule(*arrays["thresholds"].tolist())(eye, vt, vv, tt)
    assert torch.equal(found.positive, arrays["mask"])
    torch.testing.assert_close(multi_positive_sigmoid(logits, found.positive), arrays["loss_multi"])


def test_sigmoid_with_one_positive_is_siglips() -> None:
    image, text = (normalize(torch.randn(5, 8), dim=-1) for _ in range(2))
    theirs = SigLipLoss()(image, text, torch.tensor(10.0), torch.tensor(-10.0))
    ours = multi_positive_sigmoid(10 * image @ text.mT - 10, torch.eye(5).bool())
    torch.testing.assert_close(ours, theirs)


CASES = [
    ("dreamlip_one_text", 0.0),
    ("dreamlip_three_texts", 0.0),
    ("dreamlip_three_texts_softmax", None),
    ("dreamlip_three_texts_inverse_p", "1/P"),
]


@pytest.mark.parametrize(("name", "threshold"), CASES)
def test_grouping_and_contrast_over_several_texts(reference: Reference, name: str, threshold: float | None) -> None:
    arrays = reference(name)
    image, texts, scale = arrays["image"], arrays["texts"], arrays["logit_scale"]
    tokens = normalize(arrays["patches"], dim=-1)
    similarity = texts @ tokens.mT
    weights = similarity.softmax(-1) if threshold is None else weigh_minmax(similarity, threshold)  # type: ignore[arg-type]
    torch.testing.assert_close(weights, arrays["intended_weights"], atol=1e-5, rtol=1e-5)
    grouped = group_tokens(tokens, weights)
    torch.testing.assert_close(grouped, arrays["intended_grouped"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        grouping_loss(grouped, texts, scale), arrays["intended_finegrained"], atol=1e-5, rtol=1e-5
    )
    released = arrays["released_clip"] + arrays["released_multi_texts"]  # the first text, and the others
    torch.testing.assert_close(symmetric_contrast(image, texts, scale), released, atol=1e-5, rtol=1e-5)
    if texts.shape[1] == 1:
        torch.testing.assert_close(arrays["intended_finegrained"], arrays["released_finegrained"])


@pytest.mark.parametrize("pairs", ["ai_at_it", "ai_at", "it", "ai", "at_it"])
def test_trimodal(reference: Reference, pairs: str) -> None:
    arrays = reference("audioclip_loss")
    logits = {pair: arrays[f"logits_{pair}"] for pair in pairs.split("_")}
    found = arrays[f"loss_{pairs}" + ("" if "_" in pairs else "_only")]
    torch.testing.assert_close(trimodal_contrast(logits, published=True), found, atol=1e-5, rtol=1e-5)
    factor = {1: 2.0, 2: 2.0, 3: 1.0}[len(logits)]  # (number of pairs)! / 2, seen from the mean
    torch.testing.assert_close(trimodal_contrast(logits) * factor, found, atol=1e-5, rtol=1e-5)


def test_without_sound_it_is_clips_loss() -> None:
    image, text = (normalize(torch.randn(6, 8), dim=-1) for _ in range(2))
    theirs = open_clip.ClipLoss()(image, text, torch.tensor(14.3))
    torch.testing.assert_close(trimodal_contrast({"it": 14.3 * image @ text.mT}), theirs)
    torch.testing.assert_close(symmetric_contrast(image, text[:, None], 14.3), theirs)
