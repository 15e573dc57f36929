"""Task-Adapter++: towers and head against the released code, sizes, what is transductive in it and what is not."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from episodes.clips import Streams
from episodes.datamodule import EpisodicDataModule
from episodes.splits import Folder
from fsar.adapters import OrderAdapter, TaskAdapter, Tower
from fsar.encoders import Adapted, ClipEncoder
from fsar.evaluation.conformance import TriedMethod, check, query_labels, try_property
from fsar.evaluation.results import texts_record
from fsar.functional import cosine
from fsar.methods import TaskAdapterPlusPlus
from fsar.methods.task_adapter_pp import convert_released, own_class_product, semantic_scores, stage_features
from fsar.shots import shot_mean
from fsar.training.joining import check_classes, check_queries, check_said

MODEL = {
    "embed_dim": 24,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 16, "patch_size": 4, "width": 32, "layers": 3, "head_width": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2},
}


def make_encoder(folder: Path, embed: int = 24, words: int = 49408, **options: Any) -> Adapted:
    content = {**MODEL, "embed_dim": embed, "text_cfg": {**MODEL["text_cfg"], "vocab_size": words}}  # type: ignore[dict-item]
    path = folder / f"fsar-test-task-{embed}-{words}.json"
    path.write_text(json.dumps(content))
    return Adapted(ClipEncoder(str(path), None), TaskAdapter(**options), last=2)


def released_names(arrays: dict[str, Any], kind: str = "weight") -> dict[str, torch.Tensor]:
    """Both towers as one model saves them."""
    visual = {f"visual.{n.removeprefix(f'visual/{kind}/')}": x for n, x in arrays.items() if f"visual/{kind}/" in n}
    return visual | {n.removeprefix(f"text/{kind}/"): x for n, x in arrays.items() if f"text/{kind}/" in n}


def test_the_visual_tower_is_the_released(reference: Any, checks: Any, tmp_path: Path) -> None:
    arrays = reference("task_adapter_pp")
    if "visual/frames" not in arrays:
        pytest.skip("the towers are not in the cut")
    encoder = make_encoder(tmp_path, across_clips=True)
    weights = convert_released(released_names(arrays), 2, 1)
    ours = {n.removeprefix("encoder.visual."): x for n, x in weights.items() if n.startswith("encoder.visual.")}
    encoder.visual.load_state_dict(ours)
    encoder.normalise = lambda frames: frames  # type: ignore[method-assign]  # stored as the tower gets them
    frames = arrays["visual/frames"]
    encoder._checked = lambda clips: clips["frames"]  # type: ignore[method-assign]
    found = encoder.features(Streams(frames=frames))["frames"]
    (found * arrays["visual/upstream"]).sum().backward()
    gradients = {f"encoder.visual.{n}": p.grad for n, p in encoder.visual.named_parameters() if p.grad is not None}
    expected = {n: x for n, x in arrays.items() if n.startswith("visual/grad_weight/")}
    renamed = convert_released({n.replace("visual/grad_weight/", "visual."): x for n, x in expected.items()}, 1, 1)
    assert len(renamed) == len(expected) > 10
    checks.agree({"features": found, **gradients}, {"features": arrays["visual/features"], **renamed})


def test_the_text_tower_is_the_released(reference: Any, checks: Any, tmp_path: Path) -> None:
    arrays = reference("task_adapter_pp")
    if "text/tokens" not in arrays:
        pytest.skip("the towers are not in the cut")
    tower: Any = make_encoder(tmp_path, embed=32, words=64).require_text().tower
    weights = convert_released(released_names(arrays), 2, 1)
    tower.load_state_dict({n.removeprefix("encoder.text.tower."): x for n, x in weights.items() if ".text." in n})
    order = OrderAdapter(32, 1)
    order.load_state_dict({n.removeprefix("order."): x for n, x in weights.items() if n.startswith("order.")})
    found = order(tower, arrays["text/tokens"][None])[0]
    (found * arrays["text/upstream"]).sum().backward()
    part = order.order[0]
    gradients = {"D_fc1": part.down, "D_fc2": part.up}
    named = {
        f"text/grad_weight/transformer.resblocks.1.sub3_adapter.{n}.{kind}": getattr(layer, kind).grad
        for n, layer in gradients.items()
        for kind in ("weight", "bias")
    }
    expected = {n: x for n, x in arrays.items() if n.startswith("text/grad_weight/")}
    checks.agree({"text/embeddings": found, **named}, {"text/embeddings": arrays["text/embeddings"], **expected})


@pytest.mark.parametrize("case", ["head0", "head1"])
def test_the_head_is_the_released(case: str, reference: Any, checks: Any) -> None:
    arrays = reference("task_adapter_pp", case)
    support, query, steps = (arrays[n].clone().requires_grad_() for n in ("support", "query", "sub_action_texts"))
    ways = len(steps)
    labels = torch.arange(ways).repeat_interleave(len(support) // ways)
    visual = cosine(query.mean(-2), shot_mean(support.mean(-2), labels, ways))
    semantic = semantic_scores(stage_features(query, None, together=True), steps)
    product = own_class_product(visual, semantic, torch.arange(ways))
    loss = cross_entropy(64 * product, torch.arange(ways))
    gradients = zip(("support", "query", "text"), torch.autograd.grad(loss, (support, query, steps)), strict=True)
    found = {"visual": visual, "semantic": semantic, "product": product, "loss": loss}
    found |= {f"grad_{n}": x for n, x in gradients}
    checks.agree(found, {n: x for n, x in arrays.items() if n in found})
    order = torch.randperm(ways)
    mixed = own_class_product(visual[order], semantic[:, order], order)
    torch.testing.assert_close(mixed, product[order])
    with pytest.raises(ValueError, match="needs one query of each"):
        own_class_product(visual, semantic, torch.zeros(ways, dtype=torch.int64))


def test_the_sizes_are_the_papers() -> None:
    tower = Tower(width=768, heads=12, layers=12, hidden=3072, grid=(14, 14), channels=512)
    with torch.device("meta"):
        part = sum(p.numel() for p in TaskAdapter().part(0, tower).parameters())
        order = sum(p.numel() for p in OrderAdapter(512, 1).parameters())
    positions = 8 * 768
    assert order == 131_712
    assert (2 * part + positions, 6 * part + positions) == (2_373_120, 7_107_072)
    assert 2 * part + positions + 8 * order == 3_426_816
    assert 6 * part + positions + 2 * order == 7_370_496


@pytest.mark.parametrize("start", [False, True])
def test_the_tower_is_clip_at_first_unless_published(start: bool, tmp_path: Path) -> None:
    torch.manual_seed(1)
    plain = ClipEncoder(str(make_path(tmp_path)), None)
    torch.manual_seed(1)
    encoder = make_encoder(tmp_path, published_start=start)
    encoder.visual.load_state_dict(
        {re.sub(r"resblocks\.(\d)\.", r"resblocks.\1.block.", n): x for n, x in plain.visual.state_dict().items()},
        strict=False,
    )
    clips = torch.randint(256, (2, 8, 3, 16, 16), dtype=torch.uint8)
    assert torch.allclose(encoder(clips), plain(clips), atol=1e-5) != start


def make_path(folder: Path) -> Path:
    path = folder / "fsar-test-task-plain.json"
    path.write_text(json.dumps(MODEL))
    return path


@pytest.mark.parametrize(
    "options", [{}, {"published_stages": True}, {"across": True}, {"across": True, "published_stages": True}]
)
def test_what_sees_other_queries_says_so(options: dict[str, bool], tmp_path: Path) -> None:
    encoder = make_encoder(tmp_path, across_clips=options.get("across", False), published_start=True)
    method = TaskAdapterPlusPlus(encoder, 1, published_stages=options.get("published_stages", False))
    for parameter in method.parameters():
        parameter.data.add_(0.3 * torch.randn_like(parameter))
    lines: list[str] = []
    assert check(TriedMethod(method), lines.append) == 0, lines
    assert method.sees_other_queries == bool(options)
    assert any(line.endswith("marked: it sees other queries") for line in lines) == bool(options)


@pytest.mark.parametrize("across", [False, True])
def test_the_released_product_is_asked_what_it_can_score_and_told(across: bool, tmp_path: Path) -> None:
    encoder = make_encoder(tmp_path, across_clips=across, published_start=True)
    method = TaskAdapterPlusPlus(encoder, 1, published_stages=across, published_product=True)
    for parameter in method.parameters():
        parameter.data.add_(0.3 * torch.randn_like(parameter))
    lines: list[str] = []
    assert check(TriedMethod(method), lines.append) == 0, lines
    notes = [line.split("\n")[1].strip() for line in lines if "\n" in line]
    assert notes == [
        "marked: it sees other queries; none was added or removed: it needs one of each class",
        "marked: permuting the labels of the queries moves scores",
        "not asked: it needs one query of each class",
    ]
    method.reads_query_labels = False
    held, note = try_property(query_labels, TriedMethod(method))
    assert not held
    assert "permuting the labels of the queries moves scores by" in note
    check_queries(method, 1)
    with pytest.raises(ValueError, match=r"data.test_queries is 3, .* as configured needs one query of each class"):
        check_queries(method, 3)
    data = EpisodicDataModule(Folder(tmp_path, ["a"], [], ["b"]), queries=2, test_queries=1)
    with pytest.raises(ValueError, match=r"data.queries is 2, .* set data.queries to 1"):
        check_classes(method, [], data, "fit")


def test_a_class_of_two_steps_is_told_before_any_video_is_read(tmp_path: Path) -> None:
    (tmp_path / "steps.yaml").write_text("a: {step: [x, y, z]}\nb: {step: [x, y]}\n")
    method = TaskAdapterPlusPlus(make_encoder(tmp_path), 1, str(tmp_path / "steps.yaml"))
    check_said(method, ["a"])
    with pytest.raises(ValueError, match="gives 2 of the kind step for 'b'"):
        check_said(method, ["a", "b"])


def test_the_released_product_reads_the_classes_of_the_queries(tmp_path: Path, checks: Any) -> None:
    method = TaskAdapterPlusPlus(make_encoder(tmp_path), 1, published_product=True).eval()
    assert method.sees_other_queries
    assert method.reads_query_labels
    episode = checks.random_episode(24, ways=3, queries=3, frames=8)
    text = torch.randn(5, 3, 24)
    logits = checks.scores(method, episode, text).logits
    turned = replace(episode, query_labels=torch.tensor([2, 0, 1]))
    assert not torch.allclose(checks.scores(method, turned, text).logits, logits)


def test_steps_of_a_file_are_three_each_and_stand_in_results(tmp_path: Path) -> None:
    file = tmp_path / "steps.yaml"
    file.write_text(
        "dive: {step: [a, b, c, d, e]}\nwalk: {step: [f, g, h, i]}\nrun: {step: [k, l, m]}\nsit: {step: [n]}\n"
    )
    method = TaskAdapterPlusPlus(make_encoder(tmp_path), 1, steps=str(file))
    found = [method.steps_of(name) for name in ("dive", "walk", "run")]
    assert found == [["a", "b, c", "d, e"], ["f", "g", "h, i"], ["k", "l", "m"]]
    assert method.class_text(["dive", "walk"]).shape == (2, 3, 24)
    assert not torch.allclose(method.class_text(["run"]), TaskAdapterPlusPlus(method.encoder, 1).class_text(["run"]))
    record = texts_record(method)
    assert (record["texts"], record["text_kinds"]) == (str(file), ["step"])
    with pytest.raises(ValueError, match=r"steps.yaml gives 1 of the kind step for 'sit'; Task-Adapter\+\+ needs 3"):
        method.class_text(["sit"])
    with pytest.raises(ValueError, match=r"no text of kind step about the class 'fall' in .*steps.yaml"):
        method.class_text(["fall"])


def test_what_does_not_fit_is_refused(tmp_path: Path, checks: Any) -> None:
    with pytest.raises(ValueError, match="text_blocks=3, but the text tower has 2 blocks"):
        TaskAdapterPlusPlus(make_encoder(tmp_path), 3)
    method = TaskAdapterPlusPlus(make_encoder(tmp_path), 1).eval()
    with pytest.raises(ValueError, match="lays three steps over 8 frames, but the clips have 5"):
        checks.scores(method, checks.random_episode(24), torch.randn(5, 3, 24))
    with pytest.raises(ValueError, match=r"'fc.weight' is not a weight of a released checkpoint of Task-Adapter"):
        convert_released({"fc.weight": torch.ones(1)})


def test_released_names_are_ours(reference: Any, tmp_path: Path) -> None:
    arrays = reference("task_adapter_pp")
    if "text/tokens" not in arrays:
        pytest.skip("the towers are not in the cut")
    method = TaskAdapterPlusPlus(make_encoder(tmp_path), 1)
    assert convert_released(released_names(arrays), 2, 1).keys() == method.state_dict().keys()
