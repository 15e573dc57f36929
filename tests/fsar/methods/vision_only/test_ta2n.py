"""TA2N against the outputs of its authors' code, and as a method."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from episodes.clips import Features
from fsar.methods.vision_only.ta2n import TA2N, axis_mask, convert_released
from fsar.temporal.warp import warp_weights


def features(maps: Tensor) -> Features:
    """Maps ``(... d t h w)`` as patches."""
    return Features(patches=maps.flatten(-2).movedim(-3, -1))


def released(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    return convert_released({k.removeprefix("weight/"): v for k, v in arrays.items() if k.startswith("weight/")})


def small(checks: Any, **options: Any) -> TA2N:
    method = TA2N(checks.NoEncoder(8, (5, 4)), **options)
    for part in (method.warp.head[2], method.offsets.head[2]):
        nn.init.normal_(part.weight)
    return method.eval()


def random_clips(count: int) -> Features:
    return Features(patches=torch.randn(count, 4, 20, 8))


@pytest.mark.parametrize("case", ["case0", "case1", "case2"])
def test_reproduces_the_released_code(case: str, reference: Any, checks: Any, monkeypatch: Any) -> None:
    """The stored gradients are rounded in float32 themselves, by up to 1.7e-5 of the largest."""
    arrays = reference("ta2n", case)
    if "train" not in arrays:
        pytest.skip("the weights of the offsets are too large for the cut in tests/data")
    maps = {role: arrays[role].clone().requires_grad_() for role in ("support", "query")}
    channels, _, *grid = maps["query"].shape[1:]
    method = TA2N(checks.NoEncoder(channels, tuple(grid)), dropout=0.0)
    method.load_state_dict(released(reference("ta2n")))
    method.train(bool(arrays["train"]))
    shots = int(arrays["shot"])
    ways = len(maps["support"]) // shots
    labels = torch.arange(ways).repeat_interleave(shots)
    episode = checks.label_episode(labels, torch.arange(len(maps["query"])) % ways)
    support, query = features(maps["support"]), features(maps["query"])
    parts = method.support_parts(support, torch.empty(0)), method.query_parts(query)
    seen = []
    align = method.align
    monkeypatch.setattr(method, "align", lambda *a: seen.append(align(*a)) or seen[-1])
    logits = method.score(*parts, episode, torch.empty(0)).logits
    (-logits.mT * arrays["weight_upstream"]).sum().backward()
    ((offsets, s, q),) = seen
    found = {
        "theta_support": method.warp.theta(support["patches"], tuple(grid)),
        "theta_query": method.warp.theta(query["patches"], tuple(grid)),
        "support_warped": parts[0]["maps"],
        "query_warped": parts[1]["maps"],
        "offsets": offsets.transpose(0, 1),
        "support_vectors": s.transpose(0, 1).mT,
        "query_vectors": q.transpose(0, 1).mT,
        "cost": -logits.mT,
        "grad_support": maps["support"].grad,
        "grad_query": maps["query"].grad,
    }
    for name in ("support_warped", "query_warped"):
        found[name] = found[name].movedim(-1, 1).unflatten(-1, tuple(grid))
    prototypes = parts[0]["maps"].unflatten(0, (ways, shots))
    prototypes = method.shot_value(method.merge_shots(prototypes)) if shots > 1 else prototypes[:, 0]
    found["prototype"] = prototypes.movedim(-1, 1).unflatten(-1, tuple(grid))
    given = ("support", "query", "shot", "train", "weight_upstream")
    checks.agree(found, {name: x for name, x in arrays.items() if name not in given}, 2e-5)


def test_reproduces_the_released_code_from_the_offsets_on(reference: Any, checks: Any) -> None:
    arrays, stored = reference("ta2n", "case2"), reference("ta2n")
    channels, t, *grid = arrays["query"].shape[1:]
    method = TA2N(checks.NoEncoder(channels, tuple(grid)), dropout=0.0).eval()
    second = {k: x for k, x in stored.items() if k.startswith("weight/secondstage") and "mvnet" not in k}
    method.load_state_dict(released(second), strict=False)
    clips = {}
    for role in ("support", "query"):
        maps = features(arrays[f"{role}_warped"])["patches"]
        weights = warp_weights(arrays[f"theta_{role}"], t)
        warped = (weights @ features(arrays[role])["patches"].flatten(-2)).reshape(maps.shape)
        checks.agree({"warped": warped}, {"warped": maps})
        clips[role] = {"maps": maps, "pooled": maps.mean(-2), "seen": method.offsets.see(maps, tuple(grid), 1)}
    method.offsets.forward = lambda seen: arrays["offsets"].transpose(0, 1)  # type: ignore[method-assign]
    _, s, q = method.align(clips["query"], clips["support"], nn.Identity())
    logits = method.compare(clips["query"], clips["support"], nn.Identity())["logits"]
    found = {"support_vectors": s.transpose(0, 1).mT, "query_vectors": q.transpose(0, 1).mT, "cost": -logits.mT}
    checks.agree(found, {name: arrays[name] for name in found})


@pytest.mark.parametrize("number", range(4))
def test_the_released_warp(number: int, reference: Any, checks: Any) -> None:
    arrays = reference("ta2n", f"warp{number}")
    weights = warp_weights(arrays["theta"], arrays["features"].shape[2])
    warped = torch.einsum("xy,bcyhw->bcxhw", weights, arrays["features"])
    checks.agree({"warped": warped}, {"warped": arrays["warped"]})


@pytest.mark.parametrize("size", [5, 7])
def test_the_released_mask(size: int, reference: Any, checks: Any) -> None:
    arrays = reference("ta2n", "mask")
    x, y = (axis_mask(o, size) for o in arrays["offsets"].unbind(-1))
    mask, stored = y[:, :, None] * x[:, None, :], arrays[f"size{size}"]
    checks.agree({"mask": mask}, {"mask": stored / stored.sum((-2, -1), keepdim=True)})


def test_masks_are_the_mean_of_nine_that_each_add_up_to_1(checks: Any) -> None:
    method, o = small(checks), torch.tensor([[0.7, -0.3]])

    def one(x: Tensor, y: Tensor) -> Tensor:
        def axis(length: int, at: Tensor) -> Tensor:
            beyond = (torch.linspace(-1, 1, length) + at).abs() - 1
            return torch.where(beyond < 0, 1.0, (1 - beyond * (length - 1) / 2).clamp(min=0))

        mask = axis(5, y)[:, None] * axis(4, x)  # rows are y
        return mask / mask.sum()

    nine = [one(o[0, 0] + a, o[0, 1] + b) for a in (-0.2, 0.0, 0.2) for b in (-0.2, 0.0, 0.2)]
    torch.testing.assert_close(method.masks(o)[0], torch.stack(nine).mean(0).flatten())
    alone = small(checks, perturb_in_evaluation=False)
    torch.testing.assert_close(alone.masks(o)[0], one(*o[0]).flatten())
    torch.testing.assert_close(alone.train().masks(o), method.masks(o))


def test_whole_stretch_is_the_identity_and_outside_there_is_nothing() -> None:
    torch.testing.assert_close(warp_weights(torch.tensor([1.0, 0.0]), 6), torch.eye(6))
    torch.testing.assert_close(warp_weights(torch.tensor([-1.0, 0.0]), 6), torch.eye(6).flip(0))
    assert (warp_weights(torch.tensor([0.5, 0.75]), 5).sum(-1)[-1:] < 1).all()
    theta = torch.tensor([0.37, 0.11], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: warp_weights(x, 5), theta)


def test_what_is_the_same_everywhere_is_seen_by_nine_kernels(checks: Any) -> None:
    method, frames = small(checks), torch.randn(2, 3, 4, 8)
    for role in (0, 1):
        spread = frames.unsqueeze(-2).expand(-1, -1, -1, 20, -1)
        bias = method.offsets.first.bias[:, None, None, None] * role
        expected = method.offsets.see(spread, (5, 4), role) - bias
        torch.testing.assert_close(method.offsets.see_everywhere(frames, (5, 4), role), expected)


@pytest.mark.parametrize("shots", [1, 2])
@pytest.mark.parametrize("chunk", [None, 1, 3])
def test_holds_what_every_method_must(shots: int, chunk: int | None, checks: Any) -> None:
    checks.episodes(small(checks, queries_per_chunk=chunk), random_clips, shots=shots)


@pytest.mark.parametrize("shots", [1, 2])
def test_what_is_kept_of_a_video_changes_nothing(shots: int, checks: Any) -> None:
    method = small(checks, dropout=0.0)
    episode = checks.label_episode(torch.arange(2).repeat_interleave(shots), torch.arange(2))
    support, query = random_clips(2 * shots), random_clips(2)
    parts = method.support_parts(support, torch.empty(0)), method.query_parts(query)
    logits = method.score(*parts, episode, torch.empty(0)).logits
    alone = ({"maps": x["maps"]} for x in parts)
    torch.testing.assert_close(method.score(*alone, episode, torch.empty(0)).logits, logits)


def test_a_norm_of_the_logits_is_made_for_its_ways(checks: Any) -> None:
    method = small(checks, logit_norm=3)
    checks.episodes(method, random_clips, ways=3, shots=1)
    with pytest.raises(ValueError, match=r"logit_norm=3 was made for episodes of 3 ways, found 4: set data.ways to 3"):
        checks.episodes(method, random_clips, ways=4, shots=1)


def test_maps_and_clips_that_cannot_be_pooled_are_refused(checks: Any) -> None:
    with pytest.raises(ValueError, match="needs 4 x 4 patches or more, but the encoder gives 7 x 1"):
        TA2N(checks.NoEncoder(8, (7, 1)))
    with pytest.raises(ValueError, match="needs clips of 4 frames or more, found 3"):
        small(checks).query_parts(Features(patches=torch.randn(2, 3, 20, 8)))


def test_has_the_weights_of_the_released_model_and_no_other(released_names: Any, checks: Any) -> None:
    converted = convert_released(released_names("TA2N (align.*)"))
    with torch.device("meta"):
        method = TA2N(checks.NoEncoder(2048, (7, 7)))
    assert {k: x.shape for k, x in converted.items()} == {k: x.shape for k, x in method.state_dict().items()}
    assert sum(p.numel() for p in method.parameters()) == 43_538_020
    prefixed = convert_released(
        {"align.valuenet_multi.weight": torch.zeros(2, 2, 1), "resnet.layer1.0.bn2.bias": torch.zeros(1)}
    )
    assert {k: tuple(x.shape) for k, x in prefixed.items()} == {
        "shot_value.weight": (2, 2),
        "encoder.visual.layer1.0.bn2.bias": (1,),
    }
    with pytest.raises(ValueError, match=r"'fc.bias' is not a weight of a released checkpoint of TA2N"):
        convert_released({"fc.bias": torch.zeros(1)})
