"""Getting the published lists: from a server of our own, and from files."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

from episodes.benchmarks import SPLITS, Definition, definition, read_lists

ROOT = Path(__file__).resolve().parents[4]


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem + "_tested", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


made_up = load(ROOT / "tests" / "episodes" / "benchmarks" / "made_up.py")
tool = importlib.import_module("fsar.commands.data.splits")


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """The address of a server of a folder."""
    servers: list[ThreadingHTTPServer] = []

    def start(folder: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Definition:
    """The made-up benchmark, its second source complete in ``tmp_path/web``."""
    folder = made_up.write(tmp_path / "web" / "other" / "lists", "class")
    known = made_up.make_definition()
    sums = {split: sha256((folder / f"{split}list03.txt").read_bytes()).hexdigest() for split in SPLITS}
    known = replace(known, sources=tuple(replace(source, sha256=sums) for source in known.sources))
    monkeypatch.setattr(tool, "definition", lambda name: known)
    monkeypatch.setattr(tool, "definitions", lambda: {"made_up": known})
    return known


def test_lists_are_fetched_from_the_first_source_that_answers(
    known: Definition, serve: Callable[[Path], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert tool.main(["--mirror", serve(tmp_path / "web"), "--out", str(out)]) == 0
    assert read_lists(out, known).sha256() == known.sha256
    assert "train 2 classes 4 videos, val 1 class 2 videos, test 2 classes 4 videos" in capsys.readouterr().out


def test_a_file_that_was_changed_is_refused_or_recorded(
    known: Definition, serve: Callable[[Path], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "web" / "other" / "lists" / "testlist03.txt"
    file.write_text(file.read_text() + "sit/one_more\n")
    found = sha256(file.read_bytes()).hexdigest()
    args = ["--mirror", serve(tmp_path / "web"), "--out", str(tmp_path / "out")]
    assert tool.main(args) == 1
    error = capsys.readouterr().err
    assert f"has sha256 {found}, published {known.sources[0].sha256['test']}" in error
    assert not (tmp_path / "out").exists()
    assert tool.main([*args, "--allow-changed"]) == 0
    assert "not as published: test has 5 videos, published 4" in capsys.readouterr().out


def test_without_a_network_it_says_what_to_do(
    known: Definition, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tool.main(["--mirror", "http://127.0.0.1:9", "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "no source could be reached (one: " in error
    assert all(address in error for address in known.sources[0].address.values())
    assert "--benchmark made_up --from FOLDER_WITH_THE_THREE_FILES" in error


def test_from_files(known: Definition, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "web" / "other" / "lists"
    files = [str(folder / f"{split}list03.txt") for split in SPLITS]
    assert tool.main(["--from", *files, "--out", str(tmp_path / "out")]) == 0
    assert tool.main(["--from", *files[:2], "--out", str(tmp_path / "other")]) == 1
    assert "looked for made_up.csv, or for train_few_shot.txt" in capsys.readouterr().err


def test_an_unknown_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["--benchmark", "ssv2"]) == 1
    assert "no published benchmark 'ssv2'; known are ssv2_full" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["hmdb51", "kinetics100_clipfsar", "ssv2_small"])
def test_the_published_files_at_their_addresses(
    shared: Path, serve: Callable[[Path], str], tmp_path: Path, name: str
) -> None:
    """The real files, served under the paths of their real addresses, pass every check."""
    known = definition(name)
    place = {"hmdb51": "trx/hmdb_ARN", "kinetics100_clipfsar": "clip_fsar/kinetics100", "ssv2_small": "cmn/smsm-100"}
    for address in known.sources[0].address.values():
        path = tmp_path / "web" / address.removeprefix(tool.HOST + "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(shared / "splits" / "published" / place[name] / path.name)
    args = ["--benchmark", name, "--mirror", serve(tmp_path / "web"), "--out", str(tmp_path / "out")]
    assert tool.main(args) == 0
    assert read_lists(tmp_path / "out", known).changes == ()
