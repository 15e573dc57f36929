"""Configurations that come with the package are found by name, from any folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsar.commands.train import configs
from fsar.inference.predictor import configure
from fsar.terminal.files import shipped
from fsar.terminal.files.config_files import config_files, spell_out

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_file_has_a_name_without_its_suffix() -> None:
    files = {path.relative_to(ROOT / "configs") for path in (ROOT / "configs").rglob("*.yaml")}
    assert {f"{name}.yaml" for name in shipped.list_shipped()} == {path.as_posix() for path in files}
    assert all(
        path.read_text() == shipped.find_shipped(name).read_text() for name, path in shipped.list_shipped().items()
    )


@pytest.mark.parametrize(
    "word", ["trainer.yaml", "./trainer", "../trainer", "/trainer", "~/trainer", "method", "", "{}"]
)
def test_a_path_is_no_name(word: str) -> None:
    assert shipped.find_shipped(word) is None


def test_names_are_taken_in_every_place(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fit", "-c", "trainer", "--config=data/folder", "--model.encoder", "encoder/tiny", "--run", "trainer"]
    folder = shipped.FOLDER
    assert shipped.spell_shipped(words) == [
        *("fit", "-c", f"{folder}/trainer.yaml", f"--config={folder}/data/folder.yaml"),
        *("--model.encoder", f"{folder}/encoder/tiny.yaml", "--run", "trainer"),
    ]
    assert config_files(words) == [f"{folder}/trainer.yaml", f"{folder}/data/folder.yaml"]
    assert capsys.readouterr().err == ""


def test_a_file_of_the_same_name_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "trainer").write_text("seed_everything: 3\n")
    assert spell_out(["-c", "trainer"]) == ["-c", f"{shipped.FOLDER}/trainer.yaml"]
    assert "the shipped configuration is taken; ./trainer is your file" in capsys.readouterr().err
    assert spell_out(["-c", "./trainer"]) == ["-c", "./trainer"]


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("trainr", "trainer"),
        ("shapes_motion", "data/shapes_motion"),
        ("clip_fsr", "method/clip_fsar"),
        ("configs/method/tiny/aim.yaml", "method/tiny/aim"),
    ],
)
def test_a_name_that_is_none_brings_up_the_nearest(word: str, near: str) -> None:
    with pytest.raises(FileNotFoundError, match=rf"-c {word}: .* did you mean {near} \?"):
        spell_out(["-c", word])


def test_a_method_is_built_by_names() -> None:
    predictor = configure(
        ["-c", "data/shapes_motion", "-c", "method/prototype", "--model.encoder", "encoder/tiny"], "cpu"
    )
    assert predictor.data.size == 64


def test_the_command_lists_and_prints(capsys: pytest.CaptureFixture[str]) -> None:
    configs.main([])
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines if line} == set(shipped.list_shipped())
    assert lines[0].startswith("trainer ")
    assert max(map(len, lines)) <= 120
    configs.main(["method/clip_fsar"])
    assert capsys.readouterr().out == (ROOT / "configs/method/clip_fsar.yaml").read_text()
    configs.main(["data"])
    assert all(line.startswith("data/") for line in capsys.readouterr().out.splitlines())
    with pytest.raises(SystemExit, match=r"no shipped configuration clip_fsr; did you mean method/clip_fsar \?"):
        configs.main(["clip_fsr"])
