"""How a command fails: one message, and an exit status that is not 0."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_message(debug: bool = False, program: str = "fsar") -> Iterator[None]:
    """Turn any exception into one message on standard error and exit status 1; with ``debug`` let it through."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(f"{program}: interrupted")
    except Exception as error:
        if debug:
            raise
        sys.exit(f"{program}: {type(error).__name__}: {error}\n(--debug shows where)")
