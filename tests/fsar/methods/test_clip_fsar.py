"""CLIP-FSAR against the outputs of the authors' code, and the identities of the paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from episodes.episode import Episode
from fsar.alignment import OTAM
from fsar.methods.clip_fsar import ClipFSAR, convert_released
from fsar.temporal import TemporalTransformer

CASES = [
    "train_1shot",
    "train_5shot",
    "train_5shot_merge_before",
    "train_1shot_depth2",
    "train_1shot_one_way",
    "test_1shot",
    "test_5shot",
    "test_1shot_text_only",
    "test_1shot_combined_0.9",
    "test_5shot_combined_0.5",
]


class FixedText(nn.Module):
    """A text tower that answers with given features."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features

    def forward(self, names: Sequence[str]) -> Tensor:
        return self.features[[int(name) for name in names]]


class PassThrough(nn.Module):
    """An encoder whose clips are features already."""

    def __init__(self, text: Tensor) -> None:
        super().__init__()
        self.channels = text.shape[-1]
        self.text = FixedText(text)


def make(text: Tensor, one_way: bool = False, **options: object) -> ClipFSAR:
    alignment = OTAM(temperature=0.5, bidirectional=not one_way)
    return ClipFSAR(PassThrough(text), alignment, **options)  # type: ignore[arg-type]


def episode_of(case: dict[str, Tensor]) -> Episode:
    classes = torch.empty(case["logits"].shape[1], dtype=torch.int64)
    classes.scatter_(0, case["support_labels"], case["support_classes"])
    return Episode(
        case["support"],
        case["query"],
        case["support_labels"],
        case["query_labels"],
        classes,
        tuple(str(i) for i in range(len(case["text"]))),
        torch.tensor(0),
    )


