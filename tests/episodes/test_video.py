"""Reading videos: burnt-in numbers tell whether a frame is the right one; every failure is a VideoError."""

from __future__ import annotations

import csv
import importlib.util
import pickle
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from episodes.video import (
    VideoError,
    VideoInfo,
    check_videos,
    decord_exact,
    find_unreadable,
    probe,
    pyav,
    read_clip,
    read_frames,
    verify,
)
from episodes.video.check import _Worker

burnt = importlib.import_module("burnt")

N = 48


def _x264(**parameters: str) -> dict[str, Any]:
    return {"options": {"g": "12", "preset": "veryfast", **parameters}}


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "h264.mp4": ("libx264", _x264(bf="0")),
    "h264_b.mp4": ("libx264", _x264(bf="3", refs="3", **{"x264-params": "b-pyramid=normal"})),
    "h264_b.mkv": ("libx264", _x264(bf="2")),
    "h264_b.ts": ("libx264", _x264(bf="2")),
    "h264_open.mp4": ("libx264", _x264(bf="3", **{"x264-params": "open-gop=1:scenecut=0"})),
    "h264_refresh.mp4": ("libx264", _x264(bf="0", **{"x264-params": "intra-refresh=1"})),
    "h264_interlaced.mp4": ("libx264", _x264(bf="2", flags="+ildct+ilme", **{"x264-params": "interlaced=1"})),
    "vfr.mp4": ("libx264", _x264(bf="2") | {"times": [2 * i + 5 * (i > 30) + (i % 3 == 0) for i in range(N)]}),
    "hevc.mp4": ("libx265", {"options": {"x265-params": "keyint=12:open-gop=0:log-level=none:pools=none"}}),
    "hevc_open.mp4": ("libx265", {"options": {"x265-params": "keyint=12:open-gop=1:log-level=none:pools=none"}}),
    "vp8.webm": ("libvpx", {"options": {"g": "12", "deadline": "realtime", "cpu-used": "8"}}),
    "vp9.webm": ("libvpx-vp9", {"options": {"g": "12", "deadline": "realtime", "cpu-used": "8"}}),
    "av1.mp4": ("libsvtav1", {"options": {"preset": "12", "g": "12", "svtav1-params": "lp=1"}}),
    "mpeg4_b.avi": ("mpeg4", {"options": {"g": "12", "bf": "2"}}),
    "mpeg4_b.mp4": ("mpeg4", {"options": {"g": "12", "bf": "2"}}),
    "motion_jpeg.avi": ("mjpeg", {"pix_fmt": "yuvj420p"}),
    "gif.gif": ("gif", {"pix_fmt": "rgb8"}),
    "turned_90.mp4": ("libx264", _x264() | {"rotation": (90, False), "stored": lambda i: np.rot90(i, -1)}),
    "turned_180.mp4": ("libx264", _x264() | {"rotation": (180, False), "stored": lambda i: np.rot90(i, 2)}),
    "turned_270.mp4": ("libx264", _x264() | {"rotation": (270, False), "stored": lambda i: np.rot90(i, 1)}),
    "mirrored.mp4": ("libx264", _x264() | {"rotation": (0, True), "stored": lambda i: i[:, ::-1]}),
    "mirrored_90.mp4": (
        "libx264",
        _x264() | {"rotation": (90, True), "stored": lambda i: i[::-1, ::-1].transpose(1, 0, 2)},
    ),
}
CUTS = {f"cut_{name}": name for name in ("h264.mp4", "h264_b.mp4", "h264_open.mp4", "hevc.mp4", "hevc_open.mp4")}
CUT_AT = 20  # frames; not a key frame of any kind

# What decord 0.6 reads exactly, among the above. It is wrong on the others, or refuses them (AV1, GIF).
DECORD = {
    "h264.mp4",
    "h264_b.mp4",
    "h264_b.mkv",
    "vfr.mp4",
    "hevc.mp4",
    "vp8.webm",
    "vp9.webm",
    "turned_90.mp4",
    "turned_180.mp4",
    "turned_270.mp4",
}
# Files that the planner enters in the middle; the rest is decoded from the start.
PLANNED = DECORD | {"h264_open.mp4", "h264_refresh.mp4", "hevc_open.mp4", "h264_interlaced.mp4"}
PLANNED |= {"mirrored.mp4", "mirrored_90.mp4"}

