"""Clips named by a few labelled ones, from Python and on the command line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml

import fsar
from episodes.episode import Episode
from episodes.splits import Split
from episodes.video import VideoError
from fsar.__main__ import main
from fsar.answer import alignment_maps
from fsar.predictor import Predictor, configure


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FSAR_RUN", raising=False)


@pytest.fixture
def support(clips: Path, tmp_path: Path) -> Path:
    """Three classes of one, two and three clips."""
    for i in range(3):
        folder = tmp_path / "support" / f"class_{i}"
        folder.mkdir(parents=True)
        for j in range(i + 1):
            shutil.copy(clips / f"class_{i}" / f"{j}.mp4", folder)
    return tmp_path / "support"


def mapping(support: Path) -> dict[str, list[Path]]:
    return {folder.name: sorted(folder.iterdir()) for folder in sorted(support.iterdir()) if folder.is_dir()}


def by_hand(predictor: Predictor, support: dict[str, list[Path]], queries: list[Path]) -> torch.Tensor:
    """Probabilities ``(q n)`` from pixels, through the method's own forward pass."""
    files = [clip for clips in support.values() for clip in clips] + queries
    labels = torch.tensor([i for i, clips in enumerate(support.values()) for _ in clips])
    source = predictor.data.clips(Split("x", tuple(support), tuple(map(str, files)), (0,) * len(files), Path()))
    pixels = torch.stack([source.clip(i) for i in range(len(files))])
    asked = torch.zeros(len(queries), dtype=torch.int64)
    n = len(labels)
    ways = torch.arange(len(support))
    episode = Episode(pixels[:n], pixels[n:], labels, asked, ways, tuple(support), torch.tensor(0))
    with torch.no_grad():
        return predictor.learner.method(episode).probabilities


METHODS = {
    "ClipFSAR": {},
    "ClipFSAR, combined": {"inference": "combined"},
    "Prototype": {},
    "ZeroShot": {},
    "SimpleShot": {},
    "MAClip": {},
}


def written(config: Path, name: str, options: dict[str, str], folder: Path) -> Path:
    """The configuration with another method."""
    content = yaml.safe_load(config.read_text())
    old = content["model"]["method"]["init_args"]
    parts = {
        key: old[key] for key in (("encoder",) if name in ("ZeroShot", "SimpleShot") else ("encoder", "alignment"))
    }
    if name == "MAClip":
        inner = {"encoder": old["encoder"], "adapter": {"class_path": "fsar.adapters.MAClipAdapter"}}
        parts["encoder"] = {"class_path": "fsar.adapted.Adapted", "init_args": inner}
    content["model"]["method"] = {"class_path": f"fsar.methods.{name}", "init_args": {**parts, **options}}
    (folder / "other.yaml").write_text(yaml.safe_dump(content))
    return folder / "other.yaml"


@pytest.mark.parametrize("name", METHODS)
def test_answers_are_those_of_the_method_on_the_pixels(
    name: str, config: Path, clips: Path, support: Path, tmp_path: Path
) -> None:
    predictor = configure(["-c", str(written(config, name.split(",")[0], METHODS[name], tmp_path))])
    queries = [clips / "class_0" / "3.mp4", clips / "class_2" / "4.mp4", clips / "class_5" / "0.mp4"]
    answers = predictor.predict(mapping(support), queries)
    expected = by_hand(predictor, mapping(support), queries)
    for answer, query, row in zip(answers, queries, expected, strict=True):
        assert answer.clip == str(query)
        assert sorted(answer.ranking, key=lambda pair: -pair[1]) == list(answer.ranking)
        found = dict(answer.ranking)
        torch.testing.assert_close(torch.tensor([found[n] for n in mapping(support)]), row, atol=1e-5, rtol=0)


