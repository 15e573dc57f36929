"""D2ST-Adapter and TS-FSAR, from pixels to losses and gradients, against arrays of their released code."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from episodes.clips import Streams, combined
from episodes.episode import Episode
from fsar.adapters import D2STAdapter, Ladder
from fsar.alignment import BiMHM, CosineCost, alpha_covariance
from fsar.encoders import ClipEncoder
from fsar.encoders.adapted import Adapted
from fsar.methods import D2ST, TSFSAR, d2st, ts_fsar

ROUNDING = 5e-5  # what is left between gradients of a whole method, in float32 on both sides
TS_FSAR_NAMES = tuple((f"^{theirs}", ours) for theirs, ours in ts_fsar.RELEASED_NAMES.items() if ours is not None)


@pytest.mark.parametrize("case", ["model_1shot", "model_2shot"])
def test_d2st(released: Any, case: str) -> None:
    arrays = released.arrays("d2st")
    encoder = Adapted(released.tower(28, 64, 2), D2STAdapter(), project=False)
    alignment = BiMHM(cost=CosineCost(0))
    method = D2ST(encoder, alignment, class_weight=float(arrays(f"{case}/class_weight")), train_classes=12)
    released.give(method, d2st.convert_released(arrays.under("model/weight/")), ())
    episode = Episode(
        Streams(frames=arrays(f"{case}/support_images")),
        Streams(frames=arrays(f"{case}/query_images")),
        arrays(f"{case}/support_labels"),
        arrays(f"{case}/query_labels"),
        classes_of(arrays, case),
        tuple(f"class {i}" for i in range(12)),
        torch.tensor(0),
    )
    assert torch.equal(episode.query_classes, arrays(f"{case}/query_classes"))
    assert torch.equal(episode.support_classes, arrays(f"{case}/support_classes"))
    for role in ("support", "query"):
        released.agree(encoder.features(getattr(episode, role))["frames"], arrays(f"{case}/{role}_features"))
    scores = method.train()(episode)
    losses = method.loss(scores, episode)
    released.agree(scores.few_shot, arrays(f"{case}/logits"), 2e-5)  # sums of 1 - cosine, where cosines are near 1
    released.agree(scores.class_logits, arrays(f"{case}/class_logits"))
    for name in ("few_shot_loss", "class_loss", "loss"):
        released.agree(losses[name], arrays(f"{case}/{name}"))
    losses["loss"].backward()
    gradients = d2st.convert_released(arrays.under(f"{case}/grad_weight/"))
    released.check_gradients(method, gradients, (), ROUNDING)


def test_d2st_has_the_weights_of_a_released_checkpoint(released: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "item", lambda _: 1.0)  # of CLIP's temperature, which has no value here
    listed = json.loads((released.folder / "checkpoint_names.json").read_text())["D2ST-Adapter ViT-B/16"]["tensors"]
    state = {f"model.{name}": torch.empty(shape, device="meta") for name, shape in listed.items()}
    with torch.device("meta"):
        method = D2ST(Adapted(ClipEncoder("ViT-B-16", None), D2STAdapter(), project=False), BiMHM())
    found = {name: x.shape for name, x in d2st.convert_released(state).items()}
    assert found == {name: x.shape for name, x in method.state_dict().items()}
    method.classifier = None
    found = d2st.convert_released(state, **method.released_options)
    assert found.keys() == method.state_dict().keys()
    with pytest.raises(ValueError, match=r"'model\.head\.weight' is not a weight of a released checkpoint of D2ST"):
        d2st.convert_released({"model.head.weight": torch.zeros(1)})


def classes_of(arrays: Callable[[str], torch.Tensor], case: str) -> torch.Tensor:
    """The episode's classes, which the reference tells by the clips."""
    labels, classes = arrays(f"{case}/support_labels"), arrays(f"{case}/support_classes")
    found = torch.zeros(int(labels.max()) + 1, dtype=torch.int64)
    found[labels] = classes
    return found


