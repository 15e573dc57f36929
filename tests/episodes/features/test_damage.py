"""A feature store that is not what was written: refused with one message, and mended without losing the rest."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from episodes.clips import Contents, Features, LowerHalf, Streams
from episodes.dataset import ClipDataset
from episodes.features import FeatureStore, FeatureWriter, mend, open_store
from episodes.features.checks import sum_of
from episodes.features.store import CHUNK
from episodes.frames import SegmentCentre
from episodes.splits import Split
from episodes.transforms import ClipTransform

VIDEOS = 2 * CHUNK + 4
ENCODER = "a" * 64
Change = Callable[[Path], None]


@pytest.fixture
def clips(tmp_path: Path) -> ClipDataset:
    """Thirty-six folders of two frames."""
    for video in range(VIDEOS):
        folder = tmp_path / "videos" / f"{video:02d}"
        folder.mkdir(parents=True)
        for frame in range(2):
            Image.new("L", (6, 5), 5 * video + frame).save(folder / f"{frame}.png")
    paths = tuple(f"{video:02d}" for video in range(VIDEOS))
    split = Split("test", ("a", "b"), paths, tuple(video % 2 for video in range(VIDEOS)), tmp_path / "videos")
    return ClipDataset(split, SegmentCentre(), ClipTransform(4, resize_to=5), frames=2)


def encode(clips: Streams) -> Features:
    """``frames (... t 3)``: a stand-in for an encoder."""
    return Features(frames=clips["frames"].float().mean((-1, -2)) / 7)


def fill(root: Path, clips: ClipDataset) -> tuple[FeatureStore, list[int]]:
    """The store, and the chunks that had to be encoded for it."""
    writer = FeatureWriter(root, clips, ENCODER)
    todo = writer.pending()
    for chunk in todo:
        writer.write(chunk, encode(writer.read(chunk)))
    return writer.finish(), todo


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def read_all(root: Path, clips: ClipDataset) -> Tensor:
    return open_store(root, clips, ENCODER).store.take(np.arange(VIDEOS))["frames"]


def flip(file: Path, position: int, bit: int = 0) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1 << bit
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["frames.npy", "meta.json", "checksums.json"])
def test_any_flipped_byte_is_seen(tmp_path: Path, clips: ClipDataset, name: str) -> None:
    store, _ = fill(tmp_path, clips)
    file, expected = store.folder / name, store.take(np.arange(VIDEOS))["frames"]
    whole, rng = file.read_bytes(), np.random.default_rng(0)
    header = range(0, 128, 3) if name == "frames.npy" else ()
    for position in (*header, *rng.integers(0, len(whole), 60), len(whole) - 1):
        flip(file, int(position), int(rng.integers(8)))
        found, message = None, ""
        try:
            found = read_all(tmp_path, clips)
        except ValueError as error:  # also of numpy, were it let through
            message = str(error)
        if found is None:
            assert message.startswith(f"the feature store {store.folder} is damaged: ")
            assert "fsar extract --store" in message
        else:  # a blank of JSON or of a header that became another
            assert torch.equal(found, expected)
            assert whole[position : position + 1] == b" "
        file.write_bytes(whole)
    assert torch.equal(read_all(tmp_path, clips), expected)


def edit(**changes: object) -> Change:
    """Change ``meta.json`` and the checksum of it, as somebody might who knows the format."""

    def change(folder: Path) -> None:
        meta = json.loads((folder / "meta.json").read_text()) | changes
        (folder / "meta.json").write_text(json.dumps(meta))
        sums = json.loads((folder / "checksums.json").read_text())
        sums["meta"] = hashlib.sha256((folder / "meta.json").read_bytes()).hexdigest()
        (folder / "checksums.json").write_text(json.dumps(sums))

    return change


def array(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    def save(folder: Path) -> None:
        np.save(folder / "frames.npy", change(np.load(folder / "frames.npy")))

    return save


def zeroed(folder: Path) -> None:
    with (folder / "frames.npy").open("r+b") as file:
        file.seek(200)
        file.write(bytes(64))


def cut(folder: Path) -> None:
    os.truncate(folder / "frames.npy", 300)


def lengthened(folder: Path) -> None:
    with (folder / "frames.npy").open("ab") as file:
        file.write(b"more")


DAMAGES: dict[str, tuple[Change, str]] = {
    "zeroed block": (zeroed, r"frames\.npy does not hold what was written of 0\d \(video"),
    "cut off": (cut, r"frames\.npy is no array that can be mapped"),
    "too long": (lengthened, r"frames\.npy should have \d+ bytes and has \d+"),
    "dtype": (array(lambda x: x.astype(np.float64)), r"frames\.npy holds <f8 .*begins <f4"),
    "same bytes, other dtype": (array(lambda x: x.view(np.int32)), r"frames\.npy holds <i4"),
    "big endian": (array(lambda x: x.astype(">f4")), r"frames\.npy holds >f4"),
    "fewer videos": (array(lambda x: x[:-1]), r"frames\.npy holds <f4 \(35, 1, 2, 3\), but by meta.json"),
    "other frames": (array(lambda x: x.reshape(VIDEOS, 1, 3, 2)), r"frames\.npy holds .*by checksums\.json <f4 \(36"),
    "other channels": (
        array(lambda x: x[..., :2].copy()),
        r"frames\.npy holds .*by checksums\.json <f4 \(36, 1, 2, 3\)",
    ),
    "Fortran's order": (array(np.asfortranarray), r"frames\.npy holds"),
    "no checksums": (lambda folder: (folder / "checksums.json").unlink(), r"checksums\.json is missing"),
    "empty checksums": (
        lambda folder: (folder / "checksums.json").write_text("{}"),
        r"checksums\.json lacks check",
    ),
    "no meta": (lambda folder: (folder / "meta.json").unlink(), r"meta\.json is missing"),
    "no JSON": (lambda folder: (folder / "meta.json").write_text("{"), r"meta\.json is no JSON"),
    "meta of another": (edit(dtype="float64"), r"meta\.json lacks 'float64' or tells it wrongly"),
    "fewer paths": (edit(paths=["00"]), r"frames\.npy holds"),
    "fewer sizes": (edit(sizes=[1]), r"meta\.json names 36 videos and the sizes of 1"),
}


@pytest.mark.parametrize(("change", "message"), DAMAGES.values(), ids=list(DAMAGES))
def test_what_does_not_fit_is_refused_and_made_anew(
    tmp_path: Path, clips: ClipDataset, change: Change, message: str
) -> None:
    store, _ = fill(tmp_path, clips)
    expected = contents(store.folder)
    change(store.folder)
    with pytest.raises(ValueError, match=message):
        read_all(tmp_path, clips)
    assert mend(tmp_path, clips, ENCODER) > 0
    fill(tmp_path, clips)[0].verify()
    assert contents(store.folder) == expected


def test_only_what_is_damaged_or_changed_is_encoded_again(tmp_path: Path, clips: ClipDataset) -> None:
    store, _ = fill(tmp_path, clips)
    assert mend(tmp_path, clips, ENCODER) == 0
    flip(store.folder / "frames.npy", -1)
    assert FeatureStore(store.folder).take([0, 3])["frames"].shape == (2, 2, 3)  # what is whole is read
    assert mend(tmp_path, clips, ENCODER) == 1
    store, todo = fill(tmp_path, clips)
    assert todo == [2]
    store.verify()
    Image.new("L", (6, 5), 200).save(clips.split.path(17) / "1.png")
    with pytest.raises(ValueError, match=r"17 has changed since its features .*: as large as before \(2\), but"):
        open_store(tmp_path, clips, ENCODER)
    with pytest.raises(ValueError, match="17 has changed"):  # and not taken for whole by an extraction
        fill(tmp_path, clips)
    assert mend(tmp_path, clips, ENCODER) == 1
    assert fill(tmp_path, clips)[1] == [1]
    assert torch.equal(read_all(tmp_path, clips)[17], encode(clips.clip(17))["frames"])


def test_a_damaged_chunk_of_an_unfinished_store_is_not_joined(tmp_path: Path, clips: ClipDataset) -> None:
    writer = FeatureWriter(tmp_path, clips, ENCODER)
    for chunk in writer.pending():
        writer.write(chunk, encode(writer.read(chunk)))
    flip(writer.parts / "000001.npy", 200)
    os.truncate(writer.parts / "000002.npy", 90)
    meta = writer.folder / "meta.json"
    told = meta.read_text()
    for wrong in ("times", "views", "a" * 64):
        meta.write_text(told.replace(wrong, wrong[:-1] + "_"))
        with pytest.raises(ValueError, match=r"is damaged: meta\.json is not what was written"):
            FeatureWriter(tmp_path, clips, ENCODER)
    meta.write_text(told)
    with pytest.raises(ValueError, match=r"not what was written: 2 of 3 chunks in .*, 000001\.npy first"):
        writer.finish()
    store, todo = fill(tmp_path, clips)
    assert todo == [1, 2]
    store.verify()
    assert torch.equal(store.take(20)["frames"], encode(clips.clip(20))["frames"])


def in_the_first_format(folder: Path) -> np.ndarray:
    """What is stored in arrays by name put into one, side by side."""
    meta = json.loads((folder / "meta.json").read_text())
    files = [folder / f"{name.replace(' ', '_')}.npy" for name in meta.pop("names")]
    features = np.concatenate([np.load(file) for file in files], axis=-2)
    for file in files:
        file.unlink()
    np.save(folder / "features.npy", features)
    del meta["kind"]
    (folder / "meta.json").write_text(json.dumps(meta))
    about = hashlib.sha256((folder / "meta.json").read_bytes()).hexdigest()
    table = [[sum_of(view) for view in video] for video in features]
    facts = {"dtype": features.dtype.str, "shape": features.shape, "meta": about, "crc32": table}
    (folder / "checksums.json").write_text(json.dumps(facts))
    return features


def test_stores_of_the_first_format_are_read(tmp_path: Path, clips: ClipDataset) -> None:
    store, _ = fill(tmp_path, clips)
    expected = read_all(tmp_path, clips)
    in_the_first_format(store.folder)
    assert torch.equal(read_all(tmp_path, clips), expected)
    assert mend(tmp_path, clips, ENCODER) == 0
    assert fill(tmp_path, clips)[1] == []
    with pytest.raises(ValueError, match=r"holds frames, not patches, which .* Remove it.*fsar extract --store"):
        open_store(tmp_path, clips, ENCODER, Contents(Features, ("frames", "patches")))
    flip(store.folder / "features.npy", -1)
    with pytest.raises(ValueError, match=r"features\.npy does not hold what was written of 35"):
        read_all(tmp_path, clips)
    assert mend(tmp_path, clips, ENCODER) == 1
    assert fill(tmp_path, clips)[1] == [2]
    assert torch.equal(read_all(tmp_path, clips), expected)


def test_a_frozen_half_in_the_first_format_is_read_layer_by_layer(tmp_path: Path, clips: ClipDataset) -> None:
    tokens = LowerHalf({f"layer {i}": torch.randn(VIDEOS, 1, 2, 5, 3) for i in (0, 1, 3)})
    kept = Contents(LowerHalf, tuple(tokens))
    writer = FeatureWriter(tmp_path, clips, ENCODER, contents=kept)
    for chunk in writer.pending():
        writer.write(chunk, tokens.at(torch.tensor(writer.videos(chunk))))
    folder = writer.finish().folder
    assert in_the_first_format(folder).shape == (VIDEOS, 1, 2, 15, 3)
    clip = open_store(tmp_path, clips, ENCODER, kept).clip(20)
    assert isinstance(clip, LowerHalf)
    assert all(torch.equal(clip[name], tokens[name][20, 0]) for name in tokens)
    flip(folder / "features.npy", -1)
    assert mend(tmp_path, clips, ENCODER, kept) == 1
    again = FeatureWriter(tmp_path, clips, ENCODER, contents=kept)
    assert again.pending() == [2]
    again.write(2, tokens.at(torch.tensor(again.videos(2))))
    again.finish()
    assert torch.equal(open_store(tmp_path, clips, ENCODER, kept).clip(35)["layer 3"], tokens["layer 3"][35, 0])


def test_a_store_from_before_there_were_checksums_is_refused_and_made_anew(tmp_path: Path, clips: ClipDataset) -> None:
    store, _ = fill(tmp_path, clips)
    expected, features = contents(store.folder), in_the_first_format(store.folder)
    sums = [hashlib.sha256(features[start : start + CHUNK].tobytes()).hexdigest() for start in range(0, VIDEOS, CHUNK)]
    (store.folder / "checksums.json").write_text(json.dumps(sums))
    with pytest.raises(ValueError, match=r"was made before every feature had a checksum.*`fsar extract .* --verify`"):
        read_all(tmp_path, clips)
    assert mend(tmp_path, clips, ENCODER) == 3
    assert fill(tmp_path, clips)[1] == [0, 1, 2]
    assert contents(store.folder) == expected
