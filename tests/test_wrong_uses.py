"""What people get wrong, and what they are told: one message of a few lines that names the thing and the way out."""

from __future__ import annotations

import functools
import importlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from fsar.evaluation.said import random_encoders

ROOT = Path(__file__).resolve().parents[1]
SHORT = {
    "fit": "fsar fit --run {new} -c run.yaml",
    "test": "fsar test --run trained",
    "predict": "fsar predict --run trained",
}
SCRIPTS = {"fsar": "fsar.__main__", "fsar-demo": "fsar.web.app"}
LINES, CHARACTERS = 7, 420
METRICS = """
from fsar.alignment import Alignment, CostAlignment

class WrongShape(CostAlignment):
    def align(self, cost, mask=None):
        return cost.amin(-1)

class NotANumber(CostAlignment):
    def align(self, cost, mask=None):
        return cost.mean((-2, -1)) * float("nan")

class Raises(CostAlignment):
    def align(self, cost, mask=None):
        return cost @ cost.new_zeros(3, 3)

class WrongForward(Alignment):
    def forward(self, query, support, query_mask=None, support_mask=None):
        return query.flatten(-2) @ support.flatten(-2).mT[..., :2]
"""
CONFIGS = {
    "broken.yaml": "data:\n  ways: [1, 2\n",
    "empty.yaml": "",
    "list.yaml": "- data\n",
    "twice.yaml": "data:\n  ways: 2\n  ways: 3\n",
    "strange.yaml": "data: {wayz: 2}\n",
    "nan.yaml": "model: {method: {init_args: {scale_init: .nan}}}\n",
    "null.yaml": "data: {frames: null}\n",
    "no_part.yaml": "model: {method: {init_args: {alignment: null}}}\n",
    "part.yaml": "class_path: fsar.encoders.ClipEncoder\ninit_args: {pretraind: shapes}\n",
    "typed.yaml": "class_path: fsar.encoders.ClipEncoder\ninit_args: {model: 3, pretrained: null}\n",
    "deep.yaml": "model: {method: {init_args: {alignment: {init_args: {temperature: warm}}}}}\n",
}


def rows() -> list[tuple[str, str]]:
    """Commands and what must be said of them."""
    text = (ROOT / "tests" / "wrong_uses.txt").read_text()
    lines = [line for line in text.splitlines() if line and line[0] != "#"]
    return list(zip(lines[::2], [line.strip() for line in lines[1::2]], strict=True))


@functools.cache
def not_understood() -> set[str]:
    """Commands that stand under the first heading."""
    return set((ROOT / "tests" / "wrong_uses.txt").read_text().split("\n\n")[1].splitlines()[1::2])


def run(command: str) -> str | int | None:
    """A command line in this process: what it leaves with."""
    program, *args = shlex.split(command)
    sys.argv = [program, *args]
    try:
        main = importlib.import_module(SCRIPTS[program]).main
        return main()
    except SystemExit as end:
        return end.code