def build_ts_fsar(released: Any, case: str) -> tuple[TSFSAR, Episode, Any]:
    arrays = released.arrays("ts_fsar")
    _, by_class, side, guidance = arrays(f"{case}/weights").tolist()
    frames = arrays(f"{case}/support").shape[1]
    method = TSFSAR(
        released.tower(16, 64, 3),
        Ladder(width=32, heads=2, temporal=(1,)),
        frames=frames,
        train_classes=7,
        class_weight=by_class,
        side_weight=side,
        guidance_weight=guidance,
        text_residual=float(arrays(f"{case}/text_residual")),
        guidance_temperature=float(arrays(f"{case}/temperature")),
        fusion=tuple(arrays(f"{case}/fusion").tolist()),
    )
    weights = arrays.under("weight/")
    weights |= arrays.under(f"{case}/weight/")  # another generator where the number of frames is another
    state = ts_fsar.convert_released(weights)
    assert state.keys() == {name for name in method.state_dict() if not name.startswith("encoder.text.")}
    method.load_state_dict(state, strict=False)
    text = arrays(f"{case}/text")
    method.class_text = lambda names: text  # type: ignore[method-assign]
    episode = Episode(
        Streams(frames=arrays(f"{case}/support")),
        Streams(frames=arrays(f"{case}/query")),
        arrays(f"{case}/support_labels"),
        arrays(f"{case}/query_labels"),
        arrays(f"{case}/classes"),
        tuple(f"class {i}" for i in range(7)),
        torch.tensor(0),
    )
    return method, episode, arrays


@pytest.mark.parametrize("case", ["case0", "case1"])
def test_ts_fsar_in_training(released: Any, case: str) -> None:
    method, episode, arrays = build_ts_fsar(released, case)
    scores = method.train()(episode)
    losses = method.loss(scores, episode)
    released.agree(scores.few_shot, arrays(f"{case}/metric_logits"))
    released.agree(scores.class_logits, arrays(f"{case}/class_logits"))
    released.agree(scores.side_text, arrays(f"{case}/side_text_logits"))
    released.agree(scores.clip_text, arrays(f"{case}/clip_text_logits"))
    for ours, theirs in (("few_shot_loss", "metric"), ("class_loss", "class"), ("side_loss", "side_text")):
        released.agree(losses[ours], arrays(f"{case}/{theirs}_loss"))
    released.agree(losses["guidance"], arrays(f"{case}/kl_loss") + arrays(f"{case}/clip_text_loss"))
    released.agree(losses["loss"], arrays(f"{case}/loss"))
    losses["loss"].backward()
    released.check_gradients(method, arrays.under(f"{case}/grad_weight/"), TS_FSAR_NAMES, ROUNDING)


@pytest.mark.parametrize("case", ["case2", "case3"])
def test_ts_fsar_in_evaluation(released: Any, case: str) -> None:
    method, episode, arrays = build_ts_fsar(released, case)
    with torch.no_grad():
        scores = method.eval()(episode)
    released.agree(scores.few_shot, arrays(f"{case}/metric_logits"))
    released.agree(scores.logits.exp(), arrays(f"{case}/fused"))


@pytest.mark.parametrize("case", ["case0", "case3"])
def test_ts_fsar_tokens_and_descriptors(released: Any, case: str) -> None:
    method, episode, arrays = build_ts_fsar(released, case)
    clips = combined(torch.cat, [episode.support, episode.query])
    with torch.no_grad():
        features = method.encode(clips)
        tokens = method.encoder.side.tokens(tuple(method.encoder.below(clips.at(slice(1))).values()))
        descriptors = alpha_covariance(features["frames"], features["patches"])
    released.agree(tokens[0], arrays(f"{case}/side_tokens_first"))
    released.agree(descriptors[:2], arrays(f"{case}/descriptors"))
    released.agree(features["frames"], arrays(f"{case}/class_tokens"))
    released.agree(features["tower"], arrays(f"{case}/clip_features"))


@pytest.mark.parametrize("case", ["alpha0", "alpha1", "alpha2"])
def test_alpha_distance_covariance(released: Any, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference's patches are weighted already: here with weights of 1."""
    arrays = released.arrays("ts_fsar")
    monkeypatch.setattr(torch.nn.functional, "cosine_similarity", lambda z, y, dim: torch.ones(y.shape[:-1]))
    weighted = arrays(f"{case}/weighted_patches").requires_grad_()
    descriptor = alpha_covariance(weighted[..., 0], weighted.mT, float(arrays(f"{case}/alpha")))
    released.agree(descriptor, arrays(f"{case}/descriptor"))
    (descriptor * arrays(f"{case}/upstream")).sum().backward()
    released.agree(weighted.grad, arrays(f"{case}/grad"))
