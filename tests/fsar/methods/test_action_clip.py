"""ActionCLIP: its heads and loss against the released code, and its two uses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from episodes.clips import Streams
from episodes.episode import Episode
from fsar.encoders import ClipEncoder
from fsar.methods import ActionCLIP
from fsar.methods.action_clip import convert_released, labelled_batch
from fsar.objectives import both_directions, multi_positive_kl
from fsar.temporal import ClassTokenTransformer, SequenceLSTM, SequenceTransformer, ShiftConvolution
from fsar.text import TextBank, encode_whole

Tiny = Callable[..., ClipEncoder]
Pixels = Callable[..., Episode]
HEADS: dict[str, Callable[[], nn.Module]] = {
    "meanP": nn.Identity,
    "Conv_1D": lambda: ShiftConvolution(16, layout="published"),
    "LSTM": lambda: SequenceLSTM(16),
    "Transf": lambda: SequenceTransformer(16, depth=6, positions=16, heads=1),
    "Transf_cls": lambda: ClassTokenTransformer(16),
}
Reference = Callable[..., dict[str, Tensor]]


@pytest.mark.parametrize("name", HEADS)
def test_heads_reproduce_the_released_code(reference: Reference, name: str) -> None:
    case = reference("action_clip", name)
    released = {f"fusion.{k.removeprefix('weight/')}": v for k, v in case.items() if k.startswith("weight/")}
    weights = convert_released(released, positions=name == "Transf")
    head = HEADS[name]().eval()
    head.load_state_dict({k.removeprefix("head."): v for k, v in weights.items()}, strict=True)
    video = head(case["frames"]).mean(-2)
    torch.testing.assert_close(video, case["video"], rtol=1e-5, atol=1e-5)


def test_loss_reproduces_the_released_code(reference: Reference) -> None:
    case = reference("action_clip", "kl_loss")
    video, text = (nn.functional.normalize(case[n], dim=-1) for n in ("video", "text"))
    labels = case["labels"]
    logits = case["logit_scale"].float() * video @ text.T
    positive = labels[:, None] == labels
    for name, value in (
        ("video_loss", multi_positive_kl(logits, positive, 10.0)),
        ("text_loss", multi_positive_kl(logits.T, positive.T, 10.0)),
        ("loss", both_directions(logits, positive, 10.0)),
    ):
        torch.testing.assert_close(value, case[name].float(), rtol=1e-5, atol=1e-5)


def test_the_loss_is_zero_at_its_target_and_infonce_without_repetition() -> None:
    positive = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    target = 10.0 * positive
    assert float(multi_positive_kl(target.log_softmax(-1), positive, 10.0)) < 1e-6
    logits = torch.randn(4, 4)
    expected = nn.functional.cross_entropy(logits, torch.arange(4))
    torch.testing.assert_close(multi_positive_kl(logits, torch.eye(4).bool()), expected)
    torch.testing.assert_close(
        both_directions(logits, torch.eye(4).bool()), both_directions(logits.T, torch.eye(4).bool())
    )
    lonely = torch.tensor([[True, False], [False, False]])
    torch.testing.assert_close(multi_positive_kl(logits[:2, :2], lonely), -logits[0, :2].log_softmax(-1)[0])


@pytest.mark.parametrize(
    ("head", "count"),
    [
        (ShiftConvolution, 1_536),
        (SequenceLSTM, 2_101_248),
        (lambda d: SequenceTransformer(d, depth=6), 18_953_728),
        (ClassTokenTransformer, 18_915_328 + 10 * 512),
    ],
)
def test_published_number_of_weights(head: Callable[[int], nn.Module], count: int) -> None:
    assert sum(p.numel() for p in head(512).parameters()) == count


def test_the_convolution_starts_as_a_shift_of_the_frames() -> None:
    x = torch.randn(2, 5, 8)
    shifted = x.clone()
    shifted[:, 1:, :2], shifted[:, 0, :2] = x[:, :-1, :2], 0
    shifted[:, :-1, -2:], shifted[:, -1, -2:] = x[:, 1:, -2:], 0
    torch.testing.assert_close(ShiftConvolution(8)(x), shifted + x)
    assert not torch.allclose(ShiftConvolution(8, layout="published")(x), shifted + x)


@pytest.mark.parametrize("name", HEADS)
def test_only_the_mean_forgets_the_order_of_the_frames(name: str) -> None:
    head = HEADS[name]().eval()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    x = torch.randn(2, 8, 16)
    order = torch.randperm(8)
    same = torch.allclose(head(x[:, order]).mean(-2), head(x).mean(-2), rtol=1e-4, atol=1e-5)
    assert same == (name == "meanP")


def test_a_transformer_with_zeroed_ends_starts_as_the_mean() -> None:
    x = torch.randn(3, 8, 64)
    head = SequenceTransformer(64, depth=2, zero_init=True)
    cosine = torch.cosine_similarity(head(x).mean(-2), x.mean(-2), dim=-1)
    assert float(cosine.detach().min()) > 0.99


def test_test_time_averages_probabilities_over_templates(tiny: Tiny, pixels: Pixels) -> None:
    method, episode = ActionCLIP(tiny(), classify_by="text").eval(), pixels()
    names = [episode.class_names[c] for c in episode.classes]
    text = method.encoder.require_text()
    video = nn.functional.normalize(method.encode(episode.query)["frames"].mean(1), dim=-1)
    expected = torch.zeros(6, 3)
    for template in method.texts.templates:
        words = nn.functional.normalize(text.encode([template.replace("{}", name) for name in names]), dim=-1)
        expected += (100 * video @ words.T).softmax(-1) / 16
    with torch.no_grad():
        scores = method(episode)
        torch.testing.assert_close(scores.probabilities, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(method.classify(episode.query, names), expected, rtol=1e-4, atol=1e-5)
    assert len(method.texts.templates) == 16


def test_both_ends_in_its_two_branches(tiny: Tiny, pixels: Pixels) -> None:
    method, episode = ActionCLIP(tiny()).eval(), pixels(queries=4)
    with torch.no_grad():
        expected = {}
        for branch in ("support", "text"):
            method.classify_by = branch  # type: ignore[assignment]
            expected[branch] = method(episode).probabilities
        method.classify_by = "both"
        for exponent, branch in ((0.0, "support"), (1.0, "text")):
            method.text_exponent = exponent
            torch.testing.assert_close(method(episode).probabilities, expected[branch])


def test_sentences_are_drawn_of_the_kinds_that_are_asked_for(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was trained on templates whatever its texts were, and tested by them."""
    method, drawn = ActionCLIP(tiny(), texts=TextBank(kinds=["name"])), list[str]()
    tower = method.encoder.require_text()
    monkeypatch.setattr(tower, "encode", lambda texts: (drawn.extend(texts), torch.zeros(len(texts), 4))[1])
    task: Any = SimpleNamespace(number=torch.tensor([3]), class_names=("wave a hand", "jump"))
    method.drawn_text(torch.tensor([0, 1, 1]), task)
    assert drawn == ["wave a hand", "jump", "jump"]


