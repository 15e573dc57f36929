"""Commands that compute nothing answer at once: they import neither torch nor what comes with it."""

from __future__ import annotations

import subprocess
import sys

LIGHT = ("look.compare", "data.check_videos", "data.check_benchmark", "data.episodes", "data.init", "data.splits")
CODE = """
import sys
from importlib import import_module
for name in sys.argv[1:]:
    import_module(f"fsar.commands.{name}")
print(sorted({"torch", "lightning", "scipy", "matplotlib", "jsonargparse"} & set(sys.modules)))
"""


def test_nothing_heavy_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", CODE, *LIGHT, "train.configs"], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
