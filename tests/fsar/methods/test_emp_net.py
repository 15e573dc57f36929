"""EMP-Net: released outputs, sizes, what is read of the tower, and what must hold for what it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from open_clip.transformer import VisionTransformer
from torch import nn

from episodes.clips import Features, Streams
from episodes.episode import Episode
from fsar.alignment import TRX
from fsar.methods import EMPNet
from fsar.methods.emp_net import PostReasoning, convert_released, known_classes, text_similarities

LAYERS = ("layer 4", "layer 8", "layer 12")
LEVELS = ("token", "frame", "patch")


def plain_tower(checks: Any, channels: int) -> Any:
    """An encoder whose closing norm and projection change nothing: tests give projected tokens."""
    encoder = checks.NoEncoder(channels)
    encoder.visual = VisionTransformer(8, 4, channels, 1, 2, 1.0, output_dim=channels)
    encoder.visual.ln_post, encoder.visual.proj = nn.Identity(), nn.Parameter(torch.eye(channels), False)
    return encoder


def without_tower(checks: Any, channels: int) -> Any:
    encoder = checks.NoEncoder(channels)
    encoder.visual, encoder.identity = nn.Identity(), "nothing"
    return encoder


def stored_layers(arrays: dict[str, Any], role: str) -> tuple[Features, list[torch.Tensor]]:
    """Tokens of the clips of a role, and the leaves that gradients reach."""
    leaves = [arrays[f"{role}_layer{i}"].clone().requires_grad_() for i in range(3)]
    clips = (x.unflatten(0, (-1, int(arrays["frames"]))) for x in leaves)
    return Features(dict(zip(LAYERS, clips, strict=True))), leaves


@pytest.mark.parametrize("case", ["case0", "case1", "case2", "case3"])
def test_reproduces_the_released_code(case: str, reference: Any, checks: Any) -> None:
    """Probabilities of each level, by clips and by text, their mean and loss; gradients of all tokens."""
    arrays = reference("emp_net", case)
    merge = "before" if arrays["merge_before"] else "after"
    method = EMPNet(plain_tower(checks, 32), merge=merge, top_patches=5, published_first_five=True)
    weights = convert_released(checks.weights(reference("emp_net")))
    own = [f"encoder.{name}" for name in method.encoder.state_dict()]
    assert method.load_state_dict(weights, strict=False) == (own, [])
    checks.without_dropout(method).train()
    (support, leaves), (query, others) = (stored_layers(arrays, role) for role in ("support", "query"))
    frames = {role: torch.zeros(len(arrays[f"{role}_labels"]), 1) for role in ("support", "query")}
    episode = replace(checks.stored_episode({**arrays, **frames}), support=support, query=query)
    scores = checks.scores(method, episode, arrays["text"])
    losses = method.loss(scores, episode)
    losses["loss"].backward()
    found = {f"{level}_logits": scores.by_clips[level] for level in LEVELS}
    found |= {f"{level}_class_logits": scores.by_text[level] for level in LEVELS}
    found |= {"probabilities": scores.logits.exp(), "loss": losses["loss"]}
    found |= {f"grad_support_layer{i}": x.grad for i, x in enumerate(leaves)}
    found |= {f"grad_query_layer{i}": x.grad for i, x in enumerate(others)}
    expected = {name: x for name, x in arrays.items() if name in found}
    assert len(expected) >= 7
    checks.agree(found, expected)
    logits = checks.scores(method.eval(), episode, arrays["text"]).logits
    checks.agree({"probabilities": logits.exp()}, {"probabilities": arrays["probabilities"]})


def test_the_sizes_are_the_papers() -> None:
    with torch.device("meta"):
        head = PostReasoning(512)
    assert sum(p.numel() for p in head.fusion["1"].parameters()) == 1_183_360
    assert sum(p.numel() for p in head.joined["patch"].parameters()) == 657_536
    assert sum(p.numel() for p in head.parameters()) == 7_495_296


def test_nothing_of_the_tower_is_trained_and_stored_tokens_give_the_same(three_blocks: Any) -> None:
    method = EMPNet(three_blocks(), layers=(1, 2, 3), top_patches=16).eval()
    assert {name.split(".")[0] for name, p in method.named_parameters() if p.requires_grad} == {"head"}
    clips = [torch.randint(256, (count, 4, 3, 32, 32), dtype=torch.uint8) for count in (6, 4)]
    labels = torch.arange(3).repeat_interleave(2), torch.tensor([0, 1, 2, 0])
    names = ("one", "two", "three")
    episode = Episode(*(Streams(frames=x) for x in clips), *labels, torch.arange(3), names, torch.tensor(0))
    stored = [method.encode(x) for x in (episode.support, episode.query)]
    assert stored[0].keys() == {"frames", "layer 1", "layer 2", "layer 3"}
    again = replace(episode, support=stored[0], query=stored[1])
    torch.testing.assert_close(method(again).logits, method(episode).logits)
    torch.testing.assert_close(method(episode).logits.exp().sum(-1), torch.ones(4))


def test_the_released_code_knows_the_texts_of_five_clips_alone(checks: Any) -> None:
    episode = checks.random_episode(8, ways=3, shots=1)
    assert known_classes(episode).tolist() == [0, 1, 2]
    labels, classes = torch.tensor([1, 1, 2, 0, 0, 2]), torch.tensor([2, 3, 4])
    shuffled = replace(checks.random_episode(8, ways=3, shots=2), support_labels=labels, classes=classes)
    assert known_classes(shuffled).tolist() == [0, 3, 4]  # label 0 is not among the first three
    sorted_ones = checks.random_episode(8, ways=3, shots=5)
    found = {tuple(known_classes(replace(sorted_ones, number=torch.tensor(n))).tolist()) for n in range(20)}
    assert len(found) > 2  # drawn by the episode's number
    assert torch.equal(known_classes(sorted_ones), known_classes(sorted_ones))


def test_similarities_of_levels_written_out() -> None:
    levels = {"token": torch.randn(2, 3, 8), "frame": torch.randn(2, 3, 8), "patch": torch.randn(2, 3, 6, 8)}
    text = torch.randn(4, 8)
    found = text_similarities(levels, text, frames=2, patches=3)

    def cosine(x: Any, y: Any) -> float:
        return float(x @ y / (x.norm() * y.norm() + 0.01))

    clip, word = 1, 2
    by_frame = sorted(cosine(x, text[word]) for x in levels["frame"][clip])
    by_place = sorted(sum(cosine(levels["patch"][clip, t, p], text[word]) for t in range(3)) / 3 for p in range(6))
    token = sum(cosine(x, text[word]) for x in levels["token"][clip]) / 3
    expected = {"token": token, "frame": sum(by_frame[-2:]) / 2, "patch": sum(by_place[-3:]) / 3}
    assert {level: float(x[clip, word]) for level, x in found.items()} == pytest.approx(expected, abs=1e-6)


def test_training_draws_a_template_and_evaluation_takes_their_mean(three_blocks: Any) -> None:
    method = EMPNet(three_blocks(templates=["a {}", "the {}"]), layers=(1, 2, 3))
    mean = method.eval().class_text(["dog"])
    drawn = torch.stack([method.train().class_text(["dog"]) for _ in range(20)])
    assert len(drawn.unique(dim=0)) == 2
    torch.testing.assert_close(drawn.unique(dim=0).mean(0), mean)


def test_what_does_not_fit_is_refused(three_blocks: Any, checks: Any) -> None:
    with pytest.raises(ValueError, match=r"norm and projection, which a ViT of open_clip has .*, found Identity"):
        EMPNet(without_tower(checks, 16))
    with pytest.raises(ValueError, match=r"layer 8, layer 12: the tower has 3 blocks"):
        EMPNet(three_blocks(), layers=(1, 8, 12))
    with pytest.raises(ValueError, match="EMPNet compares the means of shots, but TRX"):
        EMPNet(plain_tower(checks, 16), TRX(16))
    with pytest.raises(ValueError, match=r"'fc.weight' is not a weight of a released checkpoint of EMP-Net"):
        convert_released({"fc.weight": torch.ones(1)})
