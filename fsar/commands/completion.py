"""Completion of ``fsar`` in bash and zsh: a script in which every option is written out, so that TAB starts no Python.

(jsonargparse's own ways do not serve: its script for shtab is never finished, because encoders take encoders, and
argcomplete would import everything at each TAB.)
"""

from __future__ import annotations

import inspect
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from typing import Any

from fsar.alignment import Alignment
from fsar.commands.look import predict
from fsar.encoders import FrameEncoder
from fsar.method import Method

SCRIPT = """\
_fsar() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} words=""
    case ${{COMP_WORDS[COMP_CWORD - 1]}} in
        fsar) words="{subcommands}" ;;
{values}
        *) if [[ $word == -* ]]; then case ${{COMP_WORDS[1]}} in
{options}
        esac; fi ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _fsar fsar
"""


def script(parsers: Mapping[str, ArgumentParser]) -> str:
    """The script.

    Args:
        parsers: of the subcommands.
    """
    parts: Mapping[str, Any] = {"method": Method, "alignment": Alignment, "encoder": FrameEncoder}
    lines = [f'{option(name)}) words="{" ".join(names(part))}" ;;' for name, part in parts.items()]
    short = {f"--model.{name}" for part in subclasses(Method) for name in inspect.signature(part).parameters}
    options = {name: short | list_options(parser) for name, parser in parsers.items()}
    handed_on = {option for option in options["test"] if option.startswith(("--model.", "--data."))}
    options["predict"] = handed_on | list_options(predict.options())
    return SCRIPT.format(
        subcommands=" ".join(options),
        values="\n".join(f"        {line}" for line in lines),
        options="\n".join(
            f'            {name}) words="{" ".join(sorted(found))}" ;;' for name, found in options.items()
        ),
    )


def list_options(parser: ArgumentParser) -> set[str]:
    """All options of a parser."""
    return {option for action in parser._actions for option in action.option_strings}


def option(part: str) -> str:
    """The options that take a class of this part, as a pattern."""
    return "--model.method" if part == "method" else f"--model.{part} | --model.method.{part}"


def names(part: type) -> list[str]:
    """Names of our classes of a part, as the command line takes them."""
    found = (each for each in subclasses(part) if each.__module__.startswith("fsar."))
    return sorted({each.__name__ for each in found if not each.__name__.startswith("_")})


def subclasses(part: type[Any]) -> Iterator[type[Any]]:
    """All classes derived from a class, from theirs too."""
    for each in part.__subclasses__():
        yield each
        yield from subclasses(each)
