"""Every code block of the README and of docs/ does what the text around it says.

Each page gets a folder of its own with a few real clips, a trained run and copies of configs/. There, in the page's
order: Python blocks run and share their names, YAML blocks are read by the command line's parser, and commands are read
by their own parsers and then run as they stand, on few episodes (tools only if they are quick). A block with
``title="name"`` also becomes the file of that name. A block that needs what nobody has at hand says so in the line
before it, ``<!-- not run: reason -->``; ``<!-- commands not run: reason -->`` below a page's title holds for all its
commands. They are read all the same.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import runpy
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import jsonargparse
import pytest
import yaml

from fsar.__main__ import main as fsar
from fsar.build import expand
from fsar.commands import COMMANDS
from fsar.commands.look import predict
from fsar.commands.measure import over_splits
from fsar.commands.train import fit
from fsar.encoders.weights.options import spell_encoder

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LANGUAGES = {"python", "yaml", "bash", "console", "text", "math"}  # the last is drawn when the site is built
FENCE = re.compile(r"^( *)```(\w*)(.*)$")
TITLE = re.compile(r'title="([^"]+)"')
LEFT_OUT = re.compile(r"<!-- (commands )?not run: (.+?) -->")
PROGRAMS = {"fsar", "fsar-demo", "make", "pip", "python", "pytest", "sbatch", "srun", "tensorboard"}
COMMAND = re.compile(rf"^(\$ )?({'|'.join(PROGRAMS)})( |$)", re.MULTILINE)
QUICK = {"check-alignment", "check-videos", "compare", "extract", "episodes", "play", "plot-alignment"}
QUICK |= {"publish", "report"}

BASE = ["-c", "trainer", "-c", "data/folder", "-c", "method/clip_fsar_tiny"]
FEW = ["--data.train_episodes=2", "--data.val_episodes=2", "--data.test_episodes=12", "--data.workers=0"]
FEW += ["--data.check_videos=false"]
BRIEF = ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--debug"]
CLIPS = {"class_path": "episodes.splits.Folder", "init_args": {"root": "my_clips", "seed": 0}}
HERE = [f"--data.benchmark={json.dumps(CLIPS)}", "--data.ways=3", "--data.size=64"]

pytestmark = pytest.mark.filterwarnings(  # of Lightning, about itself and about our tiny loaders
    "ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning",
    "ignore:LightningCLI's args parameter",
    "ignore:.*isinstance.treespec, LeafSpec:FutureWarning",
    "ignore:The '.*dataloader' does not have many workers",
    "ignore:The number of training batches",
    "ignore:Checkpoint directory .* exists and is not empty",
    "ignore:Be aware that when using `ckpt_path`",
)


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language, the file it becomes, and why it is not run (empty: it is)."""

    where: str
    language: str
    title: str
    text: str
    reason: str


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    lines = page.read_text().splitlines()
    head = next((found[2] for line in lines[:6] if (found := LEFT_OUT.search(line)) and found[1]), "")
    first, opening = 0, None
    for number, line in enumerate(lines):
        if opening is None:
            first, opening = number, FENCE.match(line)
        elif line.strip() == "```":
            text = textwrap.dedent("\n".join(lines[first + 1 : number])) + "\n"
            language = opening[2] or ("bash" if COMMAND.match(text) else "text")
            title, found = TITLE.search(opening[3]), LEFT_OUT.search(lines[first - 1])
            reason = found[2] if found else head if language in ("bash", "console") else ""
            yield Block(f"{page.relative_to(ROOT)}:{first + 1}", language, title[1] if title else "", text, reason)
            opening = None
    assert opening is None, f"{page}: the block that starts in line {first + 1} does not end"


