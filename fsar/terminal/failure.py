"""How a command fails: one message, and an exit status that is not 0."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import select
import shutil
import site
import sys
import sysconfig
import textwrap
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from fsar.terminal.files.config_files import refuse_twice
from fsar.terminal.noise import hush_libraries
from fsar.terminal.shown import OURS, show_messages, shown
from fsar.terminal.wrong_use import STATUS, WrongUse

LINES = 8
INTERRUPTED = 130
"""Exit status after a Ctrl-C, as of a shell's own commands: 128 and the signal's number."""
LISTENER_GONE = 141
"""Exit status when what read our output has ended, as ``head`` does; likewise, of SIGPIPE."""
OF_A_UNION = "Does not validate against any of the Union subtypes"
READABLE = (ValueError, OSError, ImportError, FloatingPointError, NotImplementedError)
PEER_GONE = re.compile(r"gloo/transport/|ncclRemoteError|Connection (closed|reset) by peer")
"""In what torch raises of several processes when one of them is no longer there."""


@contextmanager
def one_message(debug: bool | None = None, program: str = "fsar") -> Iterator[None]:
    """Turn any exception into one message on standard error and exit status 1, a :class:`WrongUse` into one and status
    2, a Ctrl-C into one and status 130.

    It decorates ``main`` of a command as well.

    Args:
        debug: let the exception through instead; None looks for ``--debug`` on the command line.
        program: what the message starts with.
    """
    show_messages()
    hush_libraries()
    try:
        yield
    except BaseException as error:
        if was_interrupted(error):
            tell_interrupted(program)
            sys.exit(INTERRUPTED)
        if isinstance(error, BrokenPipeError) and nobody_listens():
            sys.exit(LISTENER_GONE)
        if not isinstance(error, Exception):
            raise
        if "--debug" in sys.argv if debug is None else debug:
            raise
        lines = f"{program}: {shown(phrase_error(error))}".splitlines()
        first = lines if len(lines) <= LINES else [*lines[: LINES - 1], "..."]
        hint = "--help lists every option" if isinstance(error, WrongUse) else f"{users_own(error)}--debug shows where"
        told = "\n".join(map(fold, [*first, f"({hint})"]))
        if not isinstance(error, WrongUse):
            sys.exit(told)
        print(told, file=sys.stderr)
        sys.exit(STATUS)


def fold(line: str) -> str:
    """A line that is broken between words where a terminal would break it anywhere; as it is for a file."""
    if not sys.stderr.isatty():
        return line
    width = shutil.get_terminal_size().columns
    return "\n".join(textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)) or line


def nobody_listens() -> bool:
    """Whether standard output leads nowhere any more; what is still to be written to it is then let go."""
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # no file of the operating system's
        return False
    poll = select.poll()
    poll.register(output, 0)
    gone = any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)  # else Python complains of it at the end
    return gone


def was_interrupted(error: BaseException) -> bool:
    """Whether a Ctrl-C is why this was raised: what breaks while one is dealt with is no failure of its own."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, KeyboardInterrupt):
        seen = seen.__cause__ if seen.__suppress_context__ else seen.__context__
    return seen is not None


def tell_interrupted(program: str) -> None:
    """One sentence, of the first of several processes alone."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print(f"{program}: interrupted.", file=sys.stderr, flush=True)


def phrase_error(error: Exception) -> str:
    """What an exception says; its type stands before it unless its text is meant to be read alone."""
    while str(error).startswith(OF_A_UNION) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # of jsonargparse, around what the constructor of an optional part said
    if isinstance(error, OSError) and error.errno and error.filename:
        folder = Path(error.filename).parent
        return f"{error.filename}: {error.strerror}" + ("" if folder.is_dir() else f"; there is no folder {folder}")
    if isinstance(error, RuntimeError) and PEER_GONE.search(str(error)):
        return (
            "another process of this run is gone (killed, out of memory, or by an error that stands above): this one "
            "ends, too."
        )
    return str(error) if isinstance(error, READABLE) and str(error) else f"{type(error).__name__}: {error}"


def users_own(error: Exception) -> str:
    """``in FILE line N, FUNCTION; `` of the innermost code that is neither ours nor a library's; "" without any."""
    paths = map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib"))
    others = (*OURS, *map(Path, {*site.getsitepackages(), site.getusersitepackages(), *paths}))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.suffix == ".py" and not any(path.is_relative_to(folder) for folder in others):
            return f"in {path.name} line {frame.lineno}, {frame.name}; "
    return ""


