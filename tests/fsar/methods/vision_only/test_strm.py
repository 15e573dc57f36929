"""STRM against the outputs of its authors' code, and as a method."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from episodes.clips import Features
from fsar.alignment.per_query.cross_tuple import sinusoids
from fsar.alignment.per_query.nearest_tuples import nearest_tuples
from fsar.methods.vision_only.strm import STRM, convert_released, pool_patches
from fsar.training.joining import check_joined


def features(maps: Tensor) -> Features:
    """Maps ``(... t d h w)`` as patches."""
    return Features(frames=maps.mean((-2, -1)), patches=maps.flatten(-2).mT)


def small(checks: Any, **options: Any) -> STRM:
    method = STRM(checks.NoEncoder(16, (5, 5)), frames=4, width=8, **options)
    with torch.no_grad():
        method.patches.gamma.fill_(0.5)
    return method.eval()


@pytest.mark.parametrize("case", ["case0", "case1", "case2"])
@pytest.mark.parametrize("frozen", [False, True])
def test_reproduces_the_released_code(case: str, frozen: bool, reference: Any, checks: Any) -> None:
    arrays = reference("strm", case)
    stored = {k.split("/", 1)[1]: v for k, v in arrays.items() if k.startswith(("weight/", "unsaved/"))}
    positions = stored["fr_enrich.pe.pe"][0]
    torch.testing.assert_close(0.1 * sinusoids(*positions.shape), positions, rtol=1e-5, atol=1e-6)
    weights = convert_released(stored)
    maps = {role: arrays[f"{role}_maps"].clone().requires_grad_() for role in ("support", "query")}
    t, channels, *grid = maps["query"].shape[1:]
    method = STRM(
        checks.NoEncoder(channels, tuple(grid)),
        frames=t,
        cardinalities=arrays["cardinalities"].tolist(),
        width=len(weights["matching.transformers.0.k_linear.bias"]),
        dropout=0.0,
        published_random_projection=frozen,
        queries_per_chunk=2,
        published_distances=True,
    )
    method.load_state_dict(weights)
    method.train(bool(arrays["train"]))
    episode = checks.label_episode(arrays["support_labels"], arrays["query_labels"])
    clips = {role: features(x) for role, x in maps.items()}
    parts = method.support_parts(clips["support"], torch.empty(0)), method.query_parts(clips["query"])
    scores = method.score(*parts, episode, torch.empty(0))
    losses = {name: x / 16 for name, x in method.loss(scores, episode).items()}  # the release: 16 tasks a step
    losses["loss"].backward()
    pooled = pool_patches(clips["support"]["patches"], tuple(grid))[0]
    found = {
        "logits": scores.frame,
        "logits_post_patch": scores.patch,
        "combined_logits": scores.logits,
        "loss": losses["loss"],
        "loss_frame": losses["frame_loss"],
        "loss_patch": losses["patch_loss"],
        "grad_support": maps["support"].grad,
        "grad_query": maps["query"].grad,
        "patches_first": pooled,
        "enriched_patches_first": method.patches.enrich(pooled),
    }
    for role, x in clips.items():
        names = (f"{role}_patch_features", f"{role}_frame_features")
        found |= dict(zip(names, method.enrich(x["patches"], tuple(grid)), strict=True))
    named = ("logits", "combined", "loss", "grad", "patches", "enriched", "support_patch", "support_frame", "query_")
    skipped = ("query_maps", "query_labels")
    expected = {k: x for k, x in arrays.items() if k.startswith(named) and k not in skipped}
    assert {"logits", "combined_logits", "support_patch_features", "query_frame_features"} <= expected.keys()
    patch = expected.pop("logits_post_patch")  # means of distances down to 0.08 that come from products: rounding
    torch.testing.assert_close(found["logits_post_patch"], patch, rtol=1e-5, atol=1e-5)
    checks.agree(found, expected, 2e-5)


def test_holds_what_every_method_must(checks: Any) -> None:
    checks.episodes(small(checks), lambda clips: features(torch.randn(clips, 4, 16, 5, 5)))


def test_without_enrichment_a_frame_is_the_mean_of_its_pooled_patches(checks: Any) -> None:
    method = STRM(checks.NoEncoder(16, (5, 5)), frames=4, width=8).eval()
    with torch.no_grad():
        method.patches.mlp[4].weight.zero_()
        method.patches.mlp[4].bias.zero_()
    patches = features(torch.randn(2, 4, 16, 5, 5))["patches"]
    expected = pool_patches(patches, (5, 5)).mean(-2) + 0.1 * sinusoids(16, 16).mean(0)
    torch.testing.assert_close(method.enrich(patches, (5, 5))[0], expected)  # gamma starts at 0


def test_nearest_tuples_is_the_mean_of_the_smallest_distances() -> None:
    query, support = torch.randn(3, 5, 6), torch.randn(2, 7, 6)
    each = [[torch.cdist(q, s).amin(-1).mean() for s in support] for q in query]
    torch.testing.assert_close(nearest_tuples(query, support), -torch.tensor(each))
    torch.testing.assert_close(nearest_tuples(query, support, by_products=True), -torch.tensor(each))
    same = nearest_tuples(query.requires_grad_(), query[:1])
    same.sum().backward()
    assert same[0, 0] == 0
    assert torch.isfinite(query.grad).all()


def test_the_projection_that_was_never_trained_is_saved_and_fixed(checks: Any) -> None:
    ours, published = small(checks), small(checks, published_random_projection=True)
    assert ours.state_dict().keys() == published.state_dict().keys()
    trained = {name for name, _ in ours.named_parameters()} - {name for name, _ in published.named_parameters()}
    assert trained == {"projections.0.weight", "projections.0.bias"}


def test_the_dropout_that_stays_on_is_drawn_anew_in_every_episode(checks: Any) -> None:
    clips = features(torch.randn(3, 4, 16, 5, 5))
    episode = checks.label_episode(torch.arange(3), torch.arange(3))
    for stays in (False, True):
        method = small(checks, published_test_dropout=stays)
        parts = method.support_parts(clips, torch.empty(0)), method.query_parts(clips)
        first, second = (method.score(*parts, episode, torch.empty(0)) for _ in range(2))
        assert torch.equal(first.frame, second.frame)
        assert torch.equal(first.patch, second.patch) != stays


def test_clips_of_another_length_are_refused(checks: Any) -> None:
    with pytest.raises(ValueError, match=r"STRM was made for clips of 4 frames, found 5: set data.frames to 4, or"):
        small(checks).query_parts(features(torch.randn(1, 5, 16, 5, 5)))
    with pytest.raises(ValueError, match=r"data.frames is 8, but FrameEnrichment was made for clips of 4 frames"):
        check_joined(small(checks), 8)


def test_has_the_weights_of_the_released_model_and_the_projection(released_names: Any, checks: Any) -> None:
    released = released_names("STRM")
    converted = convert_released(released)
    with torch.device("meta"):
        method = STRM(checks.NoEncoder(2048, (7, 7)))
    head = {k: x.shape for k, x in converted.items() if not k.startswith("encoder.")}
    assert {k: x.shape for k, x in method.state_dict().items()} == head
    assert torch.equal(converted["projections.0.weight"], convert_released(released)["projections.0.weight"])
    assert "encoder.visual.layer4.2.bn3.running_var" in converted

    def size(part: torch.nn.Module) -> int:
        return sum(p.numel() for p in part.parameters())

    assert size(method.patches) == 17_836_033
    assert size(method.frames) == 8_392_848
    assert size(method.matching) == 9_444_096 - 2 * 1152  # without the norm of values that the release never uses
    assert size(method.projections) == 4_195_328
    saved = {"new_dist_loss_post_pat.0.clsW.bias": torch.ones(1)}  # by another's code
    assert list(convert_released(saved)) == ["projections.0.bias"]
    several = convert_released({"attn_pat.module.gamma": torch.zeros(1), "resnet.module.1.bias": torch.zeros(1)})
    assert list(several) == ["patches.gamma", "encoder.visual.bn1.bias"]
    with pytest.raises(ValueError, match=r"'fc.bias' is not a weight of a released checkpoint of STRM"):
        convert_released({"fc.bias": torch.zeros(1)})