def commands(block: Block) -> Iterator[list[str]]:
    """The commands of a shell block as words, without comments; of a console, the lines after ``$``."""
    for line in block.text.replace("\\\n", " ").splitlines():
        shown = line.removeprefix("$ ")
        if block.language == "bash" or shown != line:
            words = shlex.split(shown, comments=True)
            while words and re.match(r"[A-Z_]+=", words[0]):
                del words[0]
            if words:
                yield words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_a_page_does_what_it_says(page: Path, place: Path, parser: Any) -> None:
    names: dict[str, Any] = {"__name__": page.stem}
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{block.where}: a block is one of {sorted(LANGUAGES)}"
        if block.title:
            target = (place / block.title).resolve()
            assert target.is_relative_to(place), f"{block.where}: {block.title} lies elsewhere"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text)
            importlib.invalidate_caches()
        try:
            check(block, names, parser)
        except (Exception, SystemExit, Parsed) as error:
            raise AssertionError(f"{block.where}: {type(error).__name__}: {error}\n\n{block.text}") from error


def test_few_blocks_are_left_out() -> None:
    reasons = [found[2] for page in PAGES for found in LEFT_OUT.finditer(page.read_text())]
    assert len(reasons) <= 20, reasons
    assert all(reason.startswith(("needs ", "they need ", "takes ")) for reason in reasons), reasons


def check(block: Block, names: dict[str, Any], parser: Any) -> None:
    """Run a block, or only read it when it must not run."""
    match block.language:
        case "python":
            code = compile(block.text, block.where, "exec")
            if not block.reason and not Path(block.title).name.startswith("test_"):
                exec(code, names)
        case "yaml":
            read_yaml(yaml.safe_load(block.text), parser)
        case "bash" | "console":
            for words in commands(block):
                command(words, parser, run=not block.reason)
        case "text":
            assert not COMMAND.search(block.text), "a command in a text block: call it bash or console"


def read_yaml(content: dict[str, Any], parser: Any) -> None:
    """A configuration, or a part of one such as ``encoder:``, is what ``fsar fit`` understands."""
    if {"alignment", "encoder", "texts"} & content.keys():
        content = {"model": {"method": {"class_path": "fsar.methods.ClipFSAR", "init_args": content}}}
    if content.keys() <= {"seed_everything", "trainer", "data", "model"}:
        parser.parse_args(expand(["fit", *BASE, "-c", json.dumps(content)]))


def command(words: list[str], parser: Any, run: bool) -> None:
    """Read the command line of a program with its own parser, and then run it if it may run."""
    match words:
        case ["fsar", "predict", *rest]:
            _, options = predict.read(rest)
            parser.parse_args(expand(["test", *BASE, *options]))
            if run:
                fsar(words[1:])
        case ["fsar", "--completion", ">", _]:
            finish(lambda: fsar(words[1:2]))
        case ["fsar", "test", *rest] if "--splits" in rest:
            brief = read_program(lambda: over_splits.main(rest), parser)
            finish(lambda: over_splits.main([*rest, *brief]) if run else None)
        case ["fsar", "fit" | "validate" | "test", *_]:
            run_fsar(words[1:], parser, run)
        case ["fsar"] | ["fsar", "--help" | "--version"]:
            fsar(words[1:])
        case ["fsar-demo", *rest] | ["fsar", "web", *rest]:
            read_program(lambda: importlib.import_module("fsar.web.app").main(rest), parser)
        case ["fsar", name, *rest]:
            run_command(name, rest, parser, run)
        case ["python", "-m", "pytest", *rest]:
            assert pytest.main(["-q", "-p", "no:cacheprovider", *rest]) == 0
        case ["python", tool, *rest]:
            read_program(lambda: run_script(ROOT / tool, rest), parser)
        case ["make", target]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"no target {target}"
        case ["pip", "install", *rest]:
            extras = (ROOT / "setup.cfg").read_text()
            assert all(re.search(rf"^{name} =", extras, re.MULTILINE) for name in re.findall(r"\[(\w+)\]", str(rest)))
        case ["sbatch", script]:
            assert Path(script).is_file(), f"{script} does not exist"
        case ["tensorboard", "--logdir", _]:
            assert shutil.which("tensorboard", path=Path(sys.executable).parent)
        case _:
            raise ValueError(f"{' '.join(words)}: teach tests/docs/test_blocks.py how to check it.")


def made_before(word: str) -> bool:
    """A configuration that a line before this one writes, such as ``stores/mine/data.yaml``."""
    return word.startswith("stores/") and not Path(word).exists()


