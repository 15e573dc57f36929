"""Is a feature store what was written? Its files are checked on opening, each feature when it is first read."""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from episodes.features.identity import Identity, difference
from episodes.features.precision import Precision
from episodes.splits import Split

META, SUMS, PARTS = "meta.json", "checksums.json", "parts"
FIRST = ("features",)
"""Names of the arrays in a store of the first format, which had one, whatever it held."""
KINDS: dict[Precision, str] = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2"}
"""What a precision is called in a .npy file."""

EXTRACT = "`fsar extract --store FOLDER` with the same -c files and options makes it."
NO_ARRAY = (ValueError, TypeError, SyntaxError, EOFError, OverflowError, MemoryError, TokenError)
"""What reading a damaged .npy file raises."""


def way_out(folder: Path) -> str:
    """What the reader of a damaged or outdated store is told to do."""
    return (
        f"`fsar extract --store {folder.parent} --verify` with the same -c files and options makes "
        "anew what is damaged or has changed, and keeps the rest."
    )


def damaged(file: Path, what: str) -> ValueError:
    """The one error of a damaged store."""
    return ValueError(f"the feature store {file.parent} is damaged: {file.name} {what}. {way_out(file.parent)}")


def sum_of(rows: NDArray[np.generic], so_far: int = 0) -> int:
    """crc32 of an array's bytes, of others before it too when theirs is handed over."""
    return zlib.crc32(np.ascontiguousarray(rows).data, so_far)


def file_of(folder: Path, name: str) -> Path:
    """Where the array of that name is."""
    return folder / f"{name.replace(' ', '_')}.npy"


def is_complete(folder: Path) -> bool:
    """Whether a store can be opened: whether all of its arrays are there, or none is being made."""
    if not any(folder.glob("*.npy")):
        return False
    try:
        names = read_json(folder / META).get("names", FIRST)
        return not (folder / PARTS).is_dir() or all(file_of(folder, name).is_file() for name in names)
    except (ValueError, AttributeError, TypeError):
        return True


def read_json(file: Path) -> Any:
    """What a JSON file of a store holds.

    Raises:
        ValueError: when it is missing or no JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise damaged(file, "is missing") from error
    except ValueError as error:
        raise damaged(file, f"is no JSON ({error})") from error


def open_features(file: Path) -> NDArray[np.generic]:
    """The features ``(v m t *)`` of one name, memory-mapped.

    Raises:
        ValueError: when the file is no whole .npy file.
    """
    try:
        features: Any = np.load(file, mmap_mode="r")
        size = features.offset + features.nbytes
    except FileNotFoundError as error:
        raise damaged(file, "is missing") from error
    except (*NO_ARRAY, AttributeError) as error:
        raise damaged(file, f"is no array that can be mapped ({error})") from error
    if (found := file.stat().st_size) != size:
        raise damaged(file, f"should have {size} bytes and has {found}")
    return features


Arrays = dict[str, NDArray[Any]]


def check_files(folder: Path) -> tuple[dict[str, Any], Arrays, Arrays]:
    """Compare the files of a store with one another.

    Returns:
        What ``meta.json`` says; the arrays by name, memory-mapped; and for each the checksums ``(v m)``.

    Raises:
        ValueError: when they do not fit; it names the file.
    """
    meta, sums = read_json(folder / META), read_json(folder / SUMS)
    try:
        dtype, names = KINDS[meta["dtype"]], [str(name) for name in meta.get("names", FIRST)]
        begins, sizes = (len(meta["paths"]), meta["views"]), len(meta["sizes"])
    except (KeyError, TypeError, AttributeError) as error:
        raise damaged(folder / META, f"lacks {error} or tells it wrongly") from error
    arrays: Arrays = {name: open_features(file_of(folder, name)) for name in names}
    for name, array in arrays.items():
        if array.dtype.str != dtype or array.shape[:2] != begins or not array.flags.c_contiguous:
            found = f"{array.dtype.str} {array.shape}"
            raise damaged(file_of(folder, name), f"holds {found}, but by {META} it begins {dtype} {begins}")
    if sizes != len(meta["paths"]):
        raise damaged(folder / META, f"names {len(meta['paths'])} videos and the sizes of {sizes}")
    if isinstance(sums, list):
        told = "was made before every feature had a checksum, and is read no more"
        raise ValueError(f"the feature store {folder} {told}. {way_out(folder)}")
    try:
        facts = sums["arrays"] if "names" in meta else {FIRST[0]: sums}
        stored = {name: f"{facts[name]['dtype']} {tuple(facts[name]['shape'])}" for name in names}
        tables: Arrays = {name: np.array(facts[name]["crc32"], np.uint32) for name in names}
        about = sums["meta"]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise damaged(folder / SUMS, f"lacks checksums ({error})") from error
    for name, array in arrays.items():
        if stored[name] != (found := f"{array.dtype.str} {array.shape}"):
            raise damaged(file_of(folder, name), f"holds {found}, but by {SUMS} {stored[name]}")
        if tables[name].shape != array.shape[:2]:
            raise damaged(folder / SUMS, f"holds {tables[name].shape} checksums instead of {array.shape[:2]}")
    if hashlib.sha256((folder / META).read_bytes()).hexdigest() != about:
        raise damaged(folder / META, "is not what was written")
    return meta, arrays, tables


def finite(rows: NDArray[Any], dtype: Precision) -> bool:
    """Whether there is neither NaN nor infinity among features."""
    if dtype == "bfloat16":  # an exponent of ones only
        return not ((rows & np.uint16(0x7F80)) == 0x7F80).any()
    return bool(np.isfinite(rows).all())


def changes(meta: dict[str, Any], split: Split) -> dict[int, str]:
    """``{video: what has changed}`` of a split's videos since their identities were stored."""
    count = len(meta["sizes"])
    times, hashes = meta.get("times", [None] * count), meta.get("hashes", [""] * count)
    found = {}
    for video, (size, time, known) in enumerate(zip(meta["sizes"], times, hashes, strict=True)):
        if size is not None and (what := difference(split.path(video), Identity(size, time, known))):
            found[video] = what
    return found


def refuse_changes(folder: Path, meta: dict[str, Any], split: Split) -> None:
    """Refuse features of videos that are no longer the same.

    Raises:
        ValueError: naming the first of them.
    """
    for video, what in changes(meta, split).items():
        raise ValueError(
            f"{split.path(video)} has changed since its features were stored in {folder}: {what}. {way_out(folder)}"
        )
