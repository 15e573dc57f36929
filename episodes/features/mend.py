"""Taking out of a feature store what is damaged, so that only that is encoded again."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from episodes.clips import Contents
from episodes.dataset import ClipDataset
from episodes.features.checks import META, PARTS, SUMS, changes, is_complete, read_json
from episodes.features.key import Key, folder_name, store_key
from episodes.features.store import CHUNK, FRAMES, FeatureStore
from episodes.features.writer import part_of, read_part, write_part
from episodes.video import VideoError


def mend(root: Path, clips: ClipDataset, encoder: str | Key, contents: Contents = FRAMES) -> int:
    """Read a store, or what is there of one, and take out the chunks that are damaged or whose videos have changed.

    A :class:`~episodes.features.writer.FeatureWriter` then has these to make; what is whole stays. The caller holds
    the store's lock.

    Args:
        root: the folder of all stores.
        clips: the clips it holds.
        encoder: what turned clips into features, see :func:`episodes.features.key.store_key`.
        contents: what is stored of each video.

    Returns:
        Number of chunks that were taken out.
    """
    folder = root / folder_name(clips.split, store_key(clips, encoder))
    if not folder.is_dir():
        return 0
    chunks = range(-(-len(clips) // CHUNK))
    try:
        changed = {video // CHUNK for video in changes(read_json(folder / META), clips.split)}
    except VideoError:
        raise
    except (ValueError, KeyError, TypeError):  # nobody knows of which videos the features are
        changed = set(chunks)
    if (complete := is_complete(folder)) and not _unpack(folder, changed, contents):
        return 0
    there = [chunk for chunk in chunks if part_of(folder, chunk).is_file()]
    count = len(contents.names)
    bad = [chunk for chunk in there if chunk in changed or read_part(part_of(folder, chunk), count) is None]
    for chunk in bad:
        part_of(folder, chunk).unlink()
    if changed:
        (folder / META).unlink(missing_ok=True)
    return (len(chunks) if complete else len(there)) - (len(there) - len(bad))


def _unpack(folder: Path, changed: Collection[int], contents: Contents) -> bool:
    """Turn a complete store into an unfinished one that holds its whole chunks, if anything is to be made anew."""
    try:
        store = FeatureStore(folder, contents)
    except ValueError:  # a damaged index tells nothing of the rest
        store = None
    if store is not None:
        faults = {video // CHUNK for video in store.faults()}
        if not faults and not changed:
            return False
        (folder / PARTS).mkdir(exist_ok=True)
        arrays = [store.arrays[name] for name in store.contents.names]
        for chunk, start in enumerate(range(0, len(store.meta["paths"]), CHUNK)):
            if chunk not in faults:
                write_part(part_of(folder, chunk), [np.array(array[start : start + CHUNK]) for array in arrays])
    for file in folder.glob("*.npy"):
        file.unlink()
    (folder / SUMS).unlink(missing_ok=True)
    if store is None or "names" not in store.meta:
        (folder / META).unlink(missing_ok=True)
    return True