def run_fsar(args: list[str], parser: Any, run: bool) -> None:
    """``fsar fit``, ``validate`` or ``test``; ``...`` stands for configuration files."""
    args = [word for arg in args for word in (BASE if arg == "..." else [arg])]
    if not any(arg.endswith(("help", "--print_config", "--version")) for arg in args):
        if not run and any(made_before(word) for flag, word in pairwise(args) if flag == "-c"):
            return
        absent = (
            not run and args[0] != "fit" and "--run" in args and "method/" not in " ".join(args)
        )  # a run that would be there by then
        args = [args[0], *spell_encoder(args[1:])]
        expanded = expand([args[0], *BASE, *args[1:]] if absent else args)
        brief = [*few(parser.parse_args(fit.take_shots(expanded)[0])[args[0]]), *BRIEF]
        if not run:
            return
        args = instead(args, brief)
        if args[0] == "fit" and "--run" in args and "--ckpt_path" not in args:
            shutil.rmtree(args[args.index("--run") + 1], ignore_errors=True)
    finish(lambda: fsar(args))
    os.environ.pop(fit.RUN_VARIABLE, None)


def instead(args: list[str], brief: list[str]) -> list[str]:
    """The words with the options ``--key=value`` of ``brief`` at their end, and only there."""
    set_again = {option.split("=")[0] for option in brief}
    return [
        *(
            word
            for before, word in zip(["", *args], args, strict=False)
            if word.split("=")[0] not in set_again and before not in set_again
        ),
        *brief,
    ]


def few(config: Any) -> list[str]:
    """Options for a few episodes, of the clips that are here if those of the configuration are not."""
    source = config.data.benchmark
    local = source is not None and Path(source.init_args.get("root", ""), "waving").is_dir()
    return [*([] if local else HERE), *FEW]


def run_command(name: str, args: list[str], parser: Any, run: bool) -> None:
    """Any other command of ``fsar``."""
    args = [word for arg in args for word in (BASE if arg == "..." else [arg])]
    main = importlib.import_module(f"fsar.commands.{COMMANDS[name].module}").main
    brief = read_program(lambda: main(args), parser)
    if name == "report":
        brief = ["--gallery", "2", *brief]  # each episode shown is explained and sketched
    if run and name in QUICK:
        finish(lambda: main([*args, *brief]))


def run_script(path: Path, args: list[str]) -> None:
    """``python tools/X.py``, to be stopped when it has read its options."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(path), *args])
        runpy.run_path(str(path), run_name="__main__")


class Parsed(BaseException):
    """Stops a program when it has read its command line; holds what it left over."""


def read_program(program: Callable[[], object], parser: Any) -> list[str]:
    """Let a program read its command line and stop it there; what it leaves over must be options of ``fsar test``.

    Returns:
        Options that keep it brief, if it takes options of ``fsar test``.
    """
    known, typed = argparse.ArgumentParser.parse_known_args, jsonargparse.ArgumentParser.parse_args

    def parse_known_args(self: Any, *args: Any, **options: Any) -> NoReturn:
        raise Parsed(known(self, *args, **options)[1])

    def parse_args(self: Any, *args: Any, **options: Any) -> NoReturn:
        with pytest.MonkeyPatch.context() as undone:
            undone.setattr(jsonargparse.ArgumentParser, "parse_args", typed)
            undone.setattr(argparse.ArgumentParser, "parse_known_args", known)
            typed(self, *args, **options)
        raise Parsed([])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_known_args", parse_known_args)
        patch.setattr(jsonargparse.ArgumentParser, "parse_args", parse_args)
        with pytest.raises(Parsed) as stop:
            program()
    rest = stop.value.args[0]
    return few(parser.parse_args(expand(["test", *BASE, *rest])).test) if rest else []


def finish(program: Callable[[], object]) -> None:
    """Run to the end; leaving with a status that is not 0 is a failure."""
    try:
        status = program()
    except SystemExit as end:
        if end.code:
            raise
    else:
        assert not isinstance(status, int) or not status
