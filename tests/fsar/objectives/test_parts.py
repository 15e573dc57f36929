"""What is special to one objective: planted pairs, the path of steps, the background, the anchor."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import combinations, pairwise

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid, normalize

from episodes.annotations.captions import pack_captions
from episodes.clips import Features
from fsar.encoders import ClipEncoder
from fsar.functional import focal_loss
from fsar.fusion import AlignmentMap
from fsar.objectives import (
    AssignmentRule,
    BackgroundText,
    MultiPositiveSigmoid,
    Step,
    SymmetricContrast,
    TrimodalContrast,
    WordMap,
    WordRegionContrast,
    anchor_distance,
    grouping_loss,
    monotone_path,
    multi_positive_sigmoid,
    word_region_contrast,
)
from fsar.objectives.dreamlip import weigh_minmax, weigh_monotone
from fsar.objectives.glipv2 import list_words
from fsar.text import TextBank
from fsar.text.bank import read_descriptions
from fsar.text.packs import find_texts

MakeStep = Callable[..., Step]


def test_soft_positives_empty_columns_and_stacks() -> None:
    logits, soft = torch.randn(2, 4, 5), torch.rand(2, 4, 5)
    soft[..., 2] = 0
    each = [binary_cross_entropy_with_logits(x, p, reduction="sum") / 4 for x, p in zip(logits, soft, strict=True)]
    torch.testing.assert_close(multi_positive_sigmoid(logits, soft), torch.stack(each).mean())
    order = torch.tensor([4, 2, 0, 1, 3])
    torch.testing.assert_close(
        multi_positive_sigmoid(logits[..., order], soft[..., order]), multi_positive_sigmoid(logits, soft)
    )
    assert multi_positive_sigmoid(1e4 * logits, soft > 2).isfinite()


def test_planted_synonyms_are_found_and_no_others() -> None:
    """Ten things with three names each, as in a world where a frozen CLIP sees the thing."""
    things = normalize(torch.randn(10, 64), dim=-1).repeat_interleave(3, 0)
    texts, videos = (normalize(things + s * torch.randn(30, 64), dim=-1) for s in (0.01, 0.05))
    same, thing = torch.eye(30, dtype=torch.bool), torch.arange(30) // 3
    cosines = (videos @ texts.mT, videos @ videos.mT, texts @ texts.mT)
    found = AssignmentRule(0.75, 0.7, 0.8, 0.95)(same, *cosines)
    right = thing[:, None] == thing
    assert bool((found.positive <= right).all())  # precision 1
    assert float((found.positive & ~same).sum()) / float((right & ~same).sum()) > 0.87
    assert found.counts["same"] == 30
    off = AssignmentRule(None, None, None, None)(same, *cosines)
    assert torch.equal(off.positive, same)
    with pytest.raises(ValueError, match="merges all 870 pairs"):
        AssignmentRule(p1=-1.0)(same, *cosines)


def test_captions_of_a_clip_are_positives_of_its_whole_class(make_step: MakeStep) -> None:
    """Against a loop over pairs; with texts of classes beside them every row keeps its owner."""
    lines = [[f"clip {i} shows a thing", f"again {i}"] for i in range(7)]
    step = make_step(captions=torch.stack([pack_captions(some, 2) for some in lines]))
    assert step.text is not None
    classes = normalize(step.text.encode([TextBank().texts(name)[0] for name in step.names]), dim=-1)
    captions = normalize(step.text.encode([text for some in lines for text in some]), dim=-1)
    pairs = [(text, c) for c, text in enumerate(classes)] + [
        (captions[2 * i + j], int(step.rows[i])) for i in range(7) for j in range(2)
    ]
    loss = torch.tensor(0.0)
    for video, row in zip(step.videos(), step.rows.tolist(), strict=True):
        for text, owner in pairs:
            loss = loss - logsigmoid((1 if owner == row else -1) * (10 * video @ text - 10)) / 7
    found = MultiPositiveSigmoid(kinds=["template", "caption"])(step)["loss"]
    torch.testing.assert_close(found, loss)
    alone = step.read_texts(TextBank(), ["caption"])
    assert (alone.features.shape, alone.owners.tolist()) == ((7, 2, 8), step.rows.tolist())
    assert SymmetricContrast(kinds=["caption"])(step)["loss"] > 0
    with pytest.raises(ValueError, match=r"texts of kind 'caption'.*data\.captions"):
        MultiPositiveSigmoid(kinds=["caption"])(make_step())


def test_pretending_never_merges_with_the_thing_itself() -> None:
    rule = AssignmentRule()
    names = ["Pretending to open [something]", "Opening [something]", "opening_something", "Closing [something]"]
    assert rule.denied(names).int().tolist() == [[0, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 0]]
    same, ones = torch.eye(4, dtype=torch.bool), torch.ones(4, 4)
    found = rule(same, ones, ones, ones, rule.denied(names))
    assert found.positive.int().tolist() == [[1, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]]
    assert found.counts["denied"] == 10


def test_merged_classes_are_told(make_step: MakeStep) -> None:
    frames = normalize(torch.randn(3, 8), dim=-1)[torch.tensor([0, 1, 2, 2, 1, 0, 2])]
    near = frames.clone()
    near[torch.tensor([0, 5])] = frames[1]  # a frozen tower cannot tell classes 0 and 1 apart
    rule = AssignmentRule(None, -1.0, 0.9, None, deny=())
    objective = MultiPositiveSigmoid(rule=rule)
    losses = objective(make_step(frozen=Features(frames=near[:, None].expand(-1, 6, -1))))
    assert losses["merged"] == 4
    assert objective.summary() == {"closing a box <- opening a box": 1, "opening a box <- closing a box": 1}
    strict = MultiPositiveSigmoid(rule=AssignmentRule(None, -1.0, 0.9, None))
    assert strict(make_step(frozen=Features(frames=near[:, None].expand(-1, 6, -1))))["merged"] == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Entering from the left edge", "Leaving through the left edge"),
        ("Pushing [something] from left to right", "Pushing [something] from right to left"),
        ("Pulling [something] to the left", "Pulling [something] to the right"),
        ("Putting [something] into [something]", "Putting [something] onto [something]"),
        ("Folding [something]", "Unfolding [something]"),
    ],
)
def test_opposite_classes_are_denied_by_default(one: str, other: str) -> None:
    assert AssignmentRule().denied([one, other]).tolist() == [[False, True], [True, False]]


def test_a_rule_that_would_merge_all_but_what_is_denied_is_refused(make_step: MakeStep) -> None:
    """Denied pairs hid that thresholds say nothing."""
    objective = MultiPositiveSigmoid(rule=AssignmentRule(p1=-1.0))
    step = make_step()
    objective(step)
    objective(step)
    with pytest.raises(ValueError, match=r"p1=-1.0.* merges all 42 pairs .* in 3 steps but those denied: raise"):
        objective(step)
    MultiPositiveSigmoid(rule=AssignmentRule(p1=0.9))(step)
    resumed = MultiPositiveSigmoid(rule=AssignmentRule(p1=-1.0))
    resumed.resumed = True
    for _ in range(4):  # other steps were the first
        resumed(step)


def best_by_trying(similarity: torch.Tensor) -> float:
    m, count = similarity.shape
    ways = [(0, *cut, count) for cut in combinations(range(1, count), m - 1)]
    sums = [sum(float(similarity[j, a:b].sum()) for j, (a, b) in enumerate(pairwise(w))) for w in ways]
    return max(sums)


def test_the_path_is_the_best_of_all_and_in_order() -> None:
    similarity = torch.randn(3, 4, 7, dtype=torch.float64)
    path = monotone_path(similarity)
    assert path[:, 0].tolist() == [0, 0, 0]
    assert path[:, -1].tolist() == [3, 3, 3]
    assert bool(((path.diff(dim=-1) == 0) | (path.diff(dim=-1) == 1)).all())
    for one, steps in zip(similarity, path, strict=True):
        assert float(one.gather(0, steps[None]).sum()) == pytest.approx(best_by_trying(one))
    weights = weigh_monotone(similarity)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 4, dtype=torch.float64))


def test_fewer_steps_in_a_class_are_left_out() -> None:
    similarity = torch.randn(2, 4, 7)
    counts = torch.tensor([2, 4])
    path = monotone_path(similarity, counts)
    assert torch.equal(path[0], monotone_path(similarity[0, :2]))
    assert weigh_monotone(similarity, counts)[0, 2:].abs().max() == 0
    with pytest.raises(ValueError, match="4 steps in order cannot share 3 frames"):
        monotone_path(similarity[..., :3])
    assert monotone_path(similarity[..., :4])[1].tolist() == [0, 1, 2, 3]


def test_even_weights_where_tokens_are_alike() -> None:
    torch.testing.assert_close(weigh_minmax(torch.ones(2, 5)), torch.full((2, 5), 0.2))
    x = torch.ones(2, 5, requires_grad=True)
    (weigh_minmax(x) * torch.randn(2, 5)).sum().backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())


def test_clips_of_a_class_are_no_negatives() -> None:
    texts = normalize(torch.randn(2, 3, 8), dim=-1)
    rows = torch.tensor([0, 1, 1])
    perfect = grouping_loss(texts[rows], texts, 1000.0, rows)
    assert float(perfect) < 1e-4


def test_a_word_of_several_classes_is_one_column(make_step: MakeStep) -> None:
    assert list_words("Pushing [something] from left to right") == ["pushing", "left", "right"]
    assert list_words("to the") == ["to the"]
    objective = WordRegionContrast()
    assert objective.list_columns("opening a box") == ["opening", "box"]
    logits = 50 * torch.tensor([[1.0, 1, 0], [0, 1, 1]])
    positive = logits > 0
    assert float(word_region_contrast(logits, positive)) == pytest.approx(0.5 * (0.6931 + 0.6931 / 3), abs=1e-3)


def test_the_anchor_of_what_did_not_move_is_zero() -> None:
    x = torch.randn(3, 4, 8, requires_grad=True)
    frozen = x.detach().clone().requires_grad_()
    loss = anchor_distance(2 * x, frozen)
    assert loss.item() < 1e-5
    anchor_distance(x + 1, frozen).backward()
    assert frozen.grad is None


def test_the_background_learns_what_is_of_no_class() -> None:
    """Two known and two unknown directions: after training the background is likelier for the unknown ones."""
    torch.manual_seed(1)
    texts = torch.eye(4, 8)
    objective = BackgroundText(8)
    optimizer = torch.optim.Adam(objective.parameters(), 0.05)

    class Fixed:
        def encode(self, said: list[str]) -> torch.Tensor:
            return texts[[int(s[-1]) for s in said]]

        def fits(self, said: str) -> bool:
            return True

    for _ in range(60):
        labels = torch.randint(4, (12,))
        frames = (texts[labels] + 0.05 * torch.randn(12, 8))[:, None]
        loss = objective(Step(Features(frames=frames), labels, ("0", "1", "2", "3"), Fixed()))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    unlike = objective.unlike_all(texts, texts[:2])
    assert float(unlike[2:].min()) > 0.7 > 0.3 > float(unlike[:2].max())


def test_clips_without_sound_stay_out_of_its_pairs(make_step: MakeStep) -> None:
    objective, step = TrimodalContrast(), make_step()
    silent = step.features["sound"].clone()
    silent[2] = 0
    some = objective(make_step(features=Features({**step.features, "sound": silent})))["loss"]
    other = step.features["sound"].clone()
    assert not torch.equal(some, objective(step)["loss"])
    none = objective(make_step(features=Features({**step.features, "sound": 0 * other})))["loss"]
    only = trimodal_of_images(objective, step)
    torch.testing.assert_close(none, only)


def trimodal_of_images(objective: TrimodalContrast, step: Step) -> torch.Tensor:
    from fsar.objectives import both_directions

    texts = step.texts(objective.texts, objective.kinds).mean()
    logits = objective.scales["it"](step.videos() @ texts.mT)
    return both_directions(logits, step.rows[:, None] == torch.arange(len(texts)))


def test_the_word_map_has_the_focal_loss_of_its_map() -> None:
    features = Features(frames=torch.rand(2, 3, 64))
    step = Step(features, torch.tensor([1, 0]), ("sit", "jump"), ClipEncoder("fsar-tiny", "shapes").text)
    objective = WordMap(AlignmentMap(64))
    words = normalize(step.tower.encode(["jump", "sit"]).float(), dim=-1)
    logits = objective.map(normalize(features["frames"], dim=-1), words)
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0]])[:, None].expand(2, 3, 2)
    torch.testing.assert_close(objective(step)["loss"], focal_loss(logits, target) / 6)


def test_mirrored_classes_of_the_packs_are_denied_by_default() -> None:
    names = [name for pack in ("ssv2", "shapes") for name in read_descriptions(find_texts(pack)) if "left" in name]
    assert len(names) > 10
    for one in names:
        turned = re.sub("left|right", lambda found: {"left": "right", "right": "left"}[found[0]], one)
        assert AssignmentRule().denied([one, turned])[0, 1], one
