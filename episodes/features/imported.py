"""Features that were computed elsewhere, as a store: by whatever model, with names and widths of their own.

A folder with ``import.json`` (what made them, which names there are), ``videos.csv`` (the clips, as of
:class:`episodes.splits.Table`, whose files need not be here) and one store of all clips in the usual format, with
checksums. The encoder that stands in for the model is :class:`fsar.encoders.Imported`; both name the same hash.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from episodes.clips import Clips, Contents, Features
from episodes.dataset import ClipDataset
from episodes.features.checks import KINDS, META, SUMS, file_of, sum_of
from episodes.features.store import FeatureStore, StoredClips, open_store
from episodes.files import write_atomically
from episodes.imported import ABOUT, VIDEOS, Import, is_imported, read_import
from episodes.splits import Split

FRAMES = "frames"
Floats = NDArray[np.float32]


def write_import(root: Path, made_by: str, frames: str, paths: Sequence[str], arrays: dict[str, Floats]) -> Import:
    """Keep arrays ``(v t d)`` of the clips called ``paths``; they were checked before.

    Args:
        root: the folder, which holds no other import.
        made_by: what made them.
        frames: the name that is read as ``frames``.
        paths: names of the ``v`` clips.
        arrays: by name.
    """
    digest = hashlib.sha256(json.dumps([made_by, frames, list(paths)]).encode())
    for name, rows in arrays.items():
        digest.update(f"{name} {rows.shape}".encode())
        digest.update(np.ascontiguousarray(rows).data)
    sha256 = digest.hexdigest()
    folder = root / f"all-{sha256[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    nothing = [None] * len(paths)
    identities = {"sizes": nothing, "times": nothing, "hashes": [""] * len(paths)}
    told = {"key": {"imported": made_by, "sha256": sha256}, "views": 1, "dtype": "float32", "kind": "Features"}
    meta = {**told, "names": list(arrays), "paths": list(paths), **identities}
    with write_atomically(folder / META) as part:
        part.write_text(json.dumps(meta, indent=1), encoding="utf-8")
    facts: dict[str, Any] = {}
    for name, rows in arrays.items():
        kept = np.ascontiguousarray(rows[:, None])  # (v m t d) of one view
        sums = [[sum_of(view) for view in video] for video in kept]
        facts[name] = {"dtype": KINDS["float32"], "crc32": sums, "shape": kept.shape}
        with write_atomically(file_of(folder, name)) as part, part.open("wb") as file:
            np.save(file, kept)
    with write_atomically(folder / SUMS) as part:
        about = hashlib.sha256((folder / META).read_bytes()).hexdigest()
        part.write_text(json.dumps({"meta": about, "arrays": facts}), encoding="utf-8")
    shapes = {name: (rows.shape[1], rows.shape[2]) for name, rows in arrays.items()}
    found = Import(made_by, frames, shapes, sha256, folder.name)
    with write_atomically(root / ABOUT) as part:
        part.write_text(json.dumps(found._asdict(), indent=1), encoding="utf-8")
    return found


class ImportedClips(StoredClips):
    """Clips of a split by the rows that a store has of them.

    Args:
        store: of all clips.
        split: names some of them.
        rows: the store's number of each.
        names: what is read: the store's names, ``frames`` for the one that was named so.
        frames: that one.
    """

    def __init__(
        self, store: FeatureStore, split: Split, rows: Sequence[int], names: Sequence[str], frames: str
    ) -> None:
        super().__init__(store, split, names)
        self.rows, self.own = list(rows), {name: frames if name == FRAMES else name for name in names}

    def clip(self, video: int, *key: int) -> Clips:
        """Such as ``frames (t d)``."""
        found = self.store.take(self.rows[video], 0, list(dict.fromkeys(self.own.values())))
        return Features({name: found[own] for name, own in self.own.items()})


def open_imported(root: Path, split: Split, encoder: str | dict[str, Any], contents: Contents) -> ImportedClips:
    """The imported features of a split's clips.

    Args:
        root: the folder.
        split: names the clips, by their names in the import.
        encoder: key of what turns clips into features; must be the import itself.
        contents: what is to be read.

    Raises:
        ValueError: for another encoder, for clips that were not imported, or for a name that is not there.
    """
    about = read_import(root)
    name = encoder.get("name") if isinstance(encoder, dict) else None
    if name != f"{about.identity}, {about.sha256[:12]}":
        raise ValueError(
            f"{root} holds features that {about.made_by} made elsewhere, but the encoder of the method is {name}. "
            f"Give --model.encoder {root}/encoder.yaml, or leave out data.features."
        )
    store = FeatureStore(root / about.folder)
    number = {os.path.normpath(path): row for row, path in enumerate(store.meta["paths"])}
    here = [os.path.normpath(os.path.relpath(p) if os.path.isabs(p) else p) for p in split.paths]
    if lacking := [path for path in here if path not in number]:
        raise ValueError(
            f"{root} holds no features of {lacking[0]}{f' and {len(lacking) - 1} more' * (len(lacking) > 1)}: the "
            f"clips are those of {root / VIDEOS}, by the same names."
        )
    known = {FRAMES: about.frames, **{each: each for each in about.shapes}}
    if absent := [each for each in contents.names if each not in known]:
        raise ValueError(f"{root} holds {' and '.join(about.shapes)}, not {' and '.join(absent)}, which is read too.")
    return ImportedClips(store, split, [number[path] for path in here], contents.names, about.frames)


def open_clips(root: Path, clips: ClipDataset, encoder: str | dict[str, Any], contents: Contents) -> StoredClips:
    """Stored features of exactly these clips: imported ones, or those of :func:`episodes.features.store.open_store`."""
    if is_imported(root):
        return open_imported(root, clips.split, encoder, contents)
    return open_store(root, clips, encoder, contents)