LIST_OPTIONS = "--list-options"
"""The word that, alone on a command line, asks a command which options it takes."""


class OptionsAsked(BaseException):
    """The answer to :data:`LIST_OPTIONS`: completion asks it of every command, and nothing is run.

    Args:
        parser: of the command.
        handed_on: what the options begin with that the command takes beside its own, from those of ``fsar test``.
    """

    def __init__(self, parser: argparse.ArgumentParser, handed_on: Sequence[str] = ()) -> None:
        super().__init__(parser.prog)
        self.parser, self.handed_on = parser, tuple(handed_on)


class Options(argparse.ArgumentParser):
    """The options of a tool; a wrong one is told in one line, without the list of all.

    Args:
        description: the tool's docstring.
        epilog: what ``--help`` says at its end.
        prog: the tool's name, when it is not its file's.
    """

    def __init__(self, description: str | None, epilog: str | None = None, prog: str | None = None) -> None:
        plain = argparse.RawDescriptionHelpFormatter
        super().__init__(prog, description=description, epilog=epilog, formatter_class=plain, allow_abbrev=False)
        self.add_argument("--debug", action="store_true", help="show the traceback of an error")

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As any parser does, and without options that are handed on."""
        if list(args or ()) == [LIST_OPTIONS]:
            raise OptionsAsked(self)
        return super().parse_args(args, namespace)

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As any parser does; but an option that stands there twice is refused, unless it adds up."""
        if list(args or ()) == [LIST_OPTIONS]:
            raise OptionsAsked(self, ("-",))
        adds = (action for action in self._actions if action.nargs == 0 or isinstance(action, argparse._AppendAction))
        try:
            refuse_twice(sys.argv[1:] if args is None else args, [o for action in adds for o in action.option_strings])
        except ValueError as error:
            self.error(str(error))
        return super().parse_known_args(args, namespace)

    def own_and_others(self, args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """What is ours, and the ``--model.X`` and ``--data.X`` that are handed on; any other option is refused."""
        if args == [LIST_OPTIONS]:
            raise OptionsAsked(self, ("--model.", "--data."))
        own, rest = self.parse_known_args(args)
        for before, arg in zip(["", *rest], rest, strict=False):
            if not arg.startswith("-") and (not before.startswith("--") or "=" in before):
                self.error(
                    f"{self._belonging(arg, args)}; what holds spaces needs quotes, a folder stands for its files."
                )
            if arg.startswith("-") and not arg.startswith(("--model.", "--data.")):
                known = [option for action in self._actions for option in action.option_strings]
                close = difflib.get_close_matches(arg, known, 1)
                self.error(f"{arg} is no option" + (f"; did you mean {close[0]} ?" if close else "."))
        return own, rest

    def _belonging(self, word: str, args: Sequence[str]) -> str:
        """What is said of a word that is one too many: behind which option it stands."""
        behind = (i for i in range(1, len(args)) if args[i] == word and not re.match("-[^=]*$", args[i - 1]))
        options = [before.partition("=")[0] for before in args[: next(behind, 0)] if before.startswith("-")]
        option = "".join(options[-1:])
        action = self._option_string_actions.get(option)
        if action is None or action.nargs is not None:
            return f"{word} belongs to no option"
        return f"{option} takes one {'path' if action.type is Path else 'value'}, but {word} follows too"

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and leave with status 2; one colon is enough after the option."""
        message = re.sub(r"^argument ([^:]+): (?=.* cannot be written|is )", r"\1 ", message)
        message = re.sub(r"^argument ([^:]+): ", r"\1: ", message)
        for kind, words in {"int": "a whole number", "float": "a number"}.items():
            message = message.replace(f"invalid {kind} value: ", f"expected {words}, found ")
        self.exit(2, f"{self.prog}: {shown(message)}\n(--help lists every option)\n")
