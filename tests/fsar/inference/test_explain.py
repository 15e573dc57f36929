"""Explanations: what each variant of a clip is, and that a clip of two opposite classes turns into the other."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from episodes.shapes import motion
from episodes.shapes.source import write_video
from episodes.splits import Split
from fsar.commands.look import predict
from fsar.fusion import AlignmentMap
from fsar.inference import Predictor, bare
from fsar.inference.explain import (
    Explanation,
    cut_path,
    draw_words,
    explain,
    follow_steps,
    make_variants,
    map_words,
    name_frames,
    without_frame,
)
from fsar.inference.support_set import SupportSet
from fsar.objectives import SubCaptionGrouping, WordMap
from fsar.reporting.insight import Insight
from fsar.reporting.templates import read_templates
from fsar.text import TextBank
from fsar.training.learner import Learner
from fsar.training.objectives import Together


def test_variants() -> None:
    frames = torch.arange(6)[:, None, None, None].expand(6, 3, 2, 2)
    made = {what: [clip[:, 0, 0, 0].tolist() for clip in some] for what, some in make_variants(frames).items()}
    assert made["as it is"] == [[0, 1, 2, 3, 4, 5]]
    assert made["backwards"] == [[5, 4, 3, 2, 1, 0]]
    assert made["its middle frame alone"] == [[3] * 6]
    assert len(made["shuffled"]) == 3
    assert all(sorted(order) == list(range(6)) for order in made["shuffled"])
    assert made["without frame 1"] == [[1, 1, 2, 3, 4, 5]]
    assert made["without frame 4"] == [[0, 1, 2, 2, 4, 5]]
    assert without_frame(frames[:1], 0).tolist() == frames[:1].tolist()


@pytest.fixture(scope="module")
def opposite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Support of two classes, each the other played backwards, and a query of the first."""
    folder = tmp_path_factory.mktemp("explain")
    first, second, *_ = motion.CLASSES["test"]
    for name in (first, second):
        (folder / "support" / name).mkdir(parents=True)
        write_video(folder / "support" / name / "a.mp4", motion.render(name, 0, "explain"))
    write_video(folder / "query.mp4", motion.render(first, 0, "explain"))
    return folder


@pytest.fixture(scope="module")
def asked(opposite: Path) -> tuple[Predictor, dict[str, list[Path]]]:
    support = {path.name: sorted(path.glob("*.mp4")) for path in sorted((opposite / "support").iterdir())}
    return bare("fsar-tiny", "shapes", "cpu"), support  # type: ignore[return-value]


def test_backwards_it_is_the_other_class(opposite: Path, asked: tuple[Predictor, dict[str, list[Path]]]) -> None:
    predictor, support = asked
    first, second, *_ = motion.CLASSES["test"]
    (answer,) = predictor.predict(support, [opposite / "query.mp4"])  # type: ignore[arg-type]
    found = explain(predictor, support, opposite / "query.mp4")  # type: ignore[arg-type]
    whole, backwards, shuffled, alone = found.variants
    assert found.name == whole.name == answer.ranking[0][0] == first
    assert whole.number_of(first) == pytest.approx(dict(answer.ranking)[first], abs=1e-4)
    assert backwards.name == second
    assert shuffled.number_of(first) < whole.number_of(first)
    assert alone.number_of(first) < whole.number_of(first)
    assert len(found.frames) == 8
    assert max(found.frames) > 0
    assert found.lead > 0
    assert found.heat is not None
    assert found.heat.max() == 1
    assert found.words is not None
    torch.testing.assert_close(found.words.sum(0), torch.ones(8))
    encoder = predictor.learner.method.encoder
    files = tuple(str(clip) for clips in support.values() for clip in clips)
    split = Split("explain", found.names, files, (0, 1), Path())
    frames = torch.from_numpy(predictor.frames(opposite / "query.mp4")).movedim(-1, -3)
    bank, _ = predictor.encode(split, False, ())
    bank.close()
    read = SupportSet(bank, torch.arange(2), torch.arange(2), found.names).logits_of(frames)
    assert float(read[0] - read[1]) == pytest.approx(found.lead, abs=1e-4)  # what the heat is of is what was answered
    with torch.no_grad():
        cosine = torch.cosine_similarity(encoder.text(found.names)[:, None], encoder(frames)[None], dim=-1)
    torch.testing.assert_close(found.words, (100 * cosine).softmax(0), atol=1e-4, rtol=1e-4)