def test_the_alignment_is_the_one_that_scored(config: Path, clips: Path, support: Path) -> None:
    predictor = configure(["-c", str(config)])
    query = clips / "class_1" / "4.mp4"
    answer = predictor.predict(mapping(support), [clips / "class_0" / "4.mp4", query])[1]
    assert set(answer.alignments) == set(mapping(support))
    for name, found in answer.alignments.items():  # each class has its own
        (alone,) = predictor.predict({name: mapping(support)[name], "other": [clips / "class_8" / "0.mp4"]}, [query])
        torch.testing.assert_close(alone.alignments[name].cost, found.cost)
        torch.testing.assert_close(alone.alignments[name].path, found.path)
    found = answer.alignments["class_0"]
    assert found.metric == "OTAM"
    assert found.cost.shape == found.path.shape == (4, 4)
    metric = predictor.learner.method.alignment
    costs = torch.stack([answer.alignments[name].cost for name in mapping(support)])
    similarity = -metric.align(costs)
    assert answer.similarity == pytest.approx(float(similarity.max()), abs=1e-5)
    torch.testing.assert_close(
        similarity.softmax(-1), torch.tensor([dict(answer.ranking)[n] for n in mapping(support)])
    )
    assert alignment_maps(fsar.alignment.FrameMean(), torch.ones(2, 4, 8), torch.ones(3, 4, 8)) == [[], []]
    assert (
        not configure(["-c", str(config), "--model.method", "ZeroShot"])
        .predict(mapping(support), [clips / "class_1" / "4.mp4"])[0]
        .alignments
    )


def test_a_threshold_is_calibrated_on_the_support_clips(config: Path, clips: Path, support: Path) -> None:
    predictor = configure(["-c", str(config)])
    query = clips / "class_1" / "4.mp4"
    (answer,) = predictor.predict(mapping(support), [query])
    threshold = answer.threshold
    assert len(threshold.genuine) == 5  # classes of two and three clips
    assert len(threshold.foreign) == 6
    # the first genuine one by hand: clip 0 of class_1 against the rest of its class
    rest = mapping(support)
    left = rest["class_1"].pop(0)
    (alone,) = predictor.predict(rest, [left])
    alignments = {n: -float(predictor.learner.method.alignment.align(m.cost)) for n, m in alone.alignments.items()}
    assert threshold.genuine[0] == pytest.approx(alignments["class_1"], abs=1e-5)
    single = {name: clips[:1] for name, clips in mapping(support).items()}
    (other,) = predictor.predict(single, [query])
    assert other.threshold.genuine == ()
    assert other.unlike_all == (other.similarity < other.threshold.value)


def test_a_clip_of_the_support_is_like_itself(config: Path, support: Path) -> None:
    predictor = configure(["-c", str(config), "--model.method", "Prototype"])
    one = {name: clips[:1] for name, clips in mapping(support).items()}
    for name, clips in one.items():
        (answer,) = predictor.predict(one, clips)
        assert answer.ranking[0][0] == name
        assert not answer.unlike_all


def test_wrong_supports(config: Path, clips: Path) -> None:
    predictor = configure(["-c", str(config)])
    clip = clips / "class_0" / "0.mp4"
    with pytest.raises(ValueError, match=r"two classes or more .* found \['a'\]"):
        predictor.predict({"a": [clip]}, [clip])
    with pytest.raises(ValueError, match="no clip of b"):
        predictor.predict({"a": [clip], "b": []}, [clip])
    with pytest.raises(ValueError, match="stands in b and in another class"):
        predictor.predict({"a": [clip], "b": [clip]}, [clip])
    with pytest.raises(ValueError, match="no clip to name"):
        predictor.predict({"a": [clip], "b": [clips / "class_1" / "0.mp4"]}, [])
    with pytest.raises(VideoError, match=r"missing\.mp4"):
        predictor.predict({"a": [clip], "b": [clips / "missing.mp4"]}, [clip], {})


def test_frames_are_those_that_are_compared(config: Path, clips: Path) -> None:
    frames = configure(["-c", str(config)]).frames(clips / "class_0" / "0.mp4")
    assert (frames.shape, frames.dtype) == ((4, 32, 32, 3), "uint8")


def test_a_device_that_is_not_there(config: Path) -> None:
    with pytest.raises(ValueError, match=r"'cuda:99' cannot be used here"):
        configure(["-c", str(config)], device="cuda:99")
    with pytest.raises(ValueError, match="'gpu' cannot be used here"):
        configure(["-c", str(config)], device="gpu")