def test_classes_of_few_texts_say_them_again(tiny: Tiny, tmp_path: Path) -> None:
    """A text that is not there counted as one whose cosine is 0."""
    (tmp_path / "steps.yaml").write_text("wave: {step: [a hand is up, it sways]}\njump: {step: [knees bend, up, down]}")
    method = ActionCLIP(tiny(), texts=TextBank(descriptions=str(tmp_path / "steps.yaml"), kinds=["step"])).eval()
    expected = method.encoder.require_text().encode(
        ["a hand is up", "it sways", "a hand is up", "knees bend", "up", "down"]
    )
    torch.testing.assert_close(method.class_text(["wave", "jump"]), normalize(expected, dim=-1).unflatten(0, (2, 3)))


def test_a_long_sentence_is_split_in_training_as_in_evaluation(tiny: Tiny, tmp_path: Path) -> None:
    long = "a hand goes up and down. " * 8
    (tmp_path / "texts.yaml").write_text(f"wave: ['{long}']\n")
    bank = TextBank(descriptions=str(tmp_path / "texts.yaml"), kinds=["description"])
    method = ActionCLIP(tiny(tune=1), texts=bank).train()
    task: Any = SimpleNamespace(number=torch.tensor([3]), class_names=("wave",))
    with pytest.warns(UserWarning, match="split into"):
        (found,) = method.drawn_text(torch.tensor([0]), task)
    with pytest.warns(UserWarning, match="split into"):
        expected = encode_whole(method.encoder.require_text(), [long.strip()])[0]
    torch.testing.assert_close(found, expected)


def test_sentences_are_drawn_by_the_seed_and_the_number_of_the_episode(tiny: Tiny, pixels: Pixels) -> None:
    method, episode = ActionCLIP(tiny(tune=1)).train(), pixels()
    first, again = (method(episode).class_logits for _ in range(2))
    assert torch.equal(first, again)
    other = Episode(**{**vars(episode), "number": torch.tensor(7)})
    assert not torch.allclose(method(other).class_logits, first)
    torch.manual_seed(5)
    assert not torch.allclose(method(episode).class_logits, first)


def test_a_labelled_batch_gives_the_loss_of_all_its_pairs(tiny: Tiny) -> None:
    method = ActionCLIP(tiny(tune=1, tune_text=True)).train()
    clips, labels = torch.rand(5, 4, 3, 32, 32), torch.tensor([3, 1, 3, 3, 1])
    episode = labelled_batch(Streams(frames=clips), labels, [f"class {i}" for i in range(5)], number=2)
    assert episode.classes.tolist() == [1, 3]
    assert torch.equal(episode.support["frames"], clips[[1, 0]])
    assert torch.equal(episode.query["frames"], clips[[2, 3, 4]])
    assert episode.query_classes.tolist() == [3, 3, 1]
    scores = method(episode)
    assert scores.class_logits is not None
    same = torch.tensor([1, 3, 3, 3, 1])
    expected = both_directions(scores.class_logits, same[:, None] == same, 10.0)
    loss = method.loss(scores, episode)["loss"]
    torch.testing.assert_close(loss, expected)
    loss.backward()
    text = [p for p in method.encoder.require_text().parameters() if p.requires_grad]
    assert sum(float(p.grad.abs().sum()) for p in text if p.grad is not None) > 0
    assert method.log_scale.grad is not None


def test_a_few_shot_term_is_added_when_asked_for(tiny: Tiny, pixels: Pixels) -> None:
    method, episode = ActionCLIP(tiny(tune=1), few_shot_weight=2.0).train(), pixels()
    losses = method.loss(method(episode), episode)
    torch.testing.assert_close(losses["loss"], losses["video_text_loss"] + 2 * losses["few_shot_loss"])
