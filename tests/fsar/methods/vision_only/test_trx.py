"""TRX as a method: released outputs, size, chunks, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from episodes.clips import Features
from fsar.encoders import FrameEncoder, ImageEncoder
from fsar.methods import TRX
from fsar.methods.vision_only.trx import convert_released
from fsar.training.joining import check_joined


@pytest.mark.parametrize("case", ["case0", "case1", "case2", "case3"])
def test_reproduces_the_released_code(case: str, reference: Any, checks: Any) -> None:
    arrays = reference("trx_head", case)
    weights = convert_released({k.removeprefix("weight/"): x for k, x in arrays.items() if k.startswith("weight/")})
    width = len(weights["matching.transformers.0.k_linear.bias"])
    encoder = checks.NoEncoder(arrays["query"].shape[-1])
    method = TRX(encoder, arrays["cardinalities"].tolist(), width, dropout=0.0, queries_per_chunk=3)
    method.load_state_dict(weights)
    method.train(bool(arrays["train"]))
    episode = checks.stored_episode(arrays)
    scores = checks.scores(method, episode)
    loss = method.loss(scores, episode)["loss"] / 16  # the release divides by its tasks a step
    loss.backward()
    found = {"logits": scores.logits, "loss": loss}
    found |= {"grad_support": episode.support["frames"].grad, "grad_query": episode.query["frames"].grad}
    checks.agree(found, {name: arrays[name] for name in found})


def test_holds_what_every_method_must(checks: Any) -> None:
    method = TRX(checks.NoEncoder(16), width=8).eval()
    for chunk in (None, 1, 3):
        method.matching.queries_per_chunk = chunk
        checks.episodes(method, lambda clips: torch.randn(clips, 4, 16))


def test_has_the_weights_of_the_released_model_and_no_other(released_names: Any) -> None:
    with torch.device("meta"):
        method = TRX(ImageEncoder("resnet50", None))
    ours = {k: x.shape for k, x in method.state_dict().items()}
    assert {k: x.shape for k, x in convert_released(released_names("TRX")).items()} == ours


def test_the_size_is_the_papers(checks: Any) -> None:
    with torch.device("meta"):
        method = TRX(checks.NoEncoder(2048))
    unused_norms_of_values = 2 * 2 * 1152
    assert sum(p.numel() for p in method.parameters()) == 23_606_784 - unused_norms_of_values


def test_names_of_released_checkpoints() -> None:
    several_gpus = convert_released(
        {"resnet.module.0.weight": torch.zeros(1), "transformers.1.norm_v.bias": torch.ones(1)}
    )
    assert list(several_gpus) == ["encoder.visual.conv1.weight"]
    with pytest.raises(ValueError, match=r"'head.x' is not a weight of a released checkpoint of TRX: transformers"):
        convert_released({"head.x": torch.zeros(1)})


def test_a_clip_of_one_frame_is_refused_when_joined_and_when_scored() -> None:
    method = TRX(FrameEncoder(nn.Identity(), 16, 32, (0.5,) * 3, (0.5,) * 3), width=8)
    with pytest.raises(
        ValueError, match=r"data.frames is 1, but TRX compares tuples of 2 frames: set data.frames to 2"
    ):
        check_joined(method, 1)
    check_joined(method, 3)
    with pytest.raises(ValueError, match="a clip of 1 frame has no tuples of 2"):
        method.query_parts(Features(frames=torch.randn(2, 1, 16)))


@pytest.mark.parametrize("cardinalities", [[], [2, 0]])
def test_tuples_have_a_frame_at_least(cardinalities: list[int], checks: Any) -> None:
    with pytest.raises(ValueError, match="cardinalities must name tuples of 1 frame or more, found"):
        TRX(checks.NoEncoder(16), cardinalities)