EVERY = pytest.mark.parametrize("name", [*KINDS, *CUTS])


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The file of a kind, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("burnt")

    def clip(name: str) -> Path:
        path = folder / name
        if path.exists():
            return path
        if name in CUTS:
            return burnt.cut(clip(CUTS[name]), path, CUT_AT / 25)
        codec, arguments = KINDS[name]
        if codec not in av.codecs_available:
            pytest.skip(f"this build of PyAV has no encoder {codec}")
        return burnt.write(path, range(N), codec, **arguments)

    return clip


def _expected(name: str) -> list[int]:
    return list(range(CUT_AT if name in CUTS else 0, N))


@EVERY
def test_every_frame_is_right(clips: Callable[[str], Path], name: str) -> None:
    path, expected = clips(name), _expected(name)
    info = probe(path)
    assert (info.frames, info.height, info.width) == (len(expected), burnt.HEIGHT, burnt.WIDTH)
    assert info.fps == pytest.approx(25, rel=0.01) or name == "vfr.mp4"
    assert verify(path) == info
    everything = read_frames(path, range(info.frames), "pyav")
    assert everything.dtype == np.uint8
    assert everything.flags["C_CONTIGUOUS"]
    assert burnt.numbers_in(everything) == expected


@EVERY
def test_planner_is_bit_identical(clips: Callable[[str], Path], name: str) -> None:
    path, frames = clips(name), len(_expected(name))
    everything = read_frames(path, range(frames), "pyav")
    generator = np.random.default_rng(len(name))
    for t in (1, 1, 2, 3, 8, 8, 16, frames):
        indices = generator.integers(0, frames, t)  # unsorted, with repeats
        np.testing.assert_array_equal(read_frames(path, indices), everything[indices])
        drawn = read_clip(path, lambda frames, fps, indices=indices: indices)
        np.testing.assert_array_equal(drawn, everything[indices])


@pytest.mark.parametrize("name", sorted(KINDS.keys() & PLANNED))
def test_planner_plans(clips: Callable[[str], Path], name: str) -> None:
    with pyav._opened(clips(name)) as stream:
        packets = pyav._held(clips(name), stream)
        assert packets is not None
        found = pyav._plan(stream, packets)
    assert found is not None
    last = list(found.runs([N - 1]))
    assert len(last) == 1
    if name in DECORD:  # closed groups of at most 12
        assert len(found.starts) >= 2
        assert len(last[0]) <= 12
    assert found.unused.any() == (
        name in ("h264_b.mp4", "h264_b.mkv", "h264_open.mp4", "vfr.mp4", "h264_interlaced.mp4")
        or name.startswith(("turned", "mirrored"))
    )


def test_time_stamps_of_decoding(clips: Callable[[str], Path], tmp_path: Path) -> None:
    """A file with B-frames whose writer lost the order of display: the decoder knows it, the time stamps do not."""
    path = tmp_path / "lost.mp4"
    with av.open(str(clips("h264_b.mp4"))) as source, av.open(str(path), "w") as target:
        copy = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(source.streams.video[0]) if packet.size]
        first = packets[0].dts
        for packet in packets:
            packet.pts = packet.dts = packet.dts - first
            packet.stream = copy
            target.mux(packet)
    assert probe(path).frames == N
    for indices in ([5], [20, 21], [47, 0, 9]):
        assert burnt.numbers_in(read_frames(path, indices)) == indices
    assert not decord_exact(path)


@EVERY
def test_decord_is_called_exact_where_it_is(clips: Callable[[str], Path], name: str) -> None:
    pytest.importorskip("decord", reason="decord has no wheel for this machine")
    path, frames = clips(name), len(_expected(name))
    assert decord_exact(path) == (name in DECORD)
    if name in DECORD:
        generator = np.random.default_rng(0)
        for _ in range(5):
            indices = generator.integers(0, frames, 8)
            np.testing.assert_array_equal(read_frames(path, indices, "decord"), read_frames(path, indices))


def test_decord_is_wrong_on_cut_files(clips: Callable[[str], Path]) -> None:
    """Why ``auto`` is the default; should this fail one day, decord has been mended."""
    pytest.importorskip("decord", reason="decord has no wheel for this machine")
    path = clips("cut_h264.mp4")
    indices = np.random.default_rng(0).permutation(N - CUT_AT)[:8]
    right = [CUT_AT + index for index in indices]
    assert burnt.numbers_in(read_frames(path, indices)) == right
    assert burnt.numbers_in(read_frames(path, indices, "decord")) != right


