"""What the pages are built with: roles of docstrings become links, and formulas become MathML, which needs no script.

``:class:`~fsar.method.Method``` becomes a link to what it names, and the ``::`` before a block of formulas a ``:``.
A block of code called ``math`` is LaTeX, which GitHub draws by itself. mkdocs.yml hands this file to mkdocstrings, and
to mkdocs as a hook.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Class, Extension, Function, Module, NameResolutionError, Object
from latex2mathml.converter import convert

ROLE = re.compile(r":(?:class|meth|func|mod|attr|exc|data):`(~?)([\w.]+)`")
BLOCK = re.compile(r"::$", re.MULTILINE)
ROW = re.compile(r"^\|.*$", re.MULTILINE)
NAMED = re.compile(r"(?<=[\w}])\s*(?=\\(?:cos|log|exp|max|min|arg)\b)")
"""Before a function, where LaTeX sets a space and latex2mathml none."""


def on_config(config: Any) -> None:
    """Blocks called ``math`` are drawn as formulas."""
    fence = {"name": "math", "class": "math", "format": draw_formulas}
    config["mdx_configs"].setdefault("pymdownx.superfences", {})["custom_fences"] = [fence]


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """A number of a table stays in one line with its interval, on a phone too."""
    return ROW.sub(lambda row: row[0].replace(" ± ", "\u00a0±\u00a0"), markdown)


def draw_formulas(source: str, *args: Any, **kwargs: Any) -> str:
    """MathML of LaTeX ``source``, one formula a line that ends in a double backslash.

    Raises:
        ValueError: for a command that is not known and would stand there as it is written.
    """
    drawn = [convert(NAMED.sub(r" \\, ", line), display="block") for line in re.split(r"\\\\\s*\n", source.strip())]
    if unknown := re.findall(r"\\\w+", "".join(drawn)):
        raise ValueError(f"{', '.join(unknown)}: expected LaTeX that latex2mathml knows, found in {source!r}.")
    return f'<div class="math">{"".join(drawn)}</div>'


class Roles(Extension):
    """Rewrites every docstring when griffe has read it."""

    def on_module(self, *, mod: Module, **kwargs: object) -> None:
        rewrite(mod)
        mod.exports = None  # what a package imports from its files is shown where it is written

    def on_class(self, *, cls: Class, **kwargs: object) -> None:
        rewrite(cls)

    def on_function(self, *, func: Function, **kwargs: object) -> None:
        rewrite(func)


def rewrite(found: Object) -> None:
    """The docstring of ``found`` in Markdown."""
    if found.docstring:
        text = ROLE.sub(lambda role: link(found, *role.groups()), found.docstring.value)
        found.docstring.value = BLOCK.sub(":", text)


def link(found: Object, short: str, name: str) -> str:
    """A link to ``name`` as it is understood where ``found`` stands; without a place of its own it stays code."""
    first, dot, rest = name.partition(".")
    try:
        target = found.resolve(first) + dot + rest
    except NameResolutionError:
        target = name
    shown = name.rsplit(".", 1)[-1] if short else name
    return f'<autoref identifier="{target}" optional><code>{shown}</code></autoref>'
