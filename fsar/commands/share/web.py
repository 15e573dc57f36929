"""``fsar web``, also ``fsar-demo``: a page on this machine, to name clips by a few others in a browser."""

from __future__ import annotations


def main(args: list[str]) -> None:
    """Serve until it is interrupted; see :mod:`fsar.web.app`."""
    from fsar.web.app import main as serve

    serve(args, "fsar web")
