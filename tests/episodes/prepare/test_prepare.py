"""Videos in their other forms: the same frames, whatever interrupts the work."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from episodes.frames import segment_centre
from episodes.prepare.convert import RECORD, Form, PreparedClip, Settings, name_of, prepare, prepare_one, target
from episodes.prepare.measure import PACKED_FRAMES, measure
from episodes.video import VideoError, packed, probe, read_clip, read_frames
from episodes.video.info import Pixels
from episodes.video.packed import FRAMES, INDEX, PackWriter


def video(path: Path, frames: int = 13, height: int = 36, width: int = 64, rate: int = 12) -> Path:
    """A moving gradient in MPEG-4."""
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:height, :width]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(rate))
        stream.height, stream.width, stream.bit_rate = height, width, 10**6
        for number in range(frames):
            pixels = np.stack([(x * 3 + number * 9) % 256, y * 5 % 256, np.full_like(x, 17 * number % 256)], -1)
            frame = av.VideoFrame.from_ndarray(pixels.astype(np.uint8), "rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two videos and a folder of frames."""
    root = tmp_path / "root"
    video(root / "wave" / "a.avi")
    video(root / "wave" / "b.v2.mp4", frames=5)
    (root / "sit" / "c").mkdir(parents=True)
    for number in range(1, 4):
        Image.new("RGB", (33, 21), (40 * number, 20, 90)).save(root / "sit" / "c" / f"{number:05}.png")
    return root


VIDEOS = ["wave/a.avi", "wave/b.v2.mp4", "sit/c"]


def whole(path: Path) -> Pixels:
    if packed.is_packed(path):
        return packed.read(path, lambda frames, fps: range(frames))
    return read_clip(path, lambda frames, fps: np.arange(frames))


def place(tmp_path: Path, form: Form) -> Path:
    return tmp_path / ("out.pack" if form == "pack" else "out")


def made(out: Path, form: Form, name: str) -> Path:
    return out / name_of(name) if form == "pack" else target(out, name, form)


