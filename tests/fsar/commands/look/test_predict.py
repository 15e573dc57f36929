"""Clips named by a few labelled ones, on the command line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import timm
import torch
import torchvision

import fsar
from fsar.__main__ import main
from fsar.commands.look.predict import read_support
from fsar.inference.predictor import configure, load_named


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FSAR_RUN", raising=False)


def test_the_command_ranks_every_clip(
    config: Path, clips: Path, support: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["predict", "-c", str(config), "--support", str(support), "--query", str(clips / "class_1")])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.split(" ")[0].endswith(".mp4")] == [
        line for line in lines if line.startswith(str(clips / "class_1"))
    ]
    assert sum(bool(re.match(r" +[01]\.\d{3}  class [012]", line)) for line in lines) == 15
    said = r"  OTAM matches frames ((\d-\d )+of class \d in order|with those of class \d in no clear order)"
    assert sum(bool(re.match(said, line)) for line in lines) == 5
    assert lines[-2].startswith("The numbers beside the classes are shares of the scores' softmax, not probabilities")
    assert lines[-1].startswith("Whether a clip is unlike all was not checked: that takes 9 support clips")


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
    (expected,) = predictor.predict(read_support(support), [query])
    assert answer == json.loads(json.dumps(expected.record()))
    assert [r["class"] for r in answer["ranking"]] == [name for name, _ in expected.ranking]
    assert answer["alignment"] == expected.alignments[expected.ranking[0][0]].record()
    assert len(answer["alignment"]["path"]) == 4


def test_options_change_what_a_configuration_says(
    config: Path, clips: Path, support: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = str(clips / "class_1" / "4.mp4")
    options = ["--support", str(support), "--query", query, "--model.alignment", "DTW"]
    main(["predict", "-c", str(config), *options])
    assert "DTW matches frames" in capsys.readouterr().out


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
    answer = fsar.bare("fsar-tiny", "shapes", device="cpu").predict(read_support(support), [query])[0]
    assert not answer.unlike_all
    assert [f"{p:.3f}" for _, p in answer.ranking] == re.findall(r"^ +(\d\.\d{3})", shown, re.MULTILINE)


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_an_image_network_is_named_by_its_library(
    library: str, support: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "test_vit" if library == "timm" else "squeezenet1_1"
    made = timm.create_model(name) if library == "timm" else torchvision.models.get_model(name)
    torch.save(made.state_dict(), tmp_path / "weights.pt")
    query = next((support / "class_2").iterdir())
    encoder = f"{library}:{name}:{tmp_path / 'weights.pt'}"
    main(["predict", "--encoder", encoder, "--support", str(support), "--query", str(query), "--json"])
    shown = json.loads(capsys.readouterr().out)
    predictor = fsar.bare(f"{library}:{name}", str(tmp_path / "weights.pt"), device="cpu")
    side = 160 if library == "timm" else 224
    assert predictor.frames(query).shape == (8, side, side, 3)  # the data follow the network
    (answer,) = predictor.predict(read_support(support), [query])
    found = [p for _, p in answer.ranking]
    assert found == pytest.approx([row["share"] for row in shown["answers"][0]["ranking"]], abs=1e-4)


def test_an_encoder_is_never_left_random(support: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    query = str(next((support / "class_2").iterdir()))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("timm:test_vit", "torchvision:resnet18"):
        with pytest.raises(SystemExit, match=f"the weights of {name} are not in .* a file with its state dict: {name}"):
            main(["predict", "--encoder", name, "--support", str(support), "--query", query])
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
        ("class_0: [3]", "lines `folder: name`"),
        ("[a, b]", "lines `folder: name`"),
        ("class_0: class 1", "class name 'class 1' occurs 2 times"),
    ],
)
def test_wrong_class_names(content: str, message: str, config: Path, clips: Path, support: Path) -> None:
    (support / "classes.yaml").write_text(content)
    query = str(clips / "class_1" / "4.mp4")
    with pytest.raises(SystemExit, match=message):
        main(["predict", "-c", str(config), "--support", str(support), "--query", query])


def test_bounds_on_reading(
    config: Path, clips: Path, support: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FSAR_MAX_PIXELS", str(2**26))  # so that it is as before afterwards
    options = ["--support", str(support), "--query", str(clips / "class_1" / "4.mp4")]
    for bound, message in (
        (["--max_pixels", "1023"], "claims 32 x 32 pixels, and at most 1,023 are decoded"),
        (["--max_pixels", "1024", "--seconds", "1e-9"], "not read within 1e-09 seconds: give a shorter clip"),
        (["--seconds", "0"], "--seconds must be more than 0"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["predict", "-c", str(config), *options, *bound])
        assert message in str(caught.value) + capsys.readouterr().err


def test_what_is_left_out_is_said(
    config: Path, clips: Path, support: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queries = tmp_path / "queries"
    queries.mkdir()
    for name in ("a.mp4", "b.MTS", "c.ts", "d.h264", "e.unknown", "f"):
        shutil.copy(clips / "class_1" / "4.mp4", queries / name)
    (queries / "cover.jpg").touch()
    (support / "__MACOSX").mkdir()
    (support / "class_1" / "notes.txt").touch()
    main(["predict", "-c", str(config), "--support", str(support), "--query", str(queries), "--json"])
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert [Path(answer["clip"]).name for answer in found["answers"]] == [
        "a.mp4", "b.MTS", "c.ts", "d.h264", "e.unknown", "f"
    ]  # fmt: skip
    lines = [
        "left out: 1 entry that is no clip (class_1/notes.txt)",
        "left out: 1 entry that is no clip (queries/cover.jpg)",
    ]
    assert found["notes"] == lines
    assert all(line in said.err for line in lines)


def test_numbers_and_truth_values_are_texts_in_classes_yaml(support: Path) -> None:
    (support / "class_0").rename(support / "007")
    (support / "class_1").rename(support / "yes")
    (support / "classes.yaml").write_text("007: 1\nyes: no\n")
    assert set(read_support(support)) == {"1", "no", "class 2"}


def test_output_that_cannot_show_blocks_gets_plain_characters(
    config: Path, clips: Path, support: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (support / "class_2").rename(support / "挥手")
    (support / "classes.yaml").write_text("挥手: 挥手\n", encoding="utf-8")
    with (tmp_path / "out.txt").open("w", encoding="ascii") as out:
        monkeypatch.setattr("sys.stdout", out)
        main(["predict", "-c", str(config), "--support", str(support), "--query", str(clips / "class_1" / "4.mp4")])
    shown = (tmp_path / "out.txt").read_text(encoding="ascii")
    assert "##" in shown
    assert "\\u6325\\u624b" in shown


@pytest.mark.parametrize("how", ["path", "link", "copy"])
def test_a_query_that_is_a_support_clip_is_said(
    how: str, config: Path, support: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query = there = next((support / "class_2").iterdir())
    if how != "path":
        query = tmp_path / "new.mp4"
        query.symlink_to(there.resolve()) if how == "link" else shutil.copy(there, query)
    line = ["predict", "-c", str(config), "--support", str(support), "--query", str(query)]
    main([*line, "--json"] if how == "path" else line)
    said, out = "This clip is a support clip of class 2 too: it is compared with itself.", capsys.readouterr().out
    assert (json.loads(out)["answers"][0]["note"] == said) if how == "path" else (f"\n  {said}\n" in out)


def test_code_of_a_published_run_is_run_when_it_is_trusted(
    config: Path, clips: Path, support: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trusted_metric.py").write_text("from fsar.alignment import OTAM\n\n\nclass Mine(OTAM):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    tiny = ["--model.encoder.model", "fsar-tiny", "--data.size", "64"]
    main(["test", "--run", "mine", "-c", str(config), *tiny, "--model.alignment", "trusted_metric.Mine"])
    main(["publish", "mine", "--to", "shared", "--code", "here"])
    card = (tmp_path / "shared" / "README.md").read_text()
    assert "\n# ClipFSAR with Mine, not trained\n" in card
    assert "Nothing was trained: ClipFSAR with Mine compares what frozen weights\nsee.\n" in card
    assert "| 3-way 1-shot | Mine |" in card  # what was tested is what was published
    assert "classes it was trained on</summary>" not in card
    line = ["predict", "--run", "shared", "--support", str(support), "--query", str(clips / "class_1" / "4.mp4")]
    with pytest.raises(SystemExit, match=r"names trusted_metric.Mine .*--trust-classes"):
        main(line)
    main([*line, "--trust-classes", "--csv", "told.csv"])
    assert "class" in (tmp_path / "told.csv").read_text()


def test_an_encoder_is_named_by_a_file_too(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    tiny = {"class_path": "fsar.encoders.ClipEncoder", "init_args": {"model": "fsar-tiny", "pretrained": "shapes"}}
    file.write_text(json.dumps(tiny))
    named, filed = (load_named(None, (), word).learner.method for word in ("fsar-tiny:shapes", str(file)))
    assert (filed.encoder.identity, type(filed.alignment)) == (named.encoder.identity, type(named.alignment))
    with pytest.raises(FileNotFoundError, match=r"--encoder no\.yaml: expected a YAML file"):
        load_named(None, (), "no.yaml")
