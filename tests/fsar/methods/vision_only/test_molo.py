"""MoLo: released outputs of both streams, the decoder and every loss; sizes, names, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from episodes.clips import Features, Streams
from episodes.episode import Episode
from fsar.alignment import TRX, BiMHM, MeanHausdorff
from fsar.encoders import ImageEncoder
from fsar.methods import MoLo
from fsar.methods.vision_only.molo import convert_released, long_short_logits
from fsar.training.joining import check_joined

CONTRASTS = {"s2q": "frames_to_query", "q2s": "frames_to_support"} | {
    "s2q_motion": "motions_to_query",
    "q2s_motion": "motions_to_support",
}


def released(arrays: dict[str, Tensor], checks: Any) -> tuple[MoLo, dict[str, Tensor]]:
    """The method with the stored weights and options, and these weights."""
    weights = convert_released({k.removeprefix("weight/"): x for k, x in arrays.items() if k.startswith("weight/")})
    decodes = any(name.startswith("decoder.") for name in weights)
    scale, weight = arrays["position"].tolist()
    channels, side = arrays["query_maps"].shape[-3], arrays["query_maps"].shape[-1]
    method = MoLo(
        checks.NoEncoder(channels, (side, side)),
        MeanHausdorff() if arrays["single_direction"] else BiMHM(),
        motion_weight=float(arrays["motion_weight"]),
        class_weight=float(arrays["class_weight"]),
        train_classes=len(weights["classifier.bias"]),
        classified="tokens" if arrays["local"] else "clip",
        reconstruction_weight=float(arrays["reconstruction_weight"]) if decodes else 0.0,
        position_scale=scale,
        position_weight=weight,
        hidden=len(weights["transformers.frames.blocks.0.feed_forward.1.bias"]),
    )
    checks.without_dropout(method).load_state_dict(weights)
    return method.train(), weights


def pixels(arrays: dict[str, Tensor], role: str) -> Streams:
    """The frames that were stored, or those of zeros that were not."""
    maps = arrays[f"{role}_maps"]
    side = 32 * maps.shape[-1]
    return Streams(frames=arrays.get(f"{role}_images", torch.zeros(*maps.shape[:2], 3, side, side)))


@pytest.mark.parametrize("case", ["case0", "case1", "case2", "case3"])
def test_reproduces_the_released_code(case: str, reference: Any, checks: Any) -> None:
    arrays = reference("molo", case)
    method, _ = released(arrays, checks)
    trained = bool(arrays["train"])
    if not trained:  # the release looks at its decoder in training only
        method.decoder = None
    labels = arrays["support_labels"]
    ways = int(labels.max()) + 1
    episode = Episode(
        pixels(arrays, "support"),
        pixels(arrays, "query"),
        labels,
        arrays["query_labels"],
        torch.arange(ways).scatter(0, labels, arrays["support_classes"]),
        tuple(f"class {c}" for c in range(arrays["class_logits"].shape[-1])),
        torch.tensor(0),
    )
    maps = {role: arrays[f"{role}_maps"].clone().requires_grad_() for role in ("support", "query")}
    features = {role: Features(patches=x.flatten(-2).mT, frames=x.mean((-2, -1))) for role, x in maps.items()}
    support = method.support_parts(features["support"], torch.empty(0))
    query = method.query_parts(features["query"])
    scores = method.score(support, query, episode, torch.empty(0))
    losses = method.loss(scores, episode)
    losses["loss"].backward()
    long_short = scores.long_short  # type: ignore[attr-defined]
    found = {"logits": scores.logits, "class_logits": scores.class_logits, "query_motion": query["motions"]}
    found |= {f"logits_{theirs}": long_short[ours] for theirs, ours in CONTRASTS.items()}
    found |= {name: losses[name] for name in ("loss", "few_shot_loss", "class_loss")}
    found["contrastive_losses"] = torch.stack([losses[f"{ours}_loss"] for ours in CONTRASTS.values()])
    found |= {"query_stream": query["frames"], "grad_support": maps["support"].grad, "grad_query": maps["query"].grad}
    if trained:
        assert method.decoder is not None
        found["reconstruction_loss"] = losses["reconstruction_loss"]
        step = method.decoder.up[0].convolution[1]
        found["after/up1.conv.double_conv.1.running_mean"] = step.running_mean
        found["after/up1.conv.double_conv.1.running_var"] = step.running_var
    checks.agree(found, {name: x for name, x in arrays.items() if name in found})


def test_long_short_logits_written_out() -> None:
    query, support = torch.randn(2, 4, 5), torch.randn(3, 4, 5)
    to_query, to_support = long_short_logits(query, support, epsilon=0.0)
    for q in range(2):
        for c in range(3):
            for found, token, frames in ((to_query, query[q], support[c]), (to_support, support[c], query[q])):
                expected = -sum(1 - cosine_similarity(token[0], frame, dim=0) for frame in frames[1:])
                torch.testing.assert_close(found[q, c], expected)


def make(checks: Any, **options: Any) -> MoLo:
    options = {"reconstruction_weight": 0.0, "hidden": 8, "train_classes": 3, **options}
    return MoLo(checks.NoEncoder(16, (2, 2)), options.pop("alignment", BiMHM()), **options)


def test_holds_what_every_method_must(checks: Any) -> None:
    method = make(checks).eval()
    checks.episodes(method, lambda clips: Features(patches=torch.randn(clips, 4, 4, 16).abs()))


def test_without_motion_it_is_the_set_metric_on_frames(checks: Any) -> None:
    method = make(checks, motion_weight=0.0).eval()
    episode = checks.label_episode(torch.arange(3), torch.arange(3))
    support, query = (method.query_parts(Features(patches=torch.randn(3, 4, 4, 16))) for _ in range(2))
    logits = method.score(support, query, episode, torch.empty(0)).logits
    assert torch.equal(logits, BiMHM()(query["frames"][:, 1:], support["frames"][:, 1:]))
    frames, prototypes = method.compared(support, query, episode, torch.empty(0))
    assert frames.shape == prototypes.shape == (3, 4, 16)


def test_has_the_weights_of_the_released_model_and_no_other(released_names: Any) -> None:
    network = ImageEncoder("resnet50", None)
    assert network.grid == (7, 7)
    method = MoLo(network, BiMHM())
    ours = {k: x.shape for k, x in method.state_dict().items()}
    released = released_names("MoLo")
    assert {k: x.shape for k, x in convert_released(released).items()} == ours
    assert sum(p.numel() for n, p in method.named_parameters() if not n.startswith("encoder.")) == 66_096_597
    with pytest.raises(ValueError, match=r"'layer2.0.bias' is not a weight of a released checkpoint of MoLo"):
        convert_released({"layer2.0.bias": torch.ones(1)})


def test_what_does_not_fit_is_refused(checks: Any) -> None:
    with pytest.raises(ValueError, match="MoLo averages the shots of a class, which TRX compares one by one"):
        make(checks, alignment=TRX(16))
    with pytest.raises(ValueError, match=r"motion is between two frames, but the clips have 1"):
        make(checks).query_parts(Features(patches=torch.randn(3, 1, 4, 16)))
    with pytest.raises(ValueError, match=r"data.frames is 1, but the motion that MoLo reads is between two"):
        check_joined(make(checks), 1)
    check_joined(make(checks), 2)
    method = make(checks, reconstruction_weight=0.1).train()
    episode = checks.label_episode(torch.arange(3), torch.arange(3))
    support, query = (method.query_parts(Features(patches=torch.randn(3, 4, 4, 16))) for _ in range(2))
    with pytest.raises(ValueError, match=r"decoder is trained against pixels, .*set --model.reconstruction_weight 0"):
        method.score(support, query, episode, torch.empty(0))
