"""An example to try the page with: clips of the world that ships with the toolkit."""

from __future__ import annotations

import base64
import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

CLASSES = ("a heart on snow", "a tree on a brick wall", "an arrow on polka dots")
SHOWN, ASKED = (0, 1), 6
"""Numbers of the clips of every class, and of the clip to name, which is one of the last class."""


@cache
def render_example() -> str:
    """``{class: {file name: base64 of the file}}`` as JSON; the class of no name is the clip to name."""
    from episodes.shapes import appearance
    from episodes.shapes.source import write_video

    def file(name: str, number: int) -> str:
        path = Path(folder) / "clip.mp4"
        write_video(path, appearance.render(name, 0, "test", name, f"{number:03d}"))
        return base64.b64encode(path.read_bytes()).decode()

    with TemporaryDirectory() as folder:
        clips = {
            name: {f"{name.split()[1]} {number + 1}.mp4": file(name, number) for number in SHOWN} for name in CLASSES
        }
        return json.dumps(clips | {"": {"which one.mp4": file(CLASSES[-1], ASKED)}})
