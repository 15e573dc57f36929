"""For the pages of the API: what docstrings say in reStructuredText becomes Markdown.

``:class:`~fsar.method.Method``` becomes a link to what it names, and the ``::`` before a block of formulas a ``:``.
mkdocs.yml hands this file to mkdocstrings.
"""

from __future__ import annotations

import re

from griffe import Class, Extension, Function, Module, NameResolutionError, Object

ROLE = re.compile(r":(?:class|meth|func|mod|attr|exc|data):`(~?)([\w.]+)`")
BLOCK = re.compile(r"::$", re.MULTILINE)


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
