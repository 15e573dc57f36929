"""The embedded benchmark: what is drawn, what is written, and what happens when it is interrupted."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import av
import numpy as np
import pytest

from episodes.shapes import Shapes, appearance, motion, source
from episodes.shapes.captions import Thing, caption, captioned_frames
from episodes.shapes.drawing import COLOURS, KINDS, SIDE, Dice, Sprite, paint
from episodes.shapes.scenes import SCENES

WORLDS = pytest.mark.parametrize("world", [motion, appearance])
FORWARD = [name for pairs in motion.MOTIONS.values() for name, _, _ in pairs]
BACKWARD = {forward: backward for pairs in motion.MOTIONS.values() for forward, backward, _ in pairs}


def decode(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_dice_are_splitmix64() -> None:
    """Against a loop of the algorithm in Python's own integers."""

    def splitmix(state: int) -> float:
        z = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return ((z ^ (z >> 31)) >> 11) / 2**53

    start = int.from_bytes(hashlib.sha256(b"a/1").digest()[:8], "big")
    expected = [splitmix((start + i * 0x9E3779B97F4A7C15) % 2**64) for i in range(1, 9)]
    dice = Dice("a", 1)
    assert [dice.uniform() for _ in range(2)] + dice.array(2, 3).ravel().tolist() == expected


@pytest.mark.parametrize(
    ("world", "name", "digest"),
    [
        (motion, "something falling and bouncing", "f42ff32a970b529d4a75786d34ccfcb0eeb64d326198013a099578703d0e6f30"),
        (appearance, "a heart on snow", "7f24c0db309c06a435331b4c0a8372c165c5bb2aff85b851b6bfa27cd453fe85"),
    ],
)
def test_pixels_are_the_same_everywhere(world, name: str, digest: str) -> None:
    """When this fails because the drawing was changed on purpose, raise ``source.WORLD`` with the new digest."""
    assert source.WORLD == 1
    assert hashlib.sha256(world.render(name, 0, "test", name, "000").tobytes()).hexdigest() == digest


@WORLDS
def test_a_clip_depends_on_its_key_alone(world) -> None:
    name = world.CLASSES["test"][0]
    first, again, other = world.render(name, 1), world.render(name, 1), world.render(name, 2)
    assert np.array_equal(first, again)
    assert first.dtype == np.uint8
    assert first.shape[1:] == (SIDE, SIDE, 3)
    assert 16 <= len(first) <= 24
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("name", FORWARD)
def test_the_opposite_is_the_exact_reversal(name: str) -> None:
    clip = motion.render(name, "key")
    assert np.array_equal(clip[::-1], motion.render(BACKWARD[name], "key"))
    assert np.abs(clip.astype(int) - clip[::-1]).max() > 50


def test_opposites_name_pairs_of_one_split() -> None:
    for split, pairs in motion.OPPOSITES.items():
        names = motion.CLASSES[split]
        assert sorted(itertools.chain(*pairs)) == list(range(len(names)))
        assert all(BACKWARD[names[a]] == names[b] for a, b in pairs)


@WORLDS
def test_classes_are_many_and_disjoint(world) -> None:
    counts = {split: len(names) for split, names in world.CLASSES.items()}
    assert counts["train"] >= 24
    assert counts["val"] >= 8
    assert counts["test"] >= 12
    everything = list(itertools.chain(*world.CLASSES.values()))
    assert len(set(everything)) == len(everything)
    assert all(name == name.lower() and "_" not in name for name in everything)


def test_no_thing_and_no_scene_names_an_appearance_class() -> None:
    for pairs in appearance.PAIRS.values():
        kinds, scenes = zip(*pairs, strict=True)
        assert all(kinds.count(kind) > 1 for kind in kinds)
        assert all(scenes.count(scene) > 1 for scene in scenes)
    kinds, scenes = zip(*appearance.PAIRS["train"], strict=True)
    assert set(kinds) == set(range(len(KINDS)))
    assert set(scenes) == set(range(len(SCENES)))


def test_painting_covers_the_area_of_the_shape() -> None:
    canvas = np.zeros((2, SIDE, SIDE, 3), dtype=np.float32)
    radius = np.array([0.2, 0.1])
    paint(canvas, Sprite(KINDS.index("circle"), 0.5, 0.5, radius, radius, (1, 1, 1), outline=False))
    area = canvas[..., 0].sum((1, 2)) / SIDE**2
    np.testing.assert_allclose(area, np.pi * (0.92 * radius) ** 2, rtol=0.03)


def test_every_scene_leaves_colours_that_stand_out() -> None:
    for scene in SCENES:
        picture = scene.draw(Dice(scene.phrase))
        assert picture.shape == (SIDE, SIDE, 3)
        mean = picture.mean((0, 1))
        assert np.abs(mean - scene.colour).max() < 0.2, scene.phrase
        assert len(scene.palette()) >= 4
        assert all(np.abs(mean - COLOURS[name]).max() > 0.15 for name in scene.palette())


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shapes")
    Shapes("motion", str(root), (1, 1, 2)).load()
    return root


