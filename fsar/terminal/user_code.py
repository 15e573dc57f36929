"""Where a user's own classes are found."""

from __future__ import annotations

import os
import sys


def find_user_code() -> None:
    """Put the current folder on Python's path, where a ``class_path`` looks for a user's own modules."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
