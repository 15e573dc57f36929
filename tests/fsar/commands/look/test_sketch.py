"""``fsar sketch``: the toy CLIP and a ResNet of CLIP's kind, the frame that decides, files, wrong uses."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from episodes.shapes import motion
from episodes.shapes.source import write_video
from fsar.alignment.maps import FrameMap
from fsar.commands.look import sketch
from fsar.encoders import ClipEncoder
from fsar.inference.sketches import choose_layers, prepare_picture, see_through, sketch_frame, telling_frame
from fsar.sketching import sketch_loss

RESNET = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8},
    "text_cfg": {"context_length": 8, "width": 8, "heads": 2, "layers": 1},
}


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    write_video(tmp_path / "clip.mp4", motion.render(motion.CLASSES["test"][0], 0, "sketch"))
    return tmp_path / "clip.mp4"


def test_the_toy_draws_what_it_then_takes_for_the_frame(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--encoder", "fsar-tiny:shapes", "--strokes", "6", "--steps", "25", "--augmentations", "0", "--debug"]
    for name in ("a.svg", "b.svg", "c.png"):
        sketch.main([str(clip), "--out", str(clip.parent / name), *options])
    first, last = map(float, capsys.readouterr().err.splitlines()[-1].split("loss ")[1].split(" -> "))
    assert last < 0.95 * first
    assert (clip.parent / "a.svg").read_text() == (clip.parent / "b.svg").read_text()
    assert len(ET.parse(clip.parent / "a.svg").getroot().findall("{*}path")) == 6
    pixels = np.asarray(Image.open(clip.parent / "c.png"))
    assert pixels.shape == (256, 256)
    assert 0 < (pixels < 128).mean() < 0.3  # ink on white paper


def test_a_resnet_of_clip_is_looked_at_in_layers_2_and_3(tmp_path: Path) -> None:
    (tmp_path / "small-resnet.json").write_text(json.dumps(RESNET))
    encoder = ClipEncoder(str(tmp_path / "small-resnet.json"), None).eval()
    assert choose_layers(encoder) == ("layer 2", "layer 3")
    frame = np.random.default_rng(0).integers(0, 255, (48, 80, 3), dtype=np.uint8)
    picture = prepare_picture(frame, encoder)
    assert picture.shape == (3, 64, 64)
    maps, pooled = see_through(encoder)(picture[None])
    assert [tuple(m.shape) for m in maps] == [(1, 64, 64), (1, 16, 128)]  # 8 x 8 of 64 channels, 4 x 4 of 128
    assert pooled.shape == (1, 16)
    assert float(sketch_loss((maps, pooled), (maps, pooled))["loss"]) == pytest.approx(0, abs=1e-6)
    assert len(sketch_frame(frame, encoder, strokes=3, steps=2, augmentations=1).losses) == 2


def test_the_frame_with_the_largest_share_of_the_alignment() -> None:
    path = torch.tensor([[0.9, 0.0], [0.5, 0.6], [0.0, 1.0]])
    assert telling_frame(FrameMap("OTAM", torch.zeros(3, 2), path)) == 1


def test_wrong_use(clip: Path) -> None:
    for words in (
        ["--out", "a.gif"],
        ["--out", "a.svg", "--frame", "9"],
        ["--out", "a.svg", "--against", "b.mp4"],
        ["--out", "a.svg", "--run", "r", "--encoder", "e"],
    ):
        with pytest.raises(SystemExit) as stop:
            sketch.main([str(clip), *words])
        assert stop.value.code == 2