def test_files_hold_what_was_drawn(rendered: Path) -> None:
    split = Shapes("motion", str(rendered), (1, 1, 2)).load().test
    assert len(split) == 24
    assert split.labels[:4] == (0, 0, 1, 1)
    for video in (0, 7, 23):
        name = split.class_names[split.labels[video]]
        drawn = motion.render(name, 0, "test", name, split.path(video).stem)
        decoded = decode(split.path(video))
        assert decoded.shape == drawn.shape
        assert np.abs(decoded.astype(int) - drawn).mean() < 5


def test_coding_leaves_no_trace_of_the_direction_of_time(tmp_path: Path) -> None:
    frames = motion.render("moving something up", 3)
    source.write_video(tmp_path / "forward.mp4", frames)
    source.write_video(tmp_path / "backward.mp4", frames[::-1])
    assert np.array_equal(decode(tmp_path / "forward.mp4")[::-1], decode(tmp_path / "backward.mp4"))


def test_the_benchmark_knows_its_opposites(rendered: Path) -> None:
    benchmark = Shapes("motion", str(rendered), (1, 1, 2)).load()
    assert benchmark.test.opposites == motion.OPPOSITES["test"]
    assert benchmark.name == "shapes-motion"
    assert {len(benchmark.train), len(benchmark.val)} == {24, 8}


def test_only_missing_files_are_rendered(rendered: Path) -> None:
    split = Shapes("motion", str(rendered), (1, 1, 2)).load().val
    before = {video: split.path(video).stat().st_mtime_ns for video in range(len(split))}
    content = split.path(3).read_bytes()
    split.path(3).unlink()
    Shapes("motion", str(rendered), (1, 1, 2)).load()
    assert split.path(3).read_bytes() == content
    changed = [video for video, time in before.items() if split.path(video).stat().st_mtime_ns != time]
    assert changed == [3]


def test_an_interrupted_rendering_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    render, drawn = appearance.render, []

    def interrupted(class_name: str, *key: object) -> np.ndarray:
        drawn.append(class_name)
        if len(drawn) == 5:
            raise KeyboardInterrupt
        return render(class_name, *key)

    shapes = Shapes("appearance", str(tmp_path), (1, 1, 1), workers=1)
    monkeypatch.setattr(appearance, "render", interrupted)
    with pytest.raises(KeyboardInterrupt):
        shapes.load()
    complete = list(tmp_path.rglob("*.mp4"))
    assert 4 <= len(complete) < 44
    monkeypatch.undo()
    benchmark = shapes.load()
    splits = (benchmark.train, benchmark.val, benchmark.test)
    assert all(len(decode(split.path(video))) >= 16 for split in splits for video in range(len(split)))
    assert not list(tmp_path.rglob("*.part"))


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shape"):
        source.write_video(tmp_path / "clip.mp4", np.zeros((2, 64, 64, 7), dtype=np.uint8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("other", [{"seed": 1}, {"clips_per_class": (2, 1, 2)}])
def test_other_parameters_are_refused(rendered: Path, other: dict) -> None:
    with pytest.raises(ValueError, match=r"rendered from .*Delete .*or give Shapes another root"):
        Shapes(**{"flavour": "motion", "root": str(rendered), "clips_per_class": (1, 1, 2), **other}).load()


def test_a_folder_of_someone_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "motion").mkdir()
    (tmp_path / "motion" / "holiday.mp4").touch()
    with pytest.raises(ValueError, match="not empty and has no manifest"):
        Shapes("motion", str(tmp_path)).load()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"flavour": "smell"}, "flavour"), ({"clips_per_class": (1, 0, 1)}, "clips_per_class")],
)
def test_wrong_parameters_are_named(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Shapes(**wrong)


def test_captions_are_reproducible_and_never_tell_a_test_class() -> None:
    frames, texts = captioned_frames(128, "some key", captions=3)
    again, _ = captioned_frames(128, "some key", captions=3)
    assert np.array_equal(frames, again)
    assert [len(some) for some in texts] == [3] * 128
    forbidden = {c for world in (motion, appearance) for split in ("val", "test") for c in world.CLASSES[split]}
    bare = {text.removeprefix("a photo of ") for some in texts for text in some}
    assert len(bare) > 250
    assert not bare & forbidden
    assert not any(word in text.split() for text in bare for word in ("moving", "entering", "falling", "turning"))


def test_captions_of_a_known_picture() -> None:
    left, right = (Thing(KINDS.index("star"), x, 0.5, 0.1, 0.1, "red") for x in (0.1, 0.9))
    said = {caption([left, right], SCENES[0], Dice(i)) for i in range(50)}
    assert any("far right of" in text for text in said)
    assert any("at the middle far left and" in text and "at the middle far right" in text for text in said)
    assert any("red star" in text for text in said)
    assert caption([], SCENES[0], Dice(1)).endswith("nothing on grass")