@pytest.fixture(scope="module")
def world(config: Path, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, configurations, clips and weights, most of them wrong in some way."""
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [])
        for name, text in {**CONFIGS, "run.yaml": config.read_text(), "wrong_metrics.py": METRICS}.items():
            Path(name).write_text(text)
        assert run("fsar fit --debug --run trained -c run.yaml") is None
        assert not run("fsar extract --store store --splits test -c run.yaml --model.method Prototype")
        shutil.copytree("trained", "unfinished", ignore=shutil.ignore_patterns("checkpoints"))
        wrong_clips(clips)
        wrong_weights()
    return folder


def wrong_clips(clips: Path) -> None:
    first = clips / "class_0" / "0.mp4"
    for name in ("cut", "zero", "pointer", "bare", "many"):
        shutil.copytree(clips, f"data/{name}")
    Path("data/cut/class_1/3.mp4").write_bytes((clips / "class_1" / "3.mp4").read_bytes()[:300])
    Path("data/zero/class_1/3.mp4").write_bytes(b"")
    Path("data/pointer/class_1/3.mp4").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:a\nsize 9\n")
    for clip in Path("data/many/class_1").iterdir():
        clip.write_bytes(b"")
    shutil.rmtree("data/bare/class_1")
    for name in ("data/bare/class_1", "data/nothing", "data/flat", "data/one/class_0", "lonely/class_0", "still"):
        Path(name).mkdir(parents=True)
    for name in ("data/flat", "data/one/class_0", "lonely/class_0"):
        shutil.copy(first, name)
    for name in ("class_0", "class_1"):
        Path("support", name).mkdir(parents=True)
        shutil.copy(clips / name / "0.mp4", Path("support", name))
    shutil.copy(first, "clip.mp4")
    for name in ("photo.jpg", "still/1.jpg"):
        Image.new("RGB", (40, 40)).save(name)


def wrong_weights() -> None:
    tiny = (ROOT / "fsar" / "encoders" / "tiny" / "fsar-tiny.safetensors").read_bytes()
    Path("cut.safetensors").write_bytes(tiny[: len(tiny) // 2])
    best = Path("trained/checkpoints/best.ckpt").read_bytes()
    Path("cut.ckpt").write_bytes(best[: len(best) // 2])
    torch.save({"scale": torch.zeros(1)}, "plain.ckpt")
    Path("junk/results/x").mkdir(parents=True)
    Path("junk/results/x/results.json").write_text("{")


@pytest.fixture
def inside(world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The world as the current folder; its run must come out as it was."""
    monkeypatch.chdir(world)
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.delenv("FSAR_RUN", raising=False)
    monkeypatch.syspath_prepend(str(world))
    return world


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def impossible_here(command: str) -> str:
    """Why a wrong use would be right on this machine; "" when it is wrong."""
    return "there is a GPU" if re.search(r"\b(gpu|cuda)\b", command) and torch.cuda.is_available() else ""


@pytest.mark.parametrize(("command", "expected"), rows(), ids=lambda text: text.replace("{new}", "new")[:70])
def test_a_wrong_use_is_told_in_one_message(
    command: str, expected: str, inside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if reason := impossible_here(command):
        pytest.skip(reason)
    computed = contents(inside / "trained")
    word, _, rest = command.partition(" ")
    line = f"{SHORT.get(word, word)} {rest}".replace("{new}", str(tmp_path / "new")).replace("{root}", str(ROOT))
    left = run(line)
    told = left if isinstance(left, str) else capsys.readouterr().err
    status = 1 if isinstance(left, str) else left
    assert status == 1 if "--debug shows where)" in told else status == 2 if "every option)" in told else status
    assert status == 2 or command not in not_understood()
    said = " ".join(told.split())
    assert re.search(".*".join(re.escape(part.strip()) for part in expected.split("...")), said), said
    assert len(told.strip().splitlines()) <= LINES, told
    assert max(map(len, told.splitlines())) <= CHARACTERS, told
    assert "Traceback" not in told
    assert contents(inside / "trained") == computed


def test_there_are_enough_of_them_and_none_twice() -> None:
    commands = [command for command, _ in rows()]
    assert len(set(commands)) == len(commands) >= 100


@pytest.mark.parametrize(
    ("command", "status", "lines"),
    [
        ("-m fsar test --run nowhere", 1, 2),
        ("-m fsar compare nowhere", 1, 2),
        ("-m fsar compare nowhere --debug", 1, None),
        ("-m fsar compare", 2, 2),
    ],
)
def test_as_a_process_of_its_own(command: str, status: int, lines: int | None, tmp_path: Path) -> None:
    args = [sys.executable, *command.split()]
    done = subprocess.run(args, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert ("Traceback" in done.stderr) is (lines is None)
    assert lines is None or len(done.stderr.splitlines()) == lines


def test_a_fit_that_learned_nothing_leaves_the_folder_free(inside: Path, tmp_path: Path) -> None:
    new = f"fsar fit --run {tmp_path}/new -c run.yaml"
    assert "Invalid learning rate" in str(run(f"{new} --model.optimizer.lr -1"))
    assert run(new) is None


def test_going_on_wrongly_leaves_the_run_its_configuration(inside: Path, tmp_path: Path) -> None:
    shutil.copytree("trained", tmp_path / "run")
    before = (tmp_path / "run" / "config.yaml").read_text()
    go_on = f"fsar fit --run {tmp_path}/run -c run.yaml --ckpt_path {tmp_path}/run/checkpoints/last.ckpt"
    assert "does not fit" in str(run(f"{go_on} --model.method.depth 2"))
    assert (tmp_path / "run" / "config.yaml").read_text() == before


def test_null_stays_null_below_two_classes(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = "--model.encoder.pretrained null --model.encoder.frames_per_chunk=null"
    assert run(f"fsar fit -c run.yaml --model.encoder.model fsar-tiny {options} --print_config") == 0
    encoder = yaml.safe_load(capsys.readouterr().out)["model"]["method"]["init_args"]["encoder"]["init_args"]
    assert encoder["pretrained"] is encoder["frames_per_chunk"] is None


def test_weights_that_were_not_trained_are_said(
    inside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(f"fsar test --run {tmp_path}/new -c run.yaml")
    told = capsys.readouterr().out
    assert re.search(r"no checkpoint was read; the [\d,]+ weights that ClipFSAR trains", told)
    assert re.search(r"note: the weights of the encoder \S+ \(pretrained: null\) are random", told)
    run("fsar test --run trained")
    told = capsys.readouterr().out
    assert "no checkpoint was read" not in told
    assert "(pretrained: null) are random" in told  # it is frozen, and so in no checkpoint


def test_random_weights_are_those_that_nothing_brings() -> None:
    part = {"class_path": "fsar.encoders.ImageEncoder", "init_args": {"model": "resnet18", "weights": None}}
    assert random_encoders({"encoder": {"init_args": {"encoder": part}}}) == ["resnet18 (weights: null)"]
    assert random_encoders([part], trained=True)
    part["init_args"] |= {"tune": "full"}
    assert not random_encoders([part], trained=True)
    for model, pretrained in (("hf-hub:a/b", None), ("fsar-tiny", "shapes")):
        part = {"class_path": "fsar.encoders.ClipEncoder", "init_args": {"model": model, "pretrained": pretrained}}
        assert not random_encoders(part)
