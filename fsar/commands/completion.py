"""Completion of ``fsar`` in bash and zsh: a script in which every option is written out, so that TAB starts no Python.

Every command is asked which options it takes; nothing is listed here. (jsonargparse's own ways do not serve: its script
for shtab is never finished, because encoders take encoders, and argcomplete would import everything at each TAB.)
"""

from __future__ import annotations

import inspect
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from fsar.alignment import Alignment
from fsar.commands import COMMANDS, Command
from fsar.encoders import FrameEncoder
from fsar.method import Method
from fsar.terminal.failure import LIST_OPTIONS, OptionsAsked
from fsar.terminal.files.shipped import list_shipped

SCRIPT = """\
_fsar() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} words=""
    case ${{COMP_WORDS[1]}}:${{COMP_WORDS[COMP_CWORD - 1]}} in
        *:fsar) words="{commands}" ;;
{values}
        *) if [[ $word == -* ]]; then case ${{COMP_WORDS[1]}} in
{options}
        esac; fi ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _fsar fsar
"""
ONLY = {"episodes": ("--data.", "-c", "--config", "--run")}
"""Of what a command could hand on, what it has a use for."""


def write_script(parsers: Mapping[str, ArgumentParser]) -> str:
    """The script.

    Args:
        parsers: of ``fit``, ``validate`` and ``test``; what ``test`` takes others hand on.
    """
    parts: Mapping[str, Any] = {"method": Method, "alignment": Alignment, "encoder": FrameEncoder}
    values = [f'{option_pattern(name)}) words="{" ".join(list_classes(part))}" ;;' for name, part in parts.items()]
    values.append(f'*:-c | *:--config) words="{" ".join(list_shipped())}" ;;')
    short = {"--encoder"} | {
        f"--model.{name}" for part in list_subclasses(Method) for name in inspect.signature(part).parameters
    }
    options = {name: short | list_options(parsers[name]) for name, command in COMMANDS.items() if command.named}
    for name, command in COMMANDS.items():
        if name in options:
            continue
        found = ask_options(command)
        handed_on = tuple(ONLY.get(name, found.handed_on))
        options[name] = {option for option in options["test"] if option.startswith(handed_on)} if handed_on else set()
        options[name] |= list_options(found.parser)
        values += list_choices(name, found.parser)
    lines = [f'{name}) words="{" ".join(sorted(options[name]))}" ;;' for name in COMMANDS]
    return SCRIPT.format(
        commands=" ".join(COMMANDS),
        values="\n".join(f"        {line}" for line in values),
        options="\n".join(f"            {line}" for line in lines),
    )


def ask_options(command: Command) -> OptionsAsked:
    """What a command says of its options.

    Raises:
        RuntimeError: when it does not ask its parser first.
    """
    try:
        import_module(f"fsar.commands.{command.module}").main([LIST_OPTIONS])
    except OptionsAsked as answer:
        return answer
    raise RuntimeError(f"fsar.commands.{command.module} does not parse its options by fsar.terminal.failure.Options.")


def list_options(parser: ArgumentParser) -> set[str]:
    """All options of a parser that its help shows."""
    shown = (action for action in parser._actions if action.help != SUPPRESS)
    return {option for action in shown for option in action.option_strings}


def list_choices(command: str, parser: ArgumentParser) -> list[str]:
    """Lines for the options of a command that take one of a few words."""
    found = ((action.option_strings, action.choices) for action in parser._actions)
    return [
        f'{" | ".join(f"{command}:{option}" for option in options)}) words="{" ".join(map(str, choices))}" ;;'
        for options, choices in found
        if options and choices
    ]


def option_pattern(part: str) -> str:
    """The options that take a class of this part, as a pattern."""
    return "*:--model.method" if part == "method" else f"*:--model.{part} | *:--model.method.{part}"


def list_classes(part: type) -> list[str]:
    """Names of our classes of a part, as the command line takes them."""
    found = (each for each in list_subclasses(part) if each.__module__.startswith("fsar."))
    return sorted({each.__name__ for each in found if not each.__name__.startswith("_")})


def list_subclasses(part: type[Any]) -> Iterator[type[Any]]:
    """All classes derived from a class, from theirs too."""
    for each in part.__subclasses__():
        yield each
        yield from list_subclasses(each)
