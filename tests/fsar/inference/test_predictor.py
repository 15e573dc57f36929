"""Clips named by a few labelled ones, from Python."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
import yaml

import fsar
from episodes.clips import combined
from episodes.episode import Episode
from episodes.splits import Split
from episodes.video import VideoError
from fsar.alignment.maps import alignment_maps
from fsar.inference.predictor import Predictor, configure


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FSAR_RUN", raising=False)


def mapping(support: Path) -> dict[str, list[Path]]:
    return {folder.name: sorted(folder.iterdir()) for folder in sorted(support.iterdir()) if folder.is_dir()}


def by_hand(predictor: Predictor, support: dict[str, list[Path]], queries: list[Path]) -> torch.Tensor:
    """Probabilities ``(q n)`` from pixels, through the method's own forward pass."""
    files = [clip for clips in support.values() for clip in clips] + queries
    labels = torch.tensor([i for i, clips in enumerate(support.values()) for _ in clips])
    source = predictor.data.clips(Split("x", tuple(support), tuple(map(str, files)), (0,) * len(files), Path()))
    pixels = combined(torch.stack, [source.clip(i) for i in range(len(files))])
    asked = torch.zeros(len(queries), dtype=torch.int64)
    n = len(labels)
    ways = torch.arange(len(support))
    known, new = pixels.split_at(n, 0)
    episode = Episode(known, new, labels, asked, ways, tuple(support), torch.tensor(0))
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
        parts["encoder"] = {"class_path": "fsar.encoders.Adapted", "init_args": inner}
    content["model"]["method"] = {"class_path": f"fsar.methods.{name}", "init_args": {**parts, **options}}
    (folder / "other.yaml").write_text(yaml.safe_dump(content))
    return folder / "other.yaml"


@pytest.mark.parametrize("name", METHODS)
def test_answers_are_those_of_the_method_on_the_pixels(
    name: str, config: Path, clips: Path, support: Path, tmp_path: Path
) -> None:
    file = written(config, name.split(",")[0], METHODS[name], tmp_path)
    predictor = configure(["-c", str(file), "--data.video_batch", "4"])
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
    assert (answer.threshold.left_out, answer.threshold.foreign) == (5, 6)  # classes of two and three clips
    assert not answer.threshold.checked  # nine in ten cannot be promised from five
    assert not answer.unlike_all
    predictor.keep = 0.8
    (answer,) = predictor.predict(mapping(support), [query])
    # by hand: every clip against others of its class, as many as the class has that is bounded
    for name, shots in (("class_0", 1), ("class_1", 2), ("class_2", 3)):
        genuine = []
        for own, i in [("class_1", 0), ("class_1", 1), ("class_2", 0), ("class_2", 1), ("class_2", 2)]:
            rest = mapping(support)
            left = rest[own][i]
            rest[own] = (rest[own][i + 1 :] + rest[own][:i])[:shots]
            (alone,) = predictor.predict(rest, [left])
            genuine.append(alone.similarities[own])
        assert answer.threshold.bounds[name] == pytest.approx(min(genuine), abs=1e-5)  # 1 in 5 + 1 falls below
    single = {name: clips[:1] for name, clips in mapping(support).items()}
    (other,) = predictor.predict(single, [query])
    assert other.threshold.bounds == {"class_0": None, "class_1": None, "class_2": None}
    assert not other.unlike_all


def test_similarity_and_threshold_are_few_shot_logits(config: Path, clips: Path, support: Path) -> None:
    asked = (mapping(support), [clips / "class_1" / "4.mp4"])
    (plain,) = configure(["-c", str(config)]).predict(*asked)
    (combined,) = configure(["-c", str(config), "--model.inference", "combined"]).predict(*asked)
    assert combined.similarity == plain.similarity
    assert combined.threshold == plain.threshold
    assert combined.ranking != plain.ranking


