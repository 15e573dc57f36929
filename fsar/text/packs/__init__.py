"""Texts about the classes of known benchmarks, by name: descriptions of what is seen, and steps in order.

Written for this project from the class names alone, as the head of each file says; ``SHA256`` holds what each file was
when it was last changed, so that a result names its texts.
"""

from __future__ import annotations

import difflib
from pathlib import Path

FOLDER = Path(__file__).parent
SHA256 = {
    "diving48": "a683c81112a7e8fa3d8ee67a266d2ebe0e1b4d65b41986d88c5ba1af7fdc9dec",
    "hmdb51": "016bb0f965ccd108367717bb2061a6f3c2aa1e97a6e14e708cef5b260311c347",
    "kinetics100": "13b0dfe4e8a1b82e513d5dca3500e8caff03e854f061e1330d6d5233fb01e49b",
    "shapes": "f3025e20f99d4c73efe51543a95b7cd1b91cf318f1207035732688aafcd0df8d",
    "ssv2": "590f1f1ce8c2ee84ff0d983b84fb4998903d43f26aac5676b20d86471e9b44c2",
    "ucf101": "a2f65c51f9ecffe663cbf3821c0a14bb4316ad47cab96480567d8831dfcb9edc",
}
"""Every pack, with the hash of its file."""


def find_texts(source: str) -> Path:
    """The file of a pack's name, or of a path.

    Raises:
        FileNotFoundError: neither; the packs are listed, one that is spelt nearly so first.
    """
    if source in SHA256:
        return FOLDER / f"{source}.yaml"
    if not Path(source).is_file():
        close = difflib.get_close_matches(source.lower(), SHA256, n=1, cutoff=0.5)
        raise FileNotFoundError(
            f"descriptions: {source} does not exist, and is no pack that ships; those are {', '.join(SHA256)}."
            + (f" Did you mean {close[0]!r}?" if close else "")
        )
    return Path(source)
