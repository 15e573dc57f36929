"""Image networks see the pixels that they were trained on: those of timm's and torchvision's own transforms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from timm.data import create_transform, resolve_data_config
from timm.models import get_pretrained_cfg
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor

from episodes.transforms import framed
from fsar.encoders import ImageEncoder
from fsar.encoders.image_networks import own_pixels

TIMM = {  # mean and size of each, as published
    "tf_efficientnet_lite0": (0.5, 224),
    "vit_base_patch16_siglip_224": (0.5, 224),
    "vit_base_patch16_siglip_256": (0.5, 256),
    "inception_v3": (0.5, 299),
    "inception_resnet_v2": (0.5, 299),
    "mobilenetv3_small_100": (0.485, 224),
    "tf_mobilenetv3_small_minimal_100": (0.5, 224),
    "vit_small_patch14_dinov2": (0.485, 518),
    "vit_small_patch16_dinov3": (0.485, 256),
    "resnet18": (0.485, 224),
    "resnet18.tv_in1k": (0.485, 224),
    "fastvit_t8": (0.485, 256),
    "vit_base_patch16_clip_224": (0.48145466, 224),
    "vit_base_patch16_siglip_384.v2_webli": (0.5, 384),
}
TORCHVISION = {"resnet18": 224, "inception_v3": 299, "efficientnet_b1": 240, "vit_b_16": 224, "vgg16": 224}


def picture(height: int = 480, width: int = 960) -> np.ndarray:
    """Coloured waves with noise on them, ``(h w c)`` uint8."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (7 + 9 * c)) * np.cos(y / (11 + 5 * c)) for c in range(3)]
    noise = np.random.default_rng(0).normal(0, 0.1, (height, width, 3))
    return np.clip(127.5 + 110 * (np.stack(waves, -1) + noise), 0, 255).astype(np.uint8)


def ours(encoder: Any) -> Tensor:
    """``(c h w)`` normalised, of the picture as a clip of one frame."""
    framing = encoder.framing("test")
    clip = framed(framing, "centre")(torch.from_numpy(picture()).permute(2, 0, 1)[None])
    mean, std = (torch.tensor(values)[:, None, None] for values in (encoder.mean, encoder.std))
    return (clip[0] / 255 - mean) / std


def close(found: Tensor, expected: Tensor, std: float) -> None:
    """Up to rounding to whole levels twice; of an odd margin we leave the spare pixel on the other side."""
    assert found.shape == expected.shape
    gaps = [
        (found[:, y:, x:] - expected[:, : expected.shape[1] - y, : expected.shape[2] - x]).abs() * 255 * std
        for y in (0, 1)
        for x in (0, 1)
    ]
    best = min(gaps, key=lambda gap: float(gap.mean()))
    assert best.max() < 3
    assert best.mean() < 0.3


@pytest.mark.parametrize("model", TIMM)
def test_timms_own_transform_gives_the_same_pixels(model: str) -> None:
    own, (mean, size) = own_pixels("timm", model, None, given=False), TIMM[model]
    assert (own.mean[0], own.size) == (mean, size)
    theirs = create_transform(**resolve_data_config(pretrained_cfg=get_pretrained_cfg(model).to_dict()))
    close(ours(own), theirs(Image.fromarray(picture())), own.std[0])


@pytest.mark.parametrize("model", TORCHVISION)
def test_torchvisions_own_transform_gives_the_same_pixels(model: str) -> None:
    own = own_pixels("torchvision", model, None, given=False)
    assert own.size == TORCHVISION[model]
    expected = next(iter(torchvision.models.get_model_weights(model))).transforms()(Image.fromarray(picture()))
    if model == "inception_v3":  # whose published weights come with this step
        network = torchvision.models.inception_v3(init_weights=False, transform_input=True)
        expected = network._transform_input(expected[None])[0]
    close(ours(own), expected, own.std[0])


def test_the_files_name_tells_which_weights_of_torchvision_they_are() -> None:
    entries = torchvision.models.ResNet50_Weights
    for entry in entries:
        own = own_pixels("torchvision", "resnet50", f"here/{Path(entry.url).name}", given=False)
        assert own.framing("x").resize_to == entry.transforms().resize_size[0]
    assert own_pixels("torchvision", "resnet50", "mine.pt", given=False).framing("x").resize_to == 256


@pytest.mark.parametrize(
    ("library", "model", "size"),
    [
        ("timm", "vit_small_patch14_dinov2", 224),
        ("timm", "test_vit", 96),
        ("timm", "mixer_s32_224", 64),
        ("timm", "tf_efficientnet_lite0", 96),
        ("torchvision", "inception_v3", 96),
        ("torchvision", "mobilenet_v3_small", 64),
    ],
)
def test_another_size_reaches_the_network(library: Any, model: str, size: int) -> None:
    encoder = ImageEncoder(model, None, library, image_size=size)
    features = encoder(torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8))
    assert features.shape == (2, encoder.channels)
    assert encoder.framing.size == size


@pytest.mark.parametrize("saved_at", [160, 96])
def test_position_embeddings_are_interpolated_as_timm_does(saved_at: int, tmp_path: Path) -> None:
    network = timm.create_model("test_vit", img_size=saved_at).eval()
    torch.nn.init.normal_(network.pos_embed)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    other = timm.create_model("test_vit", img_size=96, num_classes=0).eval()
    state = checkpoint_filter_fn(network.state_dict(), other)
    other.load_state_dict({k: v for k, v in state.items() if not k.startswith("head.")})
    encoder = ImageEncoder("test_vit", str(tmp_path / "weights.pt"), "timm", image_size=96)
    clip = torch.randint(0, 256, (3, 3, 96, 96), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(encoder(clip), other((clip / 255 - 0.5) / 0.5), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "test_vit", "image_size": 97}, "'test_vit' does not take frames of 97 x 97 pixels"),
        ({"model": "vit_base_patch16_sapiens2"}, "takes frames of 1024 x 768 pixels .* give image_size and resize"),
        ({"model": "test_vit", "resize_to": 100}, "resize_to=100 is smaller than image_size=160"),
        ({"model": "test_vit", "pixel_range": 255}, "pixel_range=255 is the scale of mean and std: give both"),
    ],
)
def test_what_cannot_be_is_said(arguments: dict[str, Any], message: str) -> None:
    if not timm.is_model(arguments["model"]):
        pytest.skip(f"timm {timm.__version__} has no {arguments['model']}, its only network of oblong frames")
    with pytest.raises(ValueError, match=message):
        ImageEncoder(**arguments, weights=None, library="timm")


def test_what_is_given_wins() -> None:
    given: dict[str, Any] = {"mean": [0.1] * 3, "std": [0.2] * 3, "resize_to": 180, "interpolation": "bilinear"}
    encoder = ImageEncoder("test_vit", None, "timm", resize="squash", **given)
    assert encoder.pixels == {**given, "resize": "squash", "size": 160}
    assert ImageEncoder("test_vit", None, "timm").pixels["interpolation"] == "bicubic"