def test_the_command_ranks_every_clip(
    config: Path, clips: Path, support: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["predict", "-c", str(config), "--support", str(support), "--query", str(clips / "class_1")])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.split(" ")[0].endswith(".mp4")] == [
        line for line in lines if line.startswith(str(clips / "class_1"))
    ]
    assert sum(bool(re.match(r" +\d+\.\d%  class [012]", line)) for line in lines) == 15
    assert sum(bool(re.match(r"  OTAM matches frames 1-\d 2-\d 3-\d 4-\d of class", line)) for line in lines) == 5
    assert lines[-1].startswith("A clip is called unlike all when")


def test_the_command_answers_in_json(
    config: Path, clips: Path, support: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (support / "classes.yaml").write_text("class_0: somebody waves\n")
    query = clips / "class_1" / "4.mp4"
    main(["predict", "-c", str(config), "--support", str(support), "--query", str(query), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["support"] == {"somebody waves": 1, "class 1": 2, "class 2": 3}
    (answer,) = found["answers"]
    predictor = configure(["-c", str(config)])
    named = dict(zip(found["support"], mapping(support).values(), strict=True))
    (expected,) = predictor.predict(named, [query])
    assert answer == json.loads(json.dumps(expected.record()))
    assert [r["class"] for r in answer["ranking"]] == [name for name, _ in expected.ranking]
    assert len(answer["alignment"]["path"]) == 4


def test_a_broken_clip_does_not_cost_the_others_their_answers(
    config: Path, clips: Path, support: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queries = tmp_path / "queries"
    queries.mkdir()
    shutil.copy(clips / "class_1" / "4.mp4", queries / "good.mp4")
    (queries / "bad.mp4").write_bytes((clips / "class_1" / "4.mp4").read_bytes()[:700])
    with pytest.raises(SystemExit, match=r"1 of 2 clips of --query could not be read:\n.*bad\.mp4: "):
        main(["predict", "-c", str(config), "--support", str(support), "--query", str(queries)])
    assert "good.mp4" in capsys.readouterr().out


def test_a_bare_encoder_needs_no_run(support: Path, capsys: pytest.CaptureFixture[str]) -> None:
    query = next((support / "class_2").iterdir())
    main(["predict", "--encoder", "fsar-tiny:shapes", "--support", str(support), "--query", str(query)])
    shown = capsys.readouterr().out
    answer = fsar.bare("fsar-tiny", "shapes", device="cpu").predict(mapping(support), [query])[0]
    assert not answer.unlike_all
    assert [f"{p:.1%}" for _, p in answer.ranking] == re.findall(r"^ +(\d+\.\d%)", shown, re.MULTILINE)


def test_an_encoder_is_never_left_random(support: Path) -> None:
    query = str(next((support / "class_2").iterdir()))
    with pytest.raises(SystemExit, match=r"'openai' is neither a file nor a tag of fsar-tiny, whose tags are: shapes"):
        main(["predict", "--encoder", "fsar-tiny", "--support", str(support), "--query", query])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "one of --run RUN, -c FILE ..., or --encoder"),
        (["--encoder", "fsar-tiny:shapes", "--jsn"], "did you mean --json ?"),
        (["--run", "a", "--encoder", "b"], "one of --run"),
        (["--encoder", "fsar-tiny:shapes", "--model.alignment", "DTW"], "--encoder stands for a fixed method"),
    ],
)
def test_wrong_options(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["predict", "--support", "s", "--query", "q", *options])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("class_9: x", r"no class folder \(named in .*classes\.yaml\) 'class_9'; did you mean"),
        ("class_0: 3", "lines `folder: name`"),
        ("[a, b]", "lines `folder: name`"),
        ("class_0: class 1", "class name 'class 1' occurs 2 times"),
    ],
)
def test_wrong_class_names(content: str, message: str, config: Path, clips: Path, support: Path) -> None:
    (support / "classes.yaml").write_text(content)
    query = str(clips / "class_1" / "4.mp4")
    with pytest.raises(SystemExit, match=message):
        main(["predict", "-c", str(config), "--support", str(support), "--query", query])