@pytest.mark.parametrize("name", CASES)
def test_reproduces_the_released_code(reference: Callable[..., dict[str, Tensor]], name: str) -> None:
    case = reference("clip_fsar", name)
    weights = {"head.context2." + k.removeprefix("temporal/"): v for k, v in case.items() if k.startswith("temporal/")}
    weights["head.scale"] = case["scale"]
    exponent = float(name.rsplit("_", 1)[1]) if "combined" in name else 0.9
    method = make(
        case["text"],
        one_way="one_way" in name,
        depth=2 if "depth2" in name else 1,
        merge="before" if "merge_before" in name else "after",
        inference="text" if "text_only" in name else "combined" if "combined" in name else "few_shot",
        text_exponent=exponent,
    )
    method.load_state_dict(convert_released(weights), strict=True)
    train = name.startswith("train")
    method.train(train)
    for module in method.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    episode = episode_of(case)
    episode.support["frames"].requires_grad_(train)
    episode.query["frames"].requires_grad_(train)
    scores = method(episode)
    text_takes_part = not train and method.inference != "few_shot"  # the release then gives p, or a product of such
    found = scores.logits.exp() if text_takes_part else scores.logits
    torch.testing.assert_close(found, case["logits"], rtol=1e-5, atol=1e-5)
    if not train:
        return
    losses = method.loss(scores, episode)
    torch.testing.assert_close(scores.class_logits, case["class_logits"], rtol=1e-5, atol=1e-5)
    for key in ("few_shot_loss", "video_text_loss", "loss"):
        torch.testing.assert_close(losses[key], case[key].float(), rtol=1e-5, atol=1e-5)
    if "grad_support" not in case:
        return  # the cut of the weights in tests/data/ keeps outputs, not slopes
    losses["loss"].backward()
    torch.testing.assert_close(episode.support["frames"].grad, case["grad_support"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(episode.query["frames"].grad, case["grad_query"], rtol=1e-5, atol=1e-6)


def random_episode(ways: int = 5, shots: int = 1, queries: int = 2, frames: int = 8, seed: int = 0) -> Episode:
    g = torch.Generator().manual_seed(seed)
    return Episode(
        torch.randn(ways * shots, frames, 16, generator=g),
        torch.randn(ways * queries, frames, 16, generator=g),
        torch.arange(ways).repeat_interleave(shots),
        torch.arange(ways).repeat_interleave(queries),
        torch.randperm(12, generator=g)[:ways],
        tuple(str(i) for i in range(12)),
        torch.tensor(seed),
    )


@pytest.fixture
def method() -> ClipFSAR:
    return make(torch.randn(12, 16)).eval()


def test_temporal_transformer_has_the_papers_size() -> None:
    assert sum(p.numel() for p in TemporalTransformer(512).parameters()) == 3_149_824


def test_temporal_transformer_is_equivariant_to_permuted_frames() -> None:
    module, x = TemporalTransformer(16, depth=2).eval(), torch.randn(3, 8, 16)
    order = torch.randperm(8)
    torch.testing.assert_close(module(x[:, order]), module(x)[:, order])


def test_two_blocks_have_their_own_weights() -> None:
    module = TemporalTransformer(16, depth=2)
    assert not torch.equal(module.blocks[0].to_q.weight, module.blocks[1].to_q.weight)


def test_dropout_is_that_of_the_released_code() -> None:
    dropouts = [module.p for module in TemporalTransformer(16).modules() if isinstance(module, nn.Dropout)]
    assert dropouts == [0.2, 0.05, 0.05]  # after attention, inside and after the feed-forward part


def test_positions_are_added_and_the_hidden_norm_stands_before_the_feed_forward_part() -> None:
    x = torch.randn(3, 5, 16)
    module = TemporalTransformer(16, positions=8, zero_init=True).eval()
    torch.testing.assert_close(module(x), x + module.positions[:5])
    block = TemporalTransformer(16, hidden_norm=True).eval().blocks[0]
    nn.init.zeros_(block.to_out[0].weight)
    nn.init.zeros_(block.to_out[0].bias)
    _, first, gelu, _, second, _ = block.feed_forward
    torch.testing.assert_close(block(x), x + second(gelu(first(nn.functional.layer_norm(x, (16,))))))


def test_merging_before_or_after_is_the_same_for_one_shot(method: ClipFSAR) -> None:
    episode = random_episode()
    after = method(episode).logits
    method.merge = "before"
    torch.testing.assert_close(method(episode).logits, after)


def test_support_depends_on_its_own_text_alone(method: ClipFSAR) -> None:
    episode = random_episode()
    text = torch.randn(12, 16)
    changed = text.clone()
    changed[episode.classes[1]] = torch.randn(16)
    before, after = method(episode, text).logits, method(episode, changed).logits
    same = [0, 2, 3, 4]
    torch.testing.assert_close(before[:, same], after[:, same])
    assert not torch.allclose(before[:, 1], after[:, 1])


def test_a_query_does_not_see_the_others(method: ClipFSAR) -> None:
    episode = random_episode()
    other = random_episode(seed=0)
    other.query["frames"][1:] = torch.randn_like(other.query["frames"][1:])
    torch.testing.assert_close(method(episode).logits[0], method(other).logits[0])


@pytest.mark.parametrize("shots", [1, 3])
def test_a_batch_of_episodes_scores_as_each_alone(method: ClipFSAR, shots: int) -> None:
    episodes = [random_episode(shots=shots, seed=i) for i in range(4)]
    together = method(Episode.stack(episodes)).logits
    torch.testing.assert_close(together, torch.stack([method(e).logits for e in episodes]))


def test_relabelled_classes_permute_the_logits(method: ClipFSAR, checks: Any) -> None:
    episode = random_episode(shots=2)
    order = torch.tensor([3, 1, 4, 0, 2])  # old label -> new label
    torch.testing.assert_close(method(checks.relabelled(episode, order)).logits[:, order], method(episode).logits)


def test_combined_inference_ends_in_its_two_branches(method: ClipFSAR) -> None:
    episode = random_episode(queries=6)
    few_shot = method(episode).logits
    method.inference, method.text_exponent = "combined", 0.0
    assert torch.equal(method(episode).logits.argsort(-1), few_shot.argsort(-1))
    method.text_exponent = 1.0
    text_only = method(episode).logits
    method.inference = "text"
    torch.testing.assert_close(method(episode).logits, text_only)


@pytest.mark.parametrize(("published", "frames", "unit"), [(True, 8, 8), (False, 8, 8), (True, 5, 8), (False, 5, 5)])
def test_combined_inference_written_out(method: ClipFSAR, published: bool, frames: int, unit: int) -> None:
    episode, text = random_episode(frames=frames), torch.randn(12, 16)
    method.published_fusion, method.text_exponent = published, 0.3
    distance = -method(episode, text).logits
    words = torch.cosine_similarity(episode.query["frames"].mean(1)[:, None], text[episode.classes], dim=-1).softmax(-1)
    method.inference = "combined"
    expected = words**0.3 * ((unit - distance) / unit).softmax(-1) ** 0.7
    torch.testing.assert_close(method(episode, text).logits.exp(), expected)


@pytest.mark.parametrize("epsilon", [0.01, 0.5])
def test_epsilon_is_added_to_the_norms_in_the_loss_alone(epsilon: float) -> None:
    episode, text = random_episode(), torch.randn(12, 16)
    method = make(text, epsilon=epsilon, inference="text")
    pooled = torch.cat([episode.support["frames"], episode.query["frames"]]).mean(1)
    product = pooled.norm(dim=-1)[:, None] * text.norm(dim=-1)
    torch.testing.assert_close(method(episode).class_logits, pooled @ text.T / (product + epsilon))
    plain = torch.cosine_similarity(pooled[5:, None], text[episode.classes], dim=-1)
    torch.testing.assert_close(method.eval()(episode).logits.exp(), plain.softmax(-1))


def test_merging_before_refuses_a_metric_that_wants_every_shot() -> None:
    class EveryShot(OTAM):
        merges_shots = True

    with pytest.raises(ValueError, match="use merge='after'"):
        ClipFSAR(PassThrough(torch.randn(3, 16)), EveryShot(), merge="before")  # type: ignore[arg-type]


def test_an_encoder_without_text_is_refused() -> None:
    encoder = PassThrough(torch.randn(3, 16))
    encoder.text = None  # type: ignore[assignment]
    with pytest.raises(ValueError, match="no text tower"):
        ClipFSAR(encoder, OTAM())  # type: ignore[arg-type]


def test_an_unknown_released_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="not a weight of a released"):
        convert_released({"head.classification.weight": torch.ones(1)})


def test_overfits_one_episode() -> None:
    method, episode = make(torch.randn(12, 16), video_text_weight=0.0).train(), random_episode()
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-3)
    for _ in range(60):
        loss = method.loss(method(episode), episode)["few_shot_loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert method.loss(method.eval()(episode), episode)["loss"] < 0.05


def test_a_head_that_starts_at_zero_is_the_identity() -> None:
    x = torch.randn(2, 8, 16)
    assert torch.equal(TemporalTransformer(16, depth=2, zero_init=True).eval()(x), x)
    assert not torch.equal(TemporalTransformer(16).eval()(x), x)