def test_a_metric_that_merges_shots_leaves_as_many_of_every_class(config: Path, clips: Path, support: Path) -> None:
    metric = ["--model.alignment", "TRX", "--model.alignment.channels", "32", "--model.alignment.width", "8"]
    predictor = configure(["-c", str(config), *metric])
    even = {name: sorted((clips / name).iterdir())[:2] for name in mapping(support)}
    (answer,) = predictor.predict(even, [clips / "class_1" / "4.mp4"])
    assert (answer.threshold.left_out, answer.threshold.foreign, answer.measure) == (6, 6, "probability")
    assert not answer.threshold.checked


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
    with pytest.raises(ValueError, match="stands in b and in another class"):
        predictor.predict({"a": [clip], "b": [os.path.relpath(clip)]}, [clip])
    with pytest.raises(ValueError, match="no clip to name"):
        predictor.predict({"a": [clip], "b": [clips / "class_1" / "0.mp4"]}, [])
    with pytest.raises(VideoError, match=r"missing\.mp4: there is no such file, which support gives for the class b"):
        predictor.predict({"a": [clip], "b": [clips / "missing.mp4"]}, [clip], skip_unreadable=True)
    with pytest.raises(VideoError, match=r"missing\.mp4: there is no such file"):
        predictor.predict({"a": ["missing.mp4"]}, [clip])
    with pytest.raises(ValueError, match=r"support must be \{class: clips\}, found 'support'"):
        predictor.predict("support", [clip])  # type: ignore[arg-type]
    for wrong in (5, {"b": clip}, b"clip.mp4", [clip, 5]):
        with pytest.raises(
            ValueError, match=r"expected the path of a clip(, or a list of paths;| as text or Path,) found "
        ):
            predictor.predict({"a": clip, "b": wrong}, [clip])  # type: ignore[dict-item]


def test_one_clip_need_not_be_a_list(config: Path, clips: Path) -> None:
    predictor = configure(["-c", str(config)])
    a, b, query = (str(clips / f"class_{i}" / "0.mp4") for i in range(3))
    assert predictor.predict({"a": a, "b": Path(b)}, query) == predictor.predict({"a": [a], "b": [b]}, [query])


def test_queries_that_cannot_be_read(config: Path, clips: Path, support: Path) -> None:
    predictor = configure(["-c", str(config)])
    good, gone = clips / "class_1" / "4.mp4", clips / "missing.mp4"
    with pytest.raises(VideoError, match=r"missing\.mp4"):
        predictor.predict(mapping(support), [gone, good])
    answers = predictor.predict(mapping(support), [gone, good], skip_unreadable=True)
    assert [answer.clip for answer in answers] == [str(good)]
    assert list(answers.unreadable) == [str(gone)]
    assert "no such file" in answers.unreadable[str(gone)].lower()
    nothing = predictor.predict(mapping(support), [gone], skip_unreadable=True)
    assert (list(nothing), list(nothing.unreadable)) == ([], [str(gone)])
    assert predictor.predict(mapping(support), [good]).unreadable == {}


def test_frames_are_those_that_are_compared(config: Path, clips: Path) -> None:
    frames = configure(["-c", str(config)]).frames(clips / "class_0" / "0.mp4")
    assert (frames.shape, frames.dtype) == ((4, 32, 32, 3), "uint8")


def test_a_run_is_loaded_as_it_is_asked_for(config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    shutil.copy(config, run / "config.yaml")
    learner = configure(["-c", str(config)]).learner
    for name, value in (("best", 1.0), ("last", 2.0)):
        with torch.no_grad():
            learner.method.scale.fill_(value)
        checkpoint = {"state_dict": learner.state_dict(), "global_step": 1}
        learner.on_save_checkpoint(checkpoint)
        torch.save(checkpoint, run / "checkpoints" / f"{name}.ckpt")
        torch.rand(1)
        state = torch.get_rng_state()
        assert float(fsar.load(run, name).learner.method.scale.detach()) == value
        assert torch.equal(torch.get_rng_state(), state)  # what the caller draws next is left alone
    predictor = fsar.load(run, overrides=["--model.alignment", "FrameMean", "--data.frames", "2"])
    assert type(predictor.learner.method.alignment).__name__ == "FrameMean"
    assert predictor.data.frames == 2
    with pytest.raises(ValueError, match="was trained on frozen weights"):
        fsar.load(run, overrides=["--seed_everything", "1"])


def test_a_device_that_is_not_there(config: Path) -> None:
    with pytest.raises(ValueError, match=r"'cuda:99' cannot be used here"):
        configure(["-c", str(config)], device="cuda:99")
    with pytest.raises(ValueError, match="'gpu' cannot be used here"):
        configure(["-c", str(config)], device="gpu")