@pytest.mark.parametrize(("form", "tolerance"), [("h264", 12.0), ("jpeg", 6.0), ("pack", 0.0)])
def test_every_form_keeps_all_frames_in_order(root: Path, tmp_path: Path, form: Form, tolerance: float) -> None:
    out = place(tmp_path, form)
    assert prepare(root, out, VIDEOS, Settings(form, crf=4, quality=95, fps=10.0)) == {}
    for name in VIDEOS:
        before, after = whole(root / name), whole(made(out, form, name))
        height, width = after.shape[1:3]
        size = tuple(side // 2 * 2 if form == "h264" else side for side in before.shape[1:3])
        assert (len(after), height, width) == (len(before), *size)
        error = np.abs(before[:, :height, :width].astype(float) - after).mean((1, 2, 3))
        assert error.max() <= tolerance


def test_h264_is_key_frames_only_and_keeps_its_clock(root: Path, tmp_path: Path) -> None:
    prepare(root, tmp_path / "out", VIDEOS[:1], Settings("h264"))
    assert probe(tmp_path / "out" / "wave" / "a.mp4").fps == pytest.approx(12)
    with av.open(str(tmp_path / "out" / "wave" / "a.mp4")) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    assert keys == [True] * 13


@pytest.mark.parametrize("form", ["h264", "jpeg", "pack"])
def test_short_side_and_number_of_frames(root: Path, tmp_path: Path, form: Form) -> None:
    out = place(tmp_path, form)
    prepare(root, out, VIDEOS[:2], Settings(form, short_side=18, frames=8))
    clip = whole(made(out, form, "wave/a.avi"))
    assert clip.shape == (8, 18, 32, 3)
    assert len(whole(made(out, form, "wave/b.v2.mp4"))) == 5  # has no more
    path = made(out, form, "wave/a.avi")
    fps = (packed.inspect(path) if form == "pack" else probe(path)).fps
    assert fps == (0 if form == "jpeg" else pytest.approx(12 * 8 / 13, rel=0.01))


@pytest.mark.parametrize("count", [24, 29, 100, 301])
def test_clips_at_the_centres_are_those_of_the_whole_video(count: int) -> None:
    kept = segment_centre(count, PACKED_FRAMES)
    assert np.array_equal(kept[segment_centre(PACKED_FRAMES, 8)], segment_centre(count, 8))


def test_kept_frames_are_the_centres_of_segments(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "some.pack"
    prepare(root, out, VIDEOS[:1], Settings("pack", frames=4))
    assert np.array_equal(whole(out / "wave" / "a"), read_frames(root / "wave" / "a.avi", [1, 4, 8, 11]))


@pytest.mark.parametrize("form", ["h264", "jpeg", "pack"])
def test_an_interrupted_run_goes_on(root: Path, tmp_path: Path, form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    out, settings = place(tmp_path, form), Settings(form, fps=10.0)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(root, out, VIDEOS, settings, progress=interrupt)
    if form == "pack":  # and what a power cut may leave behind
        with (out / FRAMES).open("ab") as file:
            file.write(b"half a clip")
        with (out / INDEX).open("a") as lines:
            lines.write('{"clip": "sit/c", "off')
    else:
        half = made(out, form, "sit/c")
        half.with_name(f".part-{half.name}").parent.mkdir(parents=True, exist_ok=True)
        if form == "jpeg":
            half.with_name(f".part-{half.name}").mkdir()
    first = made(out, form, VIDEOS[0])
    before = whole(first)
    read: list[str] = []

    def noted(video: str, *rest: Any) -> PreparedClip | None:
        read.append(video)
        return prepare_one(video, *rest)

    monkeypatch.setattr("episodes.prepare.convert.prepare_one", noted)
    seen: list[tuple[int, int]] = []
    assert prepare(root, out, VIDEOS, settings, progress=lambda done, total: seen.append((done, total))) == {}
    assert seen == [(2, 3), (3, 3)]
    assert read == VIDEOS[1:]
    assert np.array_equal(whole(first), before)
    assert len(whole(made(out, form, "sit/c"))) == 3
    assert not list(out.rglob(".part-*"))


def test_broken_videos_are_named_and_the_rest_is_made(root: Path, tmp_path: Path) -> None:
    (root / "wave" / "a.avi").write_text("not a video")
    failed = prepare(root, tmp_path / "out", VIDEOS, Settings("h264"))
    assert set(failed) == {"wave/a.avi", "sit/c"}
    assert "does not tell its frames per second" in failed["sit/c"]
    assert (tmp_path / "out" / "wave" / "b.v2.mp4").is_file()


def test_several_processes_make_the_same(root: Path, tmp_path: Path) -> None:
    prepare(root, tmp_path / "one.pack", VIDEOS, Settings("pack"))
    prepare(root, tmp_path / "two.pack", VIDEOS, Settings("pack"), workers=2)
    for name in map(name_of, VIDEOS):
        assert np.array_equal(whole(tmp_path / "one.pack" / name), whole(tmp_path / "two.pack" / name))


def test_a_large_video_is_gone_through_in_parts(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("episodes.prepare.write.MEMORY", 3 * 36 * 64 * 4)
    prepare(root, tmp_path / "out.pack", VIDEOS[:1], Settings("pack"))
    assert np.array_equal(whole(tmp_path / "out.pack" / "wave" / "a"), whole(root / "wave" / "a.avi"))


def test_mixed_settings_and_colliding_names_are_refused(root: Path, tmp_path: Path) -> None:
    prepare(root, tmp_path / "out", VIDEOS[:1], Settings("jpeg"))
    assert json.loads((tmp_path / "out" / RECORD).read_text())["short_side"] == 256
    with pytest.raises(ValueError, match=r"out was made with short side 256, and now short side 128 is asked for"):
        prepare(root, tmp_path / "out", VIDEOS, Settings("jpeg", short_side=128))
    with pytest.raises(ValueError, match=r"^a/1.mp4, a/1.webm would .* 'a/1'; a/2.mp4, a/2.avi would .* 'a/2': leave"):
        prepare(root, tmp_path / "x", ["a/1.mp4", "a/1.webm", "a/3.mp4", "a/2.mp4", "a/2.avi"], Settings("jpeg"))
    with pytest.raises(ValueError, match=r"become '19'; and 4 more: leave out"):
        prepare(root, tmp_path / "x", [f"{i}.{end}" for i in range(24) for end in ("mp4", "avi")], Settings("jpeg"))
    with pytest.raises(ValueError, match=r"ends in .pack; found .*Try .*other.pack"):
        prepare(root, tmp_path / "other", VIDEOS, Settings("pack"))
    with pytest.raises(ValueError, match=r"x\.pack is the name of a packed store; give jpeg another"):
        prepare(root, tmp_path / "x.pack", VIDEOS, Settings("jpeg"))


def test_a_packed_store_refuses_what_it_does_not_have(tmp_path: Path) -> None:
    store = tmp_path / "s.pack"
    clip = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    with PackWriter(store) as writer:
        writer.add("a/b", clip, 5.0)
    assert np.array_equal(packed.read(store / "a" / "b", lambda frames, fps: [1, 0, 1]), clip[[1, 0, 1]])
    assert packed.inspect(store / "a" / "b").fps == 5.0
    with pytest.raises(VideoError, match="holds 1 clip, but not 'a/c'"):
        packed.inspect(store / "a" / "c")
    with pytest.raises(VideoError, match=r"frame 2 was asked for, but its frames are 0..1"):
        packed.read(store / "a" / "b", lambda frames, fps: [2])
    with pytest.raises(VideoError, match="not a packed store that can be read"):
        packed.read(tmp_path / "none.pack" / "a", lambda frames, fps: [0])
    with (store / FRAMES).open("r+b") as file:
        file.truncate(5)
    with (store / INDEX).open("a") as lines:
        lines.write('{"clip": "c", "offset": 72, "shape": [1, 3, 4, 3], "fps": 5.0}\n')
    with pytest.raises(VideoError, match=r"frames.bin is shorter than index.jsonl says"):
        packed.inspect(store / "a" / "b")


def test_measuring(root: Path, tmp_path: Path) -> None:
    costs = list(measure(root, VIDEOS[:2], tmp_path, Settings("h264", frames=4), frames=4, repeats=1))
    assert [cost.form for cost in costs] == ["as it is", "h264, 4 frames", "jpeg, 4 frames", "pack, 4 frames"]
    assert costs[-1].bytes_per_clip == pytest.approx(4 * 36 * 64 * 3, rel=0.1)
    assert all(cost.clips_per_second > 0 for cost in costs)
    (root / "wave" / "a.avi").write_text("not a video")
    with pytest.raises(VideoError, match=r"a\.avi"):
        list(measure(root, VIDEOS[:2], tmp_path / "again", Settings("h264"), repeats=1))
