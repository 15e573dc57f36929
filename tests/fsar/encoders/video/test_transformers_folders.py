"""Video networks of transformers: where a token belongs, what a folder says, and what of it is refused."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from episodes.clips import Streams
from fsar.encoders import VideoEncoder
from fsar.encoders.video.hugging_face import own_pixels

transformers = pytest.importorskip("transformers")
KINDS = ("videomae", "vjepa2", "timesformer", "vivit", "xclip")
Folders = Callable[..., str]


def changed(folder: str, to: Path, **changes: Any) -> str:
    """A copy with another ``config.json``."""
    shutil.copytree(folder, to)
    content = json.loads((to / "config.json").read_text()) | changes
    (to / "config.json").write_text(json.dumps(content))
    return str(to)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_a_token_belongs_to_its_step_and_its_place(kind: str, folders: Folders) -> None:
    """Without blocks nothing is exchanged, so one changed corner of one frame moves one token."""
    folder = folders(kind, layers=0)
    encoder = VideoEncoder(folder, folder, "transformers")
    clip = torch.full((4, 3, 32, 32), 100, dtype=torch.uint8)
    other = clip.clone()
    other[3, :, :16, 16:] += 50
    before, after = (encoder.features(Streams(frames=x), ("frames", "patches"))["patches"] for x in (clip, other))
    moved = (before - after).abs().amax(-1) > 1e-6
    assert moved.nonzero().tolist() == [[encoder.steps(4) - 1, 1]]


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_a_folders_weights_are_read(kind: str, folders: Folders, plain: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    network = plain(kind)  # as the folder was made
    network = getattr(network, kind, network) if kind in ("timesformer", "vivit") else network
    network = {"vjepa2": lambda x: x.encoder, "xclip": lambda x: x.vision_model}.get(kind, lambda x: x)(network)
    encoder = VideoEncoder(folders(kind), folders(kind), "transformers")
    clips = torch.randint(0, 256, (2, 4, 3, 32, 32), dtype=torch.uint8)
    made = network(encoder.normalise(clips).flatten(0, 1) if kind == "xclip" else encoder.normalise(clips))
    count = encoder.steps(4) * 4
    tokens = made.last_hidden_state.reshape(2, -1, 24)
    expected = made.pooler_output.unflatten(0, (2, 4)).mean(1) if kind == "xclip" else tokens[:, -count:].mean(1)
    torch.testing.assert_close(encoder(clips).mean(1), expected, rtol=1e-4, atol=1e-5)
    again = VideoEncoder(folders(kind), folders(kind), "transformers")
    assert encoder.fingerprint() == again.fingerprint()
    other = VideoEncoder(folders(kind), None, "transformers")
    assert encoder.fingerprint() != other.fingerprint()


@torch.no_grad()
def test_the_norm_before_a_tuned_videomaes_classifier_is_kept(folders: Folders) -> None:
    folder = folders("videomae_tuned")
    encoder = VideoEncoder(folder, folder, "transformers")
    whole = transformers.VideoMAEForVideoClassification.from_pretrained(folder)
    found = encoder.features(Streams(frames=torch.randint(0, 256, (1, 4, 3, 32, 32), dtype=torch.uint8)),
                             ("frames", "patches"))  # fmt: skip
    torch.testing.assert_close(found["frames"], whole.fc_norm(found["patches"].mean(-2)), rtol=1e-4, atol=1e-5)


def test_pixels_of_vivit_are_those_of_its_own_processor(tmp_path: Path) -> None:
    pytest.importorskip("transformers.models.vivit.image_processing_vivit")
    theirs = transformers.VivitImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32})
    theirs.save_pretrained(tmp_path)
    own = own_pixels(str(tmp_path), 32, given=False)
    framing = own.framing("x")
    assert (framing.resize_to, framing.resize, framing.interpolation) == (40, "short_side", "bilinear")
    frame = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    expected = theirs([[frame]], return_tensors="np")["pixel_values"][0, 0]
    cut = frame[4:36, 4:36].transpose(2, 0, 1) / 255
    ours = (cut - np.array(own.mean)[:, None, None]) / np.array(own.std)[:, None, None]
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_what_a_folder_lacks_is_said(folders: Folders, tmp_path: Path) -> None:
    folder = folders("vivit")
    bare = Path(changed(folder, tmp_path / "bare"))
    (bare / "preprocessor_config.json").unlink()
    with pytest.raises(ValueError, match=r"does not say mean and std of its pixels .*, or give mean and std"):
        VideoEncoder(str(bare), None, "transformers")
    assert VideoEncoder(str(bare), None, "transformers", mean=[0.5] * 3, std=[0.1] * 3).std == (0.1,) * 3
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("owner/name", {}, r"it is a folder on this machine with config.json.*Nothing is fetched"),
        (changed(folder, tmp_path / "code", auto_map={"AutoModel": "x.Y"}), {}, "code of its own.*never loaded"),
        (
            changed(folder, tmp_path / "bert", model_type="bert"),
            {},
            "model_type 'bert'; video networks known here: vid",
        ),
        (changed(folder, tmp_path / "deep", num_hidden_layers=3), {}, r"deep does not fit VivitModel: \d+ missing"),
        (folder, {"frames": 8}, "1 of another shape: embeddings.position_embeddings"),
        (folder, {"frames": 3}, "makes one step of 2 frames; give a multiple"),
        (folder, {"image_size": 64}, "1 of another shape: embeddings.position_embeddings"),
        (folders("vjepa2"), {"frames": 8}, "takes clips of any even length"),
    ]
    for model, options, message in cases:
        with pytest.raises(ValueError, match=message):
            VideoEncoder(model, model, "transformers", **options)
    with pytest.raises(ValueError, match="they are those of the folder"):
        VideoEncoder(folder, "other.pt", "transformers")


def test_without_the_extra_the_way_out_is_said(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folders("vivit")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'fsar\[video\]'"):
        VideoEncoder(folder, folder, "transformers")


def test_nothing_of_it_stays_switched_off(folders: Folders) -> None:
    before = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    encoder = VideoEncoder(folders("vivit"), folders("vivit"), "transformers")
    assert (transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()) == before
    assert not any(isinstance(module, nn.Dropout) and module.training for module in encoder.modules())
