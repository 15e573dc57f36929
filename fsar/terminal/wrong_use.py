"""What cannot be understood of a command line."""

from __future__ import annotations

STATUS = 2
"""Exit status of it, as of ``argparse``; whatever is understood and then fails has 1."""


class WrongUse(ValueError):
    """A command, an option, a value of another kind than expected, or a configuration file that is none."""


class NoSuchFile(WrongUse, FileNotFoundError):
    """A configuration file that is not there."""
