"""A run that learned a background text tells by it what is unlike all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch.nn.functional import normalize

from episodes.splits import Split
from fsar.commands.look.answers import describe
from fsar.commands.look.predict import report
from fsar.inference.answer import Answers
from fsar.inference.background import judge, learned_background
from fsar.inference.predictor import Predictor, configure
from fsar.objectives import BackgroundText


def test_the_bound_is_one_for_all_classes_and_needs_no_second_clip() -> None:
    known = torch.linspace(0.99, 0.81, 10)
    foreign = torch.tensor([0.1] * 8 + [0.9, 0.95])
    found = judge(known, foreign, torch.arange(10) % 5, tuple("abcde"), 0.9)
    assert set(found.bounds.values()) == {known[-1].item()}
    assert (found.left_out, found.refused, found.foreign) == (10, 8, 10)
    assert found.telling
    assert found.promised == pytest.approx(10 / 11)
    assert "background text of this run claims more than it claims 10 support clips, but for so many" in found.explain()
    few = judge(known[:3], foreign[:3], torch.arange(3), tuple("abc"), 0.9)
    assert not few.checked
    assert "that takes 9 support clips, to keep 90%" in few.explain()
    assert few.refused == 0


@pytest.fixture(scope="module")
def predictor(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """With a background text whose weights were loaded, as of a run."""
    content = yaml.safe_load(config.read_text())
    content["model"]["objectives"] = [{"class_path": "fsar.objectives.BackgroundText", "init_args": {"channels": 32}}]
    file = tmp_path_factory.mktemp("background") / "run.yaml"
    file.write_text(yaml.safe_dump(content))
    found = configure(["-c", str(file)], "cpu")
    assert found.background is None  # it is random where nothing was trained
    found.background = learned_background(found.learner, found.learner.state_dict())
    assert isinstance(found.background, BackgroundText)
    return found


def test_answers_tell_it_by_the_text(predictor: Predictor, clips: Path) -> None:
    support = {f"class_{i}": [clips / f"class_{i}" / f"{j}.mp4" for j in range(3)] for i in range(3)}
    query = clips / "class_5" / "0.mp4"
    (answer,) = predictor.predict(support, [query])
    assert predictor.background is not None
    method, split = predictor.learner.method, Split("x", ("",), (str(query),), (0,), Path())
    with torch.no_grad():
        frames = method.encoder.features(predictor.data.clips(split).clip(0))["frames"]
        texts = predictor.background.encode_names(method.encoder.text, tuple(support))
        want = 1 - predictor.background.unlike_all(normalize(frames.mean(-2), dim=-1), texts)
    assert set(answer.similarities) == set(support)
    assert torch.tensor(answer.similarity).sigmoid() == pytest.approx(float(want), abs=1e-5)
    assert answer.threshold.learned
    assert answer.threshold.left_out == 9
    assert "background text" in report(Answers([answer]), {})["threshold"]["explanation"]

    # what tells the query from the support clips is of no class
    shown = [
        predictor.data.clips(Split("x", ("",), (str(c),), (0,), Path())).clip(0) for s in support.values() for c in s
    ]
    with torch.no_grad():
        others = torch.stack([normalize(method.encoder.features(c)["frames"].mean(-2), dim=-1) for c in shown])
    predictor.background.background.data = normalize(frames.mean(-2), dim=-1) - others.mean(0)
    predictor.background.scale.log.data.fill_(6.0)
    (answer,) = predictor.predict(support, [query])
    assert answer.unlike_all
    assert "The background text that this run learned claims it" in describe(answer)
    own = Predictor(predictor.learner, predictor.data)
    assert not own.predict(support, [query])[0].threshold.learned
