"""A packed store that is not what was written is refused, and only what is damaged is made anew."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from episodes.video import VideoError, packed, verify
from episodes.video.info import Pixels
from episodes.video.packed import FRAMES, INDEX, PackWriter
from episodes.video.packed.store import _open as opened_stores

NAMES = ("wave/0001", "wave/0003", "sit/1")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Three clips of four frames."""
    with PackWriter(tmp_path / "s.pack") as writer:
        for number, name in enumerate(NAMES):
            writer.add(name, clip(number), 5.5)
    return tmp_path / "s.pack"


def clip(number: int) -> Pixels:
    return np.random.default_rng(number).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)


def read_all(store: Path) -> dict[str, Pixels]:
    opened_stores.cache_clear()  # as another process
    found = {name: packed.read(store / name, lambda frames, fps: range(frames)) for name in NAMES}
    assert all(packed.inspect(store / name).fps == 5.5 for name in NAMES)
    return found


def same(found: dict[str, Pixels]) -> bool:
    return all(np.array_equal(found[name], clip(number)) for number, name in enumerate(NAMES))


@pytest.mark.parametrize("name", [FRAMES, INDEX])
def test_any_flipped_byte_is_seen(store: Path, name: str) -> None:
    file = store / name
    whole, rng = bytearray(file.read_bytes()), np.random.default_rng(0)
    for position in (*(range(len(whole)) if name == INDEX else rng.integers(0, len(whole), 100)), len(whole) - 1):
        changed = whole.copy()
        changed[position] ^= 1 << int(rng.integers(8))
        file.write_bytes(changed)
        with pytest.raises(VideoError, match=r"s\.pack.*fsar prepare-videos --form pack --verify"):
            read_all(store)
    file.write_bytes(whole)
    assert same(read_all(store))


def test_only_the_frames_that_are_read_are_checked_and_only_damaged_clips_are_forgotten(store: Path) -> None:
    frame = 5 * 6 * 3
    with (store / FRAMES).open("r+b") as file:
        file.seek(4 * frame + 2 * frame)
        file.write(bytes(frame))  # the third frame of the second clip
    opened_stores.cache_clear()
    path = store / "wave" / "0003"
    for _ in range(2):
        assert np.array_equal(packed.read(path, lambda frames, fps: [0, 3, 0]), clip(1)[[0, 3, 0]])
        with pytest.raises(VideoError, match=rf"0003: frames \[2\] in {store / FRAMES} are not what was written"):
            packed.read(path, lambda frames, fps: [2, 0])
    with pytest.raises(VideoError, match=r"frames \[2\]"):
        verify(path)
    with PackWriter(store, verify=True) as writer:
        assert list(writer.places) == ["wave/0001", "sit/1"]
        writer.add("wave/0003", clip(1), 5.5)
    assert same(read_all(store))


def test_a_damaged_index_costs_its_damaged_lines(store: Path) -> None:
    index = store / INDEX
    index.write_bytes(index.read_bytes().replace(b"0003", b"0001"))
    with pytest.raises(ValueError, match=r"s\.pack cannot be gone on with \(line 2 of index\.jsonl is not what was"):
        PackWriter(store).__enter__()
    with PackWriter(store, verify=True) as writer:
        assert list(writer.places) == ["wave/0001", "sit/1"]
        writer.add("wave/0003", clip(1), 5.5)
    assert same(read_all(store))


def test_frames_that_are_missing(store: Path) -> None:
    with (store / FRAMES).open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(ValueError, match=r"frames\.bin is shorter than index\.jsonl says"):
        PackWriter(store).__enter__()
    with PackWriter(store, verify=True) as writer:
        assert list(writer.places) == ["wave/0001", "wave/0003"]
        writer.add("sit/1", clip(2), 5.5)
    assert same(read_all(store))


def test_a_store_without_checksums_is_read_with_a_warning_and_given_them(store: Path) -> None:
    index = store / INDEX
    expected = index.read_bytes()
    lines = [json.loads(line) for line in expected.splitlines()]
    old = [{name: line[name] for name in ("clip", "offset", "shape", "fps")} for line in lines]
    index.write_text("".join(json.dumps(line) + "\n" for line in old))
    with pytest.warns(UserWarning, match="before packed stores had checksums: damage to it cannot be seen") as caught:
        assert same(read_all(store))
    assert len(caught) == 1
    with PackWriter(store):
        pass
    assert index.read_bytes() == expected
    assert same(read_all(store))
    missing = [{name: line[name] for name in line if name != "crc32"} for line in lines]
    index.write_text("".join(json.dumps(line) + "\n" for line in missing))
    with pytest.raises(VideoError, match=r"line 1 of index\.jsonl is not what was written"):
        read_all(store)