@pytest.mark.parametrize("name", sorted(DECORD))
def test_torchcodec(clips: Callable[[str], Path], name: str) -> None:
    pytest.importorskip("torchcodec.decoders", reason="the extra torchcodec is not installed", exc_type=ImportError)
    indices = np.random.default_rng(0).integers(0, N, 8)
    np.testing.assert_array_equal(
        read_frames(clips(name), indices, "torchcodec"), read_frames(clips(name), indices, "pyav")
    )


def test_torchcodec_missing(clips: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchcodec.decoders", None)
    with pytest.raises(ImportError, match=r"fsar\[torchcodec\]"):
        read_frames(clips("h264.mp4"), [0], "torchcodec")


def test_read_clip_tells_and_obeys(clips: Callable[[str], Path]) -> None:
    told: list[tuple[int, float]] = []

    def choose(frames: int, fps: float) -> list[int]:
        told.append((frames, fps))
        return [7, 3, 7]

    for name in ("h264_b.mp4", "mpeg4_b.avi", "gif.gif"):
        for reader in ("auto", "pyav"):
            assert burnt.numbers_in(read_clip(clips(name), choose, reader)) == [7, 3, 7]
            info = probe(clips(name))
            assert burnt.numbers_in(read_clip(clips(name), choose, reader, info)) == [7, 3, 7]
    assert told == [(N, 25.0)] * len(told)


@pytest.mark.parametrize("name", ["h264_b.mp4", "mpeg4_b.avi"])
@pytest.mark.parametrize("memory", [0, 1000, 200_000])
def test_videos_too_large_to_hold(
    clips: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, name: str, memory: int
) -> None:
    monkeypatch.setattr(pyav, "MEMORY", memory)
    assert probe(clips(name)).frames == N
    assert burnt.numbers_in(read_clip(clips(name), lambda frames, fps: [frames - 1, 0, 20])) == [N - 1, 0, 20]
    assert burnt.numbers_in(read_frames(clips(name), [30, 5])) == [30, 5]


@pytest.mark.parametrize("reader", ["auto", "pyav", "decord"])
@pytest.mark.parametrize("name", ["h264_b.mp4", "mpeg4_b.avi"])
def test_indices_out_of_range(clips: Callable[[str], Path], name: str, reader: Any) -> None:
    if reader == "decord":
        pytest.importorskip("decord", reason="decord has no wheel for this machine")
    for indices in ([0, N], [-1], [1000]):
        with pytest.raises(VideoError, match=rf"{name}.*frame {indices[-1]} was asked for"):
            read_frames(clips(name), indices, reader)
    for indices in ([], [[0, 1]], [0.5]):
        with pytest.raises(VideoError, match="non-empty list of integers"):
            read_frames(clips(name), indices, reader)


def test_what_the_caller_refuses_names_the_file(clips: Callable[[str], Path]) -> None:
    def refuse(frames: int, fps: float) -> list[int]:
        raise ValueError(f"{frames} frames are too few")

    with pytest.raises(VideoError, match=r"h264\.mp4: 48 frames are too few"):
        read_clip(clips("h264.mp4"), refuse)


def test_unknown_reader(clips: Callable[[str], Path]) -> None:
    with pytest.raises(ValueError, match="reader must be one of auto, pyav, decord, torchcodec; found 'opencv'"):
        read_frames(clips("h264.mp4"), [0], "opencv")  # type: ignore[arg-type]


def _broken(folder: Path, whole: Path) -> dict[str, tuple[Path, str]]:
    """Kinds of broken video and what is to be said of them."""
    data = whole.read_bytes()
    (folder / "empty").mkdir()
    files = {
        "zero.mp4": (b"", "empty"),
        "pointer.mp4": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
        "text.mp4": (b"<html>not found</html>" * 50, "not a video"),
        "half.mp4": (data[: len(data) // 2], "truncated"),
        "tail.mp4": (data[:-7], "truncated"),
    }
    for name, (content, _) in files.items():
        (folder / name).write_bytes(content)
    cases = {name: (folder / name, cause) for name, (_, cause) in files.items()}
    cases["missing"] = (folder / "missing.mp4", "no such file or folder")
    cases["folder"] = (folder / "empty", "folder without images")
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), dtype=np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    cases["sound"] = (folder / "sound.mp4", "no video stream")
    return cases


def test_failures_name_file_and_cause(clips: Callable[[str], Path], tmp_path: Path) -> None:
    for path, cause in _broken(tmp_path, clips("h264.mp4")).values():
        for act in (probe, verify, decord_exact, lambda p: read_frames(p, [0]), lambda p: read_frames(p, [0], "pyav")):
            if path.is_dir() and act is decord_exact:
                continue
            with pytest.raises(VideoError, match=cause) as caught:
                act(path)
            assert str(caught.value).startswith(f"{path}: ")
            assert caught.value.path == str(path)


@pytest.mark.parametrize("name", ["vp9.webm", "mpeg4_b.avi", "h264_b.mkv"])
def test_truncated(clips: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    data = clips(name).read_bytes()
    for share in (0.3, 0.6, 0.95):
        path = tmp_path / f"{share}_{name}"
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(VideoError, match="truncated"):
            probe(path)


@pytest.mark.parametrize("name", ["h264_b.mp4", "hevc.mp4", "mpeg4_b.avi", "vp9.webm", "av1.mp4", "gif.gif"])
def test_damage(clips: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    """Bytes overwritten at random: a VideoError, or the same from both readers; nothing else is ever raised.

    Damage inside entropy-coded pixels need not be noticeable, so the pictures themselves are not judged.
    """
    data, generator = clips(name).read_bytes(), np.random.default_rng(0)
    raised = 0
    for round in range(16):
        damaged, path = bytearray(data), tmp_path / f"{round}_{name}"
        at = int(generator.integers(len(data)))
        damaged[at : at + 40] = generator.bytes(len(damaged[at : at + 40]))
        path.write_bytes(damaged)
        try:
            frames = verify(path).frames
        except VideoError:
            raised += 1
            continue
        np.testing.assert_array_equal(read_frames(path, range(frames)), read_frames(path, range(frames), "pyav"))
    assert raised > 0 or name == "gif.gif"


def test_error_survives_processes() -> None:
    error = VideoError("a/b.mp4", "broken")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.path, again.cause, str(again)) == (VideoError, "a/b.mp4", "broken", "a/b.mp4: broken")
    assert isinstance(error, ValueError)


def test_error_survives_a_data_loader() -> None:
    from torch._utils import ExceptionWrapper  # what a worker process sends, and how the loader raises it anew

    try:
        read_frames("nowhere.mp4", [0])
    except VideoError:
        sent = pickle.loads(pickle.dumps(ExceptionWrapper()))
    with pytest.raises(VideoError, match=r"nowhere\.mp4: no such file"):
        sent.reraise()


@pytest.mark.parametrize("pattern", ["{:05d}.png", "img_{:05d}.png", "frame_{:06d}.png", "shot2_{}.png"])
def test_folder_of_images(tmp_path: Path, pattern: str) -> None:
    for number in range(12):
        Image.fromarray(burnt.burn(number)).save(tmp_path / pattern.format(number + 1))
    (tmp_path / "notes.txt").write_text("not an image")
    assert probe(tmp_path) == VideoInfo(12, 0.0, burnt.HEIGHT, burnt.WIDTH)
    assert verify(tmp_path) == probe(tmp_path)
    assert burnt.numbers_in(read_frames(tmp_path, [11, 0, 5, 5])) == [11, 0, 5, 5]
    assert burnt.numbers_in(read_clip(tmp_path, lambda frames, fps: [frames - 1], "decord")) == [11]
    with pytest.raises(VideoError, match="frame 12 was asked for"):
        read_frames(tmp_path, [12])
    broken = tmp_path / pattern.format(3)
    broken.write_bytes(broken.read_bytes()[:500])
    with pytest.raises(VideoError, match="cannot be read"):
        read_frames(tmp_path, [2])
    with pytest.raises(VideoError, match="cannot be read"):
        verify(tmp_path)


def test_folder_of_images_that_is_not_one_video(tmp_path: Path) -> None:
    for name, side in (("x_1.png", 16), ("y_2.png", 32)):
        Image.new("RGB", (side, 16)).save(tmp_path / name)
    with pytest.raises(VideoError, match="differ in size"):
        read_frames(tmp_path, [0, 1])
    Image.new("L", (16, 16)).save(tmp_path / "y_1.png")
    with pytest.raises(VideoError, match="two of its images have the number 1"):
        probe(tmp_path)
    for file in tmp_path.iterdir():
        file.rename(file.with_stem(file.stem.replace("_", "").translate(str.maketrans("12", "ab"))))
    assert probe(tmp_path).frames == 3  # by name: xa, ya, yb


def _torture(shared: Path) -> list[dict[str, str]]:
    with (shared / "videos" / "torture" / "torture.csv").open() as file:
        return list(csv.DictReader(file))


def test_torture(shared: Path) -> None:
    """Every odd file reads as many frames as its table says, or raises a VideoError."""
    refused = {"decord_corrupted.mp4", "moz_no_timescale.mp4"}  # some frames decode, then it breaks
    for row in _torture(shared):
        path = shared / "videos" / "torture" / row["file"]
        frames = int(row["frames_decodable_pyav"] or 0)
        if frames and row["file"] not in refused:
            assert probe(path).frames == frames, row["file"]
            everything = read_frames(path, range(frames), "pyav")
            np.testing.assert_array_equal(read_frames(path, range(frames)), everything)
            indices = np.random.default_rng(frames).integers(0, frames, 8)
            np.testing.assert_array_equal(read_clip(path, lambda n, fps, i=indices: i), everything[indices])
        else:
            for act in (
                verify,
                lambda p: read_frames(p, [40]),
                lambda p: read_clip(p, lambda n, fps: [n // 2], "pyav"),
            ):
                with pytest.raises(VideoError, match=row["file"]):
                    act(path)


def test_phone_video_is_upright(shared: Path) -> None:
    pytest.importorskip("decord", reason="decord has no wheel for this machine")
    for name, size in (("decord_video_90.mov", (568, 320)), ("decord_video_180.mov", (320, 568))):
        path = shared / "videos" / "torture" / name
        assert (probe(path).height, probe(path).width) == size
        np.testing.assert_array_equal(read_frames(path, [0, 2]), read_frames(path, [0, 2], "decord"))


@pytest.mark.parametrize(("folder", "step"), [("ucf13", 16), ("ssv2toy15", 12), ("handlm17", 60)])
def test_real_clips(shared: Path, folder: str, step: int) -> None:
    files = sorted((shared / "videos" / folder).glob("*/*.mp4"))[::step]
    assert files
    for path in files:
        frames = probe(path).frames
        everything = read_frames(path, range(frames), "pyav")
        indices = np.random.default_rng(frames).integers(0, frames, 8)
        np.testing.assert_array_equal(read_frames(path, indices), everything[indices])
        if decord_exact(path) and importlib.util.find_spec("decord"):
            np.testing.assert_array_equal(read_frames(path, indices, "decord"), everything[indices])


def test_check_videos(clips: Callable[[str], Path], tmp_path: Path) -> None:
    whole = clips("h264.mp4")
    broken = _broken(tmp_path, whole)
    paths = [whole, *(path for path, _ in broken.values()), clips("mpeg4_b.avi")]
    for quick in (True, False):
        results = {check.path: check for check in check_videos(paths, workers=2, quick=quick)}
        assert set(results) == {str(path) for path in paths}
        assert results[str(whole)].info == probe(whole)
        for path, cause in broken.values():
            assert cause in results[str(path)].cause
    causes = find_unreadable(paths, workers=1)
    assert list(causes) == [str(path) for path, _ in broken.values()]


def test_check_outlives_its_workers(clips: Callable[[str], Path]) -> None:
    worker, path = _Worker(quick=True, seconds=60.0), str(clips("h264.mp4"))
    try:
        assert worker.check(path).info is not None
        assert worker.process is not None
        worker.process.kill()
        worker.process.wait()
        assert "crashes the decoder" in worker.check(path).cause
        assert worker.check(path).info is not None
        worker.process.send_signal(signal.SIGSTOP)
        worker.seconds = 0.5
        assert "not read within 0.5 seconds" in worker.check(path).cause
        worker.seconds = 60.0
        assert worker.check(path).info is not None
    finally:
        worker.close()


def test_check_videos_can_be_left_early(clips: Callable[[str], Path]) -> None:
    some = check_videos([clips("h264.mp4")] * 50, workers=2)
    assert next(some).info is not None
    some.close()
    with pytest.raises(ValueError, match="workers >= 1"):
        next(check_videos([], workers=0))
