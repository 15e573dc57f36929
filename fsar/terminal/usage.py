"""What is wrong with an option, in a line or two.

jsonargparse tells of a wrong value as deep as it stands, one nested block for each class on the way and each type that
the value might have had. Here the blocks become one key, and the types one sentence.
"""

from __future__ import annotations

import difflib
import inspect
import pkgutil
import re
import sys
import textwrap
from argparse import ArgumentError
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, NoReturn

import jsonargparse
import yaml

from fsar.terminal.files.aliases import rename_classes
from fsar.terminal.files.config_files import find_origin, is_null
from fsar.terminal.nulls import find_not_finite, find_null_options, find_nulls
from fsar.terminal.shown import shown

WORDS = {
    **{"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "NoneType": "null"},
    **dict.fromkeys(("list", "tuple", "Sequence", "Iterable"), "a list"),
    **{"dict": "a mapping", "Callable": "a class"},
}
SUBCOMMAND = r"^(fit|validate|test)\."
SHELL = re.compile(
    r"Parser key \"(?P<key>[^\"]+)\"(?: element \d+)?:"
    r"|Problem with given class_path '(?P<owner>[^']+)':"
    r"|(?:- )?Expected a path but .*? either not accessible or invalid\n\s*- "
    r"|Type \S+\.Callable.*? expects a function or a callable class:"
)
"""What stands around an error, once for each key and class on the way to it."""

PARSED = r"\. Got value: Namespace\(class_path='([\w.]+)'.*"
PACKAGES = ("fsar.", "episodes.", "torch.optim", "lightning.pytorch.callbacks", "lightning.pytorch.loggers")
"""Where class names are looked for that resemble an unknown one."""

load_yaml = jsonargparse.get_loader("yaml")


def load_renamed(text: str) -> Any:
    """What jsonargparse reads of a file or a value, with new class paths for those of earlier versions."""
    return rename_classes(load_yaml(text))


jsonargparse.set_loader("yaml", load_renamed, (yaml.YAMLError,))


class PlainParser(jsonargparse.ArgumentParser):
    """Says what is wrong in a line or two, and what was probably meant; its help has options by their whole names."""

    asked: ClassVar[str] = ""
    """The option of a part's help that is being answered, as the outermost parser got it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As any parser; but no option is shortened, in parsers of one command and of a part neither."""
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def parse_args(self, args: Sequence[str] | None = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """As any parser does; but ``null`` stays null below two classes, where jsonargparse hands on ``None``."""
        if not self.exit_on_error and args is not None:
            args = [re.sub(r"=None$", "=null", word) for word in args]
        asked = next((found[1] for word in args or () if (found := re.match(r"--([\w.]+)\.help(=|$)", word))), "")
        if asked and not PlainParser.asked.endswith(f".{asked}"):  # else this is a parser of a part of that one
            PlainParser.asked = asked
        config = super().parse_args(args, **kwargs)
        called, own = self._called(config.get("subcommand")), config.get(config.get("subcommand") or "", config)
        for key, kinds in (*find_nulls(config), *find_null_options(called._actions, own)):
            self.error(f'Parser key "{key}": expected {typed(kinds)}, found null; leave it out for its default.')
        for key, value in find_not_finite(own):
            self.error(f'Parser key "{key}": expected a finite number, found {value}.')
        return config

    def format_help(self, *args: Any) -> str:
        """What ``--help`` prints; jsonargparse knows the options of a part of a part by their last names alone."""
        found = re.match(r"Help for --([\w.]+)\.help=", self.description or "")
        if found and PlainParser.asked.endswith(f".{found[1]}"):
            for action in self._actions:
                action.option_strings = [
                    re.sub(f"^--{re.escape(found[1])}(?=\\.)", f"--{PlainParser.asked}", option)
                    for option in action.option_strings
                ]
            self.description = str(self.description).replace(f"--{found[1]}.", f"--{PlainParser.asked}.")
        text: str = super().format_help(*args)
        return text

    def _called(self, command: str | None) -> PlainParser:
        """The parser of a command, where each has its own; else this one."""
        action: Any = getattr(self, "_subcommands_action", None)
        found: PlainParser = action.choices.get(command, self) if action else self
        return found

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print what is wrong and leave with status 2; the parser of a nested class leaves that to the outermost."""
        if not self.exit_on_error:
            raise ArgumentError(None, str(message)) from ex
        parser = getattr(ex, "subcommand_parser", self)
        parser = parser._called("".join(sys.argv[1:2]))
        program = [word for word in parser.prog.split() if not word.startswith("[")]
        options = {option for action in parser._actions for option in action.option_strings}
        sys.stderr.write(
            f"{program[0]}: {shown(simplify(told(message, ex), sys.argv[1:], options))}\n"
            f"(`{' '.join(program)} --help` lists every option)\n"
        )
        sys.exit(2)


def told(message: object, error: BaseException | None) -> str:
    """A message of jsonargparse, with what is wrong inside the file of a part: it then tries the file's name as the
    value, reads the same file again, and says that the file names itself."""
    text, loop = str(message), "Config file loop detected: "
    while loop in text and error is not None:
        before = error.__context__
        if str(error).startswith(loop) and isinstance(before, ValueError):
            return text.replace(str(error), str(before))
        error = error.__cause__ or before
    return text


def simplify(message: str, args: Sequence[str] = (), options: Collection[str] = ()) -> str:
    """A message of jsonargparse in a line or two.

    Args:
        message: as the outermost parser gives it.
        args: the command line; a wrong value that stands in one of its configuration files is said to.
        options: all that the parser knows, such as ``--data.ways``.
    """
    text = message.strip()
    if not any(word == "None" or word.endswith("=None") for word in args):  # what was typed is null
        text = re.sub(r"((?:Got|Given) value: )None$", r"\1null", text, flags=re.M)
    if unknown := re.search(r"unrecognized arguments: (\S+)", text):
        return f"there is no option {unknown[1].split('=')[0]}{near_option(unknown[1], options)}"
    if unknown := re.match(r"(?:Subcommand|Group) '\S+' does not accept option '(\S+)'", text):
        return f"{find_origin(unknown[1], args)}there is no option {unknown[1]}{near_option(unknown[1], options)}"
    keys, owner, rest = unnest(re.sub(PARSED, "", text))
    owner = owner or next(iter(re.findall(PARSED, text)), "")
    key = re.sub(SUBCOMMAND, "", ".".join(keys))
    if unknown := re.match(r"Option '(\S+)' is not accepted", rest):
        return find_origin(f"{key}.{unknown[1]}", args, ", ") + no_such_argument(key, owner, unknown[1], args, options)
    if (lacking := re.match(r"the following arguments are required: (\S+)$", rest)) and owner:
        whole = f"{key}.{lacking[1]}"
        if is_null(whole, args):
            return f"{find_origin(whole, args, ', ')}{whole}: expected {needed(owner, lacking[1])}, found null."
    for pattern, say in LEAVES:
        if found := re.search(pattern, level(rest), re.DOTALL | re.MULTILINE):
            return ("" if say is missing else find_origin(key, args, ", ")) + say(key, owner, found)
    return f"{find_origin(key, args, ', ')}{key}: {' '.join(rest.split())}" if key else " ".join(rest.split())


def unnest(text: str) -> tuple[list[str], str, str]:
    """Keys from outside to inside, the class path of the innermost class, and what is said of it."""
    keys: list[str] = []
    owner = ""
    while True:
        text = text.strip()
        if found := SHELL.match(text):
            keys += [found["key"]] if found["key"] else []
            owner = found["owner"] or owner
            text = text[found.end() :]
        elif text.startswith("Does not validate against any of the Union") and (deeper := branch(text)):
            text = deeper
        else:
            return keys, owner, text


def branch(text: str) -> str | None:
    """Of a union, the error of the type that was meant: of a class that is named, or of what stands in one."""
    errors = re.split(r"^  - ", re.split(r"^Given value type:", level(text), flags=re.M)[0], flags=re.M)[1:]
    named = r"Problem with given class_path|Parser key|Import path|module '|No module named|dot import path|Option '"
    return next((error for error in errors if re.search(named, error) and "<class 'torch.Tensor'>" not in text), None)


def level(text: str) -> str:
    """The lines after the first moved to the left, as far as they go together."""
    first, _, rest = text.partition("\n")
    return f"{first}\n{textwrap.dedent(rest)}"


def no_class(key: str, owner: str, found: re.Match[str]) -> str:
    if found[1].endswith((".yaml", ".yml")):
        return f"{key}: there is no file {found[1]}."
    name = owner if owner.endswith(f".{found[1]}") else found[1]
    module = name.rpartition(".")[0]
    hint = f"; {module} holds none of that name." if module else "; write module.Class for one of your own."
    return f"{key}: there is no class {name}{near_class(name) or hint}"


def no_such_argument(key: str, owner: str, name: str, args: Sequence[str], options: Collection[str]) -> str:
    """Of a class, under the key that was typed: what is no option of a model is taken for one of its method."""
    typed_short = key == "model.method" and any(word.partition("=")[0] == f"--model.{name}" for word in args)
    key, beside = ("model", [o[8:] for o in options if re.fullmatch(r"--model\.\w+", o)]) if typed_short else (key, [])
    taken = parameters(owner)
    close = difflib.get_close_matches(name, [*taken, *beside], 1)
    if close and close[0] in beside:
        return f"there is no option --model.{name}; did you mean --model.{close[0]} ?"
    hint = f"; did you mean {close[0]} ?" if close else f"; it takes {', '.join(taken)}." if taken else "."
    return f"{key}.{name}: {owner.rpartition('.')[2]} takes no argument {name}{hint}"


def no_module(key: str, owner: str, found: re.Match[str]) -> str:
    where = f"; run from the folder that holds {found[1].split('.')[0]}.py, or put it on PYTHONPATH."
    return f"{key}: {owner} cannot be imported, there is no module {found[1]}{near_class(owner, 1) or where}"


def missing(key: str, owner: str, found: re.Match[str]) -> str:
    names = ", ".join(re.sub(SUBCOMMAND, "", name.strip()) for name in found[1].split(","))
    if not owner:
        return f"{names} is not given: name it in a -c FILE, or as --{names.split(', ')[0]}."
    return f"{key}: {owner} needs {names}; give --{key}.{names.split(', ')[0]}."


def no_part(key: str, owner: str, found: re.Match[str]) -> str:
    name = key.rpartition(".")[2] if found[1] is None else found[1]
    return f"{key}: expected a class ({name}), found {quote(found[2])}."


def wrong_type(key: str, owner: str, found: re.Match[str]) -> str:
    return f"{key}: expected {typed(found[1])}, found {quote(found[2].strip())}."


def quote(value: str) -> str:
    return value if value == "null" else repr(value)


LEAVES: tuple[tuple[str, Callable[[str, str, re.Match[str]], str]], ...] = (
    (r"^Subtypes: \[(.*?)\]$.*^Given value: (.*)", wrong_type),
    (r"(?:Not a valid subclass of (\w+)\.|Expected an import path .*?) Got value: (\S*)", no_part),
    (r"Expected an? (?:at most )?(.+?)\. Got value: (.*)", wrong_type),
    (r"(?:dot import path string|import path format): (\S+)", no_class),
    (r"module '\S+' has no attribute '(\S+)'", no_class),
    (r"No module named '(\S+)'", no_module),
    (
        r"Import path (\S+) does not (?:correspond to a subclass of|implement protocol) (\w+)",
        lambda k, o, m: f"{k}: {m[1]} is no {m[2]}; expected a class derived from it.",
    ),
    (r"the following arguments are required: (.+)", missing),
    (r"Unable to load config '?\"?([^'\"\n]*)", lambda k, o, m: f"{k}: expected a mapping or a file, found {m[1]!r}."),
)
"""What jsonargparse says at the end of a nest, and our words for it: of the key, its class, and the match."""


def typed(text: str) -> str:
    """Types as jsonargparse writes them, in words: ``<class 'int'>, <class 'NoneType'>``, *a whole number or null*."""
    types = re.findall(r"(?:[^,\[\]]|\[(?:[^\[\]]|\[(?:[^\[\]]|\[[^\[\]]*\])*\])*\])+", text)
    return " or ".join(dict.fromkeys(word(name.strip()) for name in types))


def word(name: str) -> str:
    """One type in words."""
    kind, _, inner = name.removeprefix("<class '").removesuffix("'>").partition("[")
    kind = kind.rpartition(".")[2]
    if kind == "Literal":
        return f"one of {inner[:-1]}"
    return WORDS.get(kind, f"{'an' if kind[:1] in tuple('AEIOUaeiou') else 'a'} {kind}")


def near_option(unknown: str, options: Collection[str]) -> str:
    """``; did you mean ... ?`` of the option whose last word is the closest; "" when none is close."""
    name = unknown.split("=")[0]
    by_word: dict[str, list[str]] = {}
    for option in options:
        by_word.setdefault(option.lstrip("-").rpartition(".")[2], []).append(option)
    close = difflib.get_close_matches(name.lstrip("-").rpartition(".")[2], by_word, 1)
    if not close:
        return "."
    option = max(by_word[close[0]], key=lambda option: difflib.SequenceMatcher(None, option, name).ratio())
    return f"; did you mean {option if name.startswith('-') else option.lstrip('-')} ?"


def near_class(name: str, cutoff: float = 0.7) -> str:
    """``; did you mean ... ?`` of the class that is called nearly so (the same at ``cutoff=1``); "" when none is."""
    known: dict[str, str] = {}
    for module in sorted((m for m in list(sys.modules) if f"{m}.".startswith(PACKAGES)), key=len):
        for each, value in list(vars(sys.modules[module]).items()):
            ours = isinstance(value, type) and not issubclass(value, BaseException)
            if ours and not each.startswith("_") and value.__module__.startswith(module):
                known.setdefault(each.casefold(), f"{module}.{each}")
    close = difflib.get_close_matches(name.rpartition(".")[2].casefold(), known, 1, cutoff)
    return f"; did you mean {known[close[0]]} ?" if close else ""


def parameters(class_path: str) -> Mapping[str, inspect.Parameter]:
    """The constructor arguments of a class, by name."""
    return inspect.signature(pkgutil.resolve_name(class_path)).parameters if class_path else {}


def needed(class_path: str, name: str) -> str:
    """What a constructor argument takes, in words."""
    kind = parameters(class_path)[name].annotation
    return typed(kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind)))
