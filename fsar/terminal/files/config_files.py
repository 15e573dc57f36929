"""The options and configuration files of a command line: what is wrong with them, and which file a key comes from."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from fsar.terminal.files.aliases import rename_words
from fsar.terminal.files.bounds import check_bounds
from fsar.terminal.files.shipped import find_shipped, spell_shipped, suggest_shipped
from fsar.terminal.wrong_use import NoSuchFile, WrongUse


def spell_out(args: Sequence[str], repeatable: Collection[str] = ()) -> list[str]:
    """The words of a command line without shorthands: long names of options, paths of shipped
    configurations, and the class paths of today.

    Args:
        args: as they were typed.
        repeatable: as in :func:`refuse_twice`.

    Raises:
        WrongUse: for an option that is given twice; for a file that cannot be understood, or is not there.
    """
    out = rename_words(spell_shipped(long_names(args)))
    refuse_twice(out, repeatable)
    check_files(out)
    return help_last(out)


def help_last(args: Sequence[str]) -> list[str]:
    """A command line with ``--part.help CLASS`` at its end: the parser answers where it meets it, and knows by then
    only what stood before.

    >>> help_last(["fit", "--model.alignment.help", "OTAM", "-c", "my.yaml"])
    ['fit', '-c', 'my.yaml', '--model.alignment.help', 'OTAM']
    """
    out = list(args)
    at = next((i for i, word in enumerate(out) if re.match(r"--[\w.]+\.help(=|$)", word)), len(out))
    named = "=" not in "".join(out[at : at + 1]) and not "".join(out[at + 1 : at + 2]).startswith("-")
    end = at + 1 + named
    return [*out[:at], *out[end:], *out[at:end]]


def config_files(args: Sequence[str]) -> list[str]:
    """The configuration files that a command line names, in its order; JSON in the place of a file is left out."""
    named = [b for a, b in pairwise(args) if a in ("-c", "--config")]
    named += [word.partition("=")[2] for word in args if word.startswith(("-c=", "--config="))]
    return [str(find_shipped(name) or name) for name in named if not name.lstrip().startswith(("{", "["))]


def refuse_twice(args: Sequence[str], repeatable: Collection[str] = ()) -> None:
    """Look for an option that a command line holds twice, of which the second would win.

    ``-c`` adds a file each time and ``--key+=`` an entry to a list, with what is said of that entry after it.
    ``--a.init_args.b`` and ``--a.b`` are one option, ``--a`` and ``--a.class_path`` too.

    Args:
        args: the words, shorthands spelt out.
        repeatable: further options that may stand there several times.

    Raises:
        WrongUse: naming both.
    """
    seen: dict[str, str] = {}
    for word, after in zip(args, [*args, "--"][1:], strict=True):
        option, equals, _ = word.partition("=")
        if not re.match("--[A-Za-z]", option) or option in {"--config", "--help", *repeatable}:
            continue
        key = option.replace(".init_args", "").removesuffix(".class_path")
        if key.endswith("+"):
            seen = {name: said for name, said in seen.items() if not name.startswith(f"{key[:-1]}.")}
            continue
        said = word if equals or after.startswith("--") else f"{option} {after}"
        if key in seen:
            raise WrongUse(f"{option} is given twice, as {seen[key]} and as {said}: keep one of them.")
        seen[key] = said


def check_files(args: Sequence[str]) -> None:
    """Look at every configuration file of a command line.

    Raises:
        NoSuchFile: for one that is not there.
        WrongUse: for one that is not YAML, holds no sections, or holds a key twice, of which the second would win.
    """
    for name in config_files(args):
        path = Path(name)
        if not path.is_file():
            near = difflib.get_close_matches(path.stem, [p.stem for p in path.parent.glob("*.yaml")], 1)
            hint = f"; did you mean {path.with_name(near[0])}.yaml ?" if near else suggest_shipped(name) or "."
            found = "it is a folder" if path.is_dir() else "there is no such file"
            raise NoSuchFile(f"-c {name}: expected a YAML file, but {found}{hint}")
        content = read_yaml(path)
        if not isinstance(content, dict):
            found = "an empty file" if content is None else f"a {type(content).__name__}"
            raise WrongUse(f"-c {name}: expected sections such as trainer:, data: and model:, found {found}.")


def read_yaml(path: Path, texts: bool = False) -> Any:
    """What a YAML file says; with ``texts`` every value is the text that stands there, such as ``007`` and ``yes``.

    Raises:
        WrongUse: when it is not YAML, or holds a key twice, of which the second would win.
        ValueError: when it stands for too much.
    """
    try:
        text = path.read_text(encoding="utf-8")
        check_bounds(text, str(path))
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (UnicodeDecodeError, yaml.reader.ReaderError):
        raise WrongUse(f"{path}: expected YAML, found a binary file.") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise WrongUse(f"{path}, line {line}: not YAML, {error.problem}.") from None
    for key, line in find_repeats(node):
        raise WrongUse(f"{path}: {key} stands there twice, again in line {line}: keep one of them.")
    return yaml.load(text, yaml.BaseLoader if texts else yaml.SafeLoader)


def find_repeats(node: yaml.Node | None, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Keys that a mapping holds twice, at any depth, and the line of the second."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            name = f"{prefix}{key.value}"
            if name in seen:
                yield name, key.start_mark.line + 1
            seen.add(name)
            yield from find_repeats(value, f"{name}.")


def find_origin(key: str, args: Sequence[str], end: str = ": ") -> str:
    """``FILE: ``, or with another ``end``, when a key was set by a configuration file of the command line and by no
    option after it."""
    plain_key = key.replace("init_args.", "")
    last = plain_key.rpartition(".")[2]
    if any(re.match(rf"--(.*\.)?{re.escape(last)}(=|$)", word) for word in args):
        return ""
    for option, part in pairwise(long_names([word.replace("init_args.", "") for word in args])):
        inside = plain_key.removeprefix(f"{option[2:]}.")
        if option[:2] == "--" and inside != plain_key and Path(part).is_file():  # the file of a part
            return f"{part}{end}" if inside in {name.lstrip(".") for name in read_flat(part)} else ""
    for name in reversed(config_files(args)):
        if Path(name).is_file() and plain_key in read_flat(name):
            return f"{name}{end}"
    return ""


def is_null(key: str, args: Sequence[str]) -> bool:
    """Whether an option, or else a configuration file of the command line, says null of a key."""
    words = long_names([word.replace("init_args.", "") for word in args])
    said = [after for word, after in pairwise([*words, ""]) if word == f"--{key}"]
    said += [word.partition("=")[2] for word in words if word.startswith(f"--{key}=")]
    files = [read_flat(name).get(key, "") for name in config_files(args) if Path(name).is_file()]
    return "null" in said or (not said and None in files)


def read_flat(name: str) -> dict[str, Any]:
    """What a configuration file says, under dotted keys."""
    return dict(flat(yaml.safe_load(Path(name).read_text(encoding="utf-8"))))


def flat(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys of nested mappings, without ``init_args``, and their values."""
    for key, value in content.items() if isinstance(content, dict) else ():
        name = prefix.rstrip(".") if key == "init_args" else f"{prefix}{key}"
        yield name, value
        yield from flat(value, f"{name}.")


def long_names(args: Sequence[str]) -> list[str]:
    """``--model.alignment X``, as users write it, to ``--model.method.alignment X``."""
    own = r"^--model\.(?!(method|optimizer|lr_\w+|no_weight_decay|objectives|refine|scoring|help)\b)"
    return [re.sub(own, "--model.method.", arg) for arg in args]
