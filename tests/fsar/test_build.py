"""One way from options and files to learner, data and trainer: options mean the same in every command."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import pytest
import torch
import yaml

from fsar.build import build, build_data, build_with_trainer, expand, make_parser, parse_options
from fsar.commands.data import episodes, extract
from fsar.commands.measure import baselines, sweep
from fsar.terminal.files.config_files import long_names
from fsar.training.learner import Learner

OPTIONS = ["-c", "method/prototype_head", "--model.encoder", "encoder/tiny", "--data.frames", "4"]
OPTIONS += ["--model.temporal.channels", "64", "--model.temporal.heads", "2"]


def head(learner: torch.nn.Module) -> torch.Tensor:
    """All weights that are random at the start."""
    return torch.cat([p.flatten() for p in learner.parameters() if p.requires_grad])


def test_weights_are_those_of_the_seed_with_a_trainer_and_without() -> None:
    state = torch.random.get_rng_state()
    alone, data = build([*OPTIONS, "--seed_everything", "3"], "cpu")
    other, _ = build([*OPTIONS, "--seed_everything", "4"], "cpu")
    assert torch.equal(torch.random.get_rng_state(), state)
    built = build_with_trainer([*OPTIONS, "--seed_everything", "3", "--trainer.accelerator", "cpu"])
    assert torch.equal(head(alone), head(built.learner))
    assert not torch.equal(head(alone), head(other))
    assert data.frames == built.data.frames == 4
    assert data.framing == built.data.framing == alone.framing
    assert built.config["seed_everything"] == 3
    assert json.dumps(built.config["model"])  # plain data


def test_a_checkpoint_is_read_whether_a_file_or_the_command_line_names_it(tmp_path: Path) -> None:
    trained = build_with_trainer([*OPTIONS, "--trainer.accelerator", "cpu"]).learner
    with torch.no_grad():
        for p in filter(lambda p: p.requires_grad, trained.parameters()):
            p += 1
    checkpoint = {"state_dict": trained.state_dict()}
    trained.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "some.ckpt")
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump({"ckpt_path": str(tmp_path / "some.ckpt")}))
    for words in (["--ckpt_path", str(tmp_path / "some.ckpt")], ["-c", str(config)]):
        assert torch.equal(head(build([*OPTIONS, *words], "cpu")[0]), head(trained))
    assert not torch.equal(head(build([*OPTIONS, "-c", str(config), "--ckpt_path", "null"], "cpu")[0]), head(trained))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trainer.max_epochs", "3"], "there is no option --trainer.max_epochs here"),
        (["--data.wais", "4"], "there is no option --data.wais; did you mean --data.ways ?"),
        (["--data.ways", "4", "--data.ways", "5"], "--data.ways is given twice"),
        (["--model.temporal.channels=32"], "ClipEncoder gives features of 64 channels, but TemporalTransformer was"),
    ],
)
def test_a_wrong_option_is_a_ValueError_from_python(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build([*OPTIONS[:6], *words])


@pytest.mark.parametrize("main", [extract.main, sweep.main, baselines.main, episodes.main])
def test_and_status_2_of_every_command(main: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = {
        extract.main: ["--store", str(tmp_path)],
        baselines.main: ["--encoder", "encoder/tiny"],
        episodes.main: ["write", str(tmp_path / "some.npz")],
    }
    with pytest.raises(SystemExit) as left:
        main([*own.get(main, []), "-c", "data/shapes_motion", "--data.wais=4"])  # type: ignore[operator]
    assert left.value.code == 2
    assert "there is no option --data.wais; did you mean --data.ways ?" in capsys.readouterr().err


def test_of_files_the_other_sections_are_not_read_but_on_the_command_line_they_are_no_options() -> None:
    files = ["-c", "trainer", "-c", "data/shapes_motion", "-c", "method/clip_fsar_tiny"]
    assert build_data([*files, "--data.ways", "3"]).ways == 3
    for option in ("--model.method", "--trainer.max_epochs", "--ckpt_path", "--verbose"):
        with pytest.raises(ValueError, match=f"there is no option {option} here"):
            build_data([*files, option, "1"])


def test_a_command_adds_its_own_options() -> None:
    parser = make_parser(None, ["data"])
    parser.add_argument("--steps", type=int, default=0)
    found = parse_options(parser, ["-c", "data/shapes_motion", "--steps", "4"])
    assert (found.steps, found.data.benchmark.class_path) == (4, "episodes.shapes.Shapes")


def test_no_command_reads_these_options_by_a_parser_of_its_own() -> None:
    root = Path(__file__).parents[2]
    for path in sorted([*(root / "fsar").rglob("*.py"), *(root / "tools").glob("*.py")]):
        source = path.read_text(encoding="utf-8")
        assert "add_lightning_class_args(" not in source or path.name == "build.py", path
        assert "add_class_arguments(" not in source or path.name == "check_alignment.py", path  # of a metric alone


def test_other_data_are_laid_over_a_run_that_was_only_tested(tmp_path: Path) -> None:
    """As over a trained one, so that cross-domain keeps its method; files that name a method say all."""
    run, data, anew = tmp_path / "run", tmp_path / "data.yaml", tmp_path / "anew.yaml"
    (run / "results" / "test").mkdir(parents=True)
    (run / "results" / "test" / "results.json").write_text("{}")
    options = {"encoder": "fsar.encoders.ClipEncoder", "alignment": "fsar.alignment.DTW"}
    method = {"class_path": "fsar.methods.Prototype", "init_args": options}
    (run / "config.yaml").write_text(yaml.safe_dump({"model": {"method": method}, "data": {"frames": 5}}))
    data.write_text("data: {frames: 4}")
    anew.write_text("model: {method: {class_path: fsar.methods.ClipFSAR}}")
    beneath = ["test", "--config", str(run / "config.yaml")]
    assert expand(["test", "--run", str(run), "-c", str(data)])[:3] == beneath
    assert expand(["test", "--run", str(run)])[:3] == beneath
    assert str(run / "config.yaml") not in expand(["test", "--run", str(run), "-c", str(anew), "-c", str(data)])
    assert str(run / "config.yaml") not in expand(["test", "--run", str(run), "--model.method", "ClipFSAR"])


def test_options_of_the_learner_are_not_taken_for_its_methods() -> None:
    """The list stands in a file that imports no torch, so nothing else keeps it whole."""
    for name in inspect.signature(Learner).parameters:
        assert long_names([f"--model.{name}"]) == [f"--model.{name}"]
    assert long_names(["--model.alignment"]) == ["--model.method.alignment"]
