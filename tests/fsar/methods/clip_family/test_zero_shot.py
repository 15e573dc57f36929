"""Zero-shot CLIP against open_clip's own classifier."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch.nn.functional import normalize

from episodes.episode import Episode
from fsar.encoders import ClipEncoder
from fsar.methods import ZeroShot
from fsar.text import TEMPLATES, TextBank

NAMES = ["jumping rope", "sky diving", "walking with a dog"]


@pytest.mark.parametrize("templates", ["kinetics", "photo"])
def test_equals_open_clips_classifier(tiny_clip: str, tmp_path: Path, templates: Any) -> None:
    network = open_clip.create_model(tiny_clip).eval()
    torch.save(network.state_dict(), tmp_path / "clip.pt")
    encoder = ClipEncoder(tiny_clip, str(tmp_path / "clip.pt"), quick_gelu=True)
    tokenizer = open_clip.get_tokenizer(tiny_clip)
    theirs = open_clip.build_zero_shot_classifier(network, tokenizer, NAMES, TEMPLATES[templates])  # (d C)
    ours = ZeroShot(encoder, texts=TextBank(templates)).class_text(NAMES)
    torch.testing.assert_close(ours, theirs.T, rtol=0, atol=1e-6)
    same = ClipEncoder(tiny_clip, str(tmp_path / "clip.pt"), quick_gelu=True, templates=TEMPLATES[templates])
    torch.testing.assert_close(ZeroShot(same).class_text(NAMES), ours, rtol=0, atol=1e-6)


def test_logits_are_scaled_cosines(encoder: Any, make_episode: Callable[..., Episode]) -> None:
    episode, method = make_episode(), ZeroShot(encoder)
    logits = method(episode).logits
    text = encoder.text.features[episode.classes]
    for q, clip in enumerate(episode.query["frames"]):
        for c in range(5):
            expected = 100 * torch.cosine_similarity(clip.mean(0), text[c], dim=0)
            torch.testing.assert_close(logits[q, c], expected, rtol=1e-4, atol=1e-4)


def test_support_clips_are_not_looked_at(encoder: Any, make_episode: Callable[..., Episode]) -> None:
    episode, method = make_episode(), ZeroShot(encoder)
    before = method(episode).logits
    episode.support["frames"].zero_()
    assert torch.equal(method(episode).logits, before)


def test_mean_of_frame_logits(encoder: Any, make_episode: Callable[..., Episode]) -> None:
    episode = make_episode()
    logits = ZeroShot(encoder, pooling="logit_mean")(episode).logits
    text = normalize(encoder.text.features[episode.classes], dim=-1)
    per_frame = 100 * normalize(episode.query["frames"], dim=-1) @ text.T  # (q t n)
    torch.testing.assert_close(logits, per_frame.mean(1), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(logits, ZeroShot(encoder)(episode).logits, atol=1e-2)


def test_mean_of_probabilities_over_templates(clip: ClipEncoder) -> None:
    bank = TextBank("action_clip")
    episode = Episode(
        torch.randn(3, 8, 64),
        torch.randn(4, 8, 64),
        torch.arange(3),
        torch.tensor([0, 1, 2, 0]),
        torch.tensor([2, 0, 1]),
        tuple(NAMES),
        torch.tensor(0),
    )
    scores = ZeroShot(clip, texts=bank, ensemble="probability")(episode)
    text = clip.require_text()
    expected = torch.zeros(4, 3)
    for template in TEMPLATES["action_clip"]:
        features = text.encode([template.replace("{}", NAMES[c]) for c in (2, 0, 1)])
        pooled = normalize(episode.query["frames"].mean(1), dim=-1)
        expected += (100 * pooled @ normalize(features, dim=-1).T).softmax(-1) / 16
    torch.testing.assert_close(scores.probabilities, expected, rtol=1e-4, atol=1e-5)


def test_probabilities_need_the_same_texts_for_all(clip: ClipEncoder, tmp_path: Path) -> None:
    (tmp_path / "texts.yaml").write_text(
        "sky diving: [a fall from a plane, a parachute opens]\njumping rope: [a rope]\n"
    )
    bank = TextBank(descriptions=str(tmp_path / "texts.yaml"), kinds=["description"])
    with pytest.raises(ValueError, match=r"as many for each class, found \[1, 2\]"):
        ZeroShot(clip, texts=bank, ensemble="probability").class_text(["sky diving", "jumping rope"])