def test_on_the_command_line(opposite: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, *_ = motion.CLASSES["test"]
    words = ["--encoder", "fsar-tiny:shapes", "--support", str(opposite / "support"), "--query"]
    predict.main([*words, str(opposite / "query.mp4"), "--explain"])
    said = capsys.readouterr().out
    assert f"backwards: {second}, no longer {first}" in said
    assert "lead lost without each frame: " in said
    predict.main([*words, str(opposite / "query.mp4"), "--heat", str(tmp_path / "heat"), "--json"])
    with Image.open(tmp_path / "heat" / "query.png") as picture:
        assert picture.width > 2.5 * picture.height  # eight frames, and the same with heat
    (record,) = json.loads(capsys.readouterr().out)["answers"]
    assert np.array(record["explanation"]["class_heat"]).shape == (8, 8, 8)
    assert set(record["explanation"]["variants"]) == {"as it is", "backwards", "shuffled", "its middle frame alone"}
    assert len(record["explanation"]["lead_lost_without_frame"]) == 8


def test_frames_without_text_have_no_names() -> None:
    class Blind:
        class encoder:
            text = None

    assert name_frames(Blind, torch.zeros(2, 3, 4, 4), ("a", "b")) is None


def test_frames_are_told_over_the_steps_that_a_run_was_trained_with(
    opposite: Path, asked: tuple[Predictor, dict[str, list[Path]]]
) -> None:
    predictor, _ = asked
    first, *_ = motion.CLASSES["test"]
    frames = torch.from_numpy(predictor.frames(opposite / "query.mp4")).movedim(-1, -3)
    assert follow_steps(predictor.learner, frames, first) == ()
    steps = SubCaptionGrouping(mode="monotone", texts=TextBank(descriptions="shapes"))
    trained = Learner(predictor.learner.method)
    trained.objectives = Together([], trained.method)
    trained.objectives.append(steps)
    found = follow_steps(trained, frames, first)
    assert [one.step for one in found] == steps.texts.texts(first, ["step"])
    assert (found[0].first, found[-1].last) == (0, 7)
    assert all(after.first == before.last + 1 for before, after in pairwise(found))
    assert follow_steps(trained, frames, "nobody speaks of it") == ()
    assert follow_steps(trained, frames[: len(found) - 1], first) == ()
    told = [str(one) for one in cut_path(torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.8, 0.7]]), ["shut", "open"])]
    assert told == ["1 shut", "2-3 open"]


def test_words_over_frames_are_those_of_the_map(opposite: Path, asked: tuple[Predictor, dict[str, list[Path]]]) -> None:
    predictor, _ = asked
    frames = torch.from_numpy(predictor.frames(opposite / "query.mp4")).movedim(-1, -3)
    assert map_words(predictor.learner, frames, ["red circle"]) == {}
    trained = Learner(predictor.learner.method)
    trained.objectives = Together([], trained.method)
    trained.objectives.append(WordMap(AlignmentMap(64)))
    found = map_words(trained, frames, ["red circle", "a red square"])
    assert list(found) == ["red", "circle", "square"]
    seen = trained.method.encoder(frames)
    text = trained.method.encoder.text.encode(["circle"])
    alone = trained.objectives[0].map(torch.nn.functional.normalize(seen, dim=-1), text).sigmoid()[:, 0]
    torch.testing.assert_close(torch.tensor(found["circle"]), alone)
    assert draw_words({"sit": (0.1, 0.2), "wave": (0.0, 0.05)}) == ["sit   59", "wave  02"]


def test_the_report_draws_words_over_frames_against_the_surest() -> None:
    why = Explanation("a", 1.0, (), (0.0, 0.0), None, ("a",), shown={"sit": (0.2, 0.05), "wave": (0.1, 0.0)})
    assert why.surest == 0.2
    more = Insight(why, (), None)
    card = {"more": more, "query": ["one.jpg", "two.jpg"], "heat": [], "answer": {"measure": "share"}}
    templates = read_templates()
    templates.filters["minus"] = str
    closer = templates.get_template("insight.html").module.closer
    page = " ".join(closer(card).split())
    rows = re.findall(r'<th scope="row">(\w+)</th>(.*?)</tr>', page[page.index("Words by frame") :])
    assert {word: re.findall(r">([\d.]+)</td>", row) for word, row in rows} == {
        "sit": ["1.00", "0.25"],
        "wave": ["0.50", "0.00"],
    }
    assert "Words by frame" not in closer({**card, "more": Insight(replace(why, shown={}), (), None)})
