"""What a video is known by, so that features of another are not taken for its own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np

from episodes.features.identity import difference, identify
from episodes.video.packed import PackWriter


def test_contents_decide_whether_a_video_is_the_same(tmp_path: Path) -> None:
    for size in (0, 10, 100_000, 1_000_000):
        video, copy = tmp_path / "video.avi", tmp_path / "copy.avi"
        video.write_bytes(content := np.random.default_rng(size).bytes(size))
        known = identify(video)
        assert known is not None
        shutil.copyfile(video, copy)
        os.utime(copy, (1, 1))
        assert difference(copy, known) is None
        for position in (0, size // 2, size - 1) if size else ():
            changed = bytearray(content)
            changed[position] ^= 1
            copy.write_bytes(changed)
            os.utime(copy, (1, 1))
            assert difference(copy, known) == f"as large as before ({size}), but with other contents"
        copy.write_bytes(content + b"1")
        assert difference(copy, known) == f"{size} bytes then, {size + 1} now"
    assert difference(tmp_path / "gone.avi", known) is None
    assert identify(tmp_path / "gone.avi") is None


def test_another_file_of_the_same_size_and_modification_time_is_another(tmp_path: Path) -> None:
    for video in (tmp_path / "video.avi", tmp_path / "frames"):
        file = video if video.suffix else video / "0.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"a" * 100)
        known, state = identify(video), file.stat()
        assert known is not None
        folder = video.stat()
        file.write_bytes(b"b" * 100)
        os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
        os.utime(video, ns=(folder.st_atime_ns, folder.st_mtime_ns))
        assert "with other contents" in str(difference(video, known))


def test_a_clip_of_a_packed_store_is_known_by_its_frames(tmp_path: Path) -> None:
    clip = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    for name, value in (("one", clip), ("same", clip), ("other", clip + 1), ("longer", np.concatenate([clip, clip]))):
        with PackWriter(tmp_path / f"{name}.pack") as writer:
            writer.add("a/b", value, 5.0)
    known = identify(tmp_path / "one.pack" / "a" / "b")
    assert known is not None
    assert difference(tmp_path / "same.pack" / "a" / "b", known) is None
    assert "with other contents" in str(difference(tmp_path / "other.pack" / "a" / "b", known))
    assert difference(tmp_path / "longer.pack" / "a" / "b", known) == "2 frames then, 4 now"
    assert identify(tmp_path / "one.pack" / "a" / "c") is None
