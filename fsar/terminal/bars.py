"""How far long work is, on a terminal: ``encoding 208/300 clips``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def counting(what: str, whole: int, things: str = "clips", hidden: bool = False) -> Iterator[Callable[[int], None]]:
    """A bar on standard error while it lasts; nothing where that is no terminal.

    Args:
        what: is done.
        whole: how many there are.
        things: what they are.
        hidden: show nothing.

    Yields:
        A function that is told how many more are done.
    """
    console = Console(stderr=True)
    counted = TextColumn("{task.completed:,.0f}/{task.total:,.0f} " + things)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(12), counted, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=hidden or not console.is_terminal) as progress:
        bar = progress.add_task(what, total=whole)
        yield lambda count: progress.advance(bar, count)
