"""ImageNet networks as frame encoders, down to real weights on real clips."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as T

from fsar.encoders import ImageEncoder

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def trained_names(encoder: torch.nn.Module) -> list[str]:
    return [name for name, parameter in encoder.named_parameters() if parameter.requires_grad]


def frames(side: int = 32, lead: tuple[int, ...] = (2, 3)) -> Tensor:
    """``(... t c h w)`` uint8."""
    return torch.randint(0, 256, (*lead, 3, side, side), dtype=torch.uint8)


def normalised(clips: Tensor, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD) -> Tensor:
    mean, std = (torch.tensor(x)[:, None, None] for x in (mean, std))
    return (clips / 255 - mean) / std


def saved(network: torch.nn.Module, path: Path, without: str = "-") -> str:
    torch.save({k: v for k, v in network.state_dict().items() if not k.startswith(without)}, path)
    return str(path)


def test_torchvision_features_are_those_before_the_classifier(tmp_path: Path) -> None:
    network = torchvision.models.resnet18(weights=None).eval()
    encoder = ImageEncoder("resnet18", saved(network, tmp_path / "w.pt"), image_size=64)
    network.fc = torch.nn.Identity()
    clips = frames(64)
    assert encoder.channels == 512
    with torch.no_grad():
        expected = network(normalised(clips.flatten(0, 1))).unflatten(0, (2, 3))
    torch.testing.assert_close(encoder(clips), expected, rtol=0, atol=1e-4)


def test_timm_features_are_those_before_the_classifier(tmp_path: Path) -> None:
    network = timm.create_model("test_vit", pretrained=False).eval()
    encoder = ImageEncoder("test_vit", saved(network, tmp_path / "w.pt"), library="timm", image_size=160, tune=1)
    clips = frames(160, (2,))
    with torch.no_grad():
        expected = network.forward_head(
            network.forward_features(normalised(clips, (0.5,) * 3, (0.5,) * 3)), pre_logits=True
        )
        torch.testing.assert_close(encoder(clips), expected, rtol=0, atol=1e-5)
    last = len(encoder.blocks) - 1
    assert f"visual.blocks.{last}.attn.qkv.weight" in trained_names(encoder)
    assert "visual.norm.weight" in trained_names(encoder)
    assert "visual.blocks.0.attn.qkv.weight" not in trained_names(encoder)


@pytest.mark.parametrize("model", ["squeezenet1_0", "alexnet", "mobilenet_v3_small"])
def test_networks_that_end_in_a_map_are_pooled(model: str) -> None:
    encoder = ImageEncoder(model, None, image_size=64)
    clips = frames(64, (2,))
    with torch.no_grad():
        maps = encoder.visual.features(encoder.normalise(clips))
    torch.testing.assert_close(encoder(clips), maps.mean(dim=(-2, -1)), rtol=0, atol=1e-5)


def test_weights_are_strict_but_for_the_classifier(tmp_path: Path) -> None:
    network = torchvision.models.squeezenet1_0(weights=None, num_classes=7)
    ImageEncoder("squeezenet1_0", saved(network, tmp_path / "seven.pt"), image_size=64)
    ImageEncoder("squeezenet1_0", saved(network, tmp_path / "none.pt", "classifier."), image_size=64)
    with pytest.raises(
        ValueError, match=r"bad.pt does not fit torchvision model 'squeezenet1_0'.*2 missing: features.0"
    ):
        ImageEncoder("squeezenet1_0", saved(network, tmp_path / "bad.pt", "features.0."), image_size=64)
    with pytest.raises(FileNotFoundError, match="weights are read from files"):
        ImageEncoder("squeezenet1_0", "IMAGENET1K_V1")
    with pytest.raises(ValueError, match="no image network of torchvision"):
        ImageEncoder("squeezenet9", None)
    with pytest.raises(ValueError, match=r"no image network of timm\. Did you mean resnet18"):
        ImageEncoder("ResNet-18", None, library="timm")
    with pytest.raises(ValueError, match=r"Invalid pretrained tag \(mine\)"):
        ImageEncoder("resnet18.mine", None, library="timm")
    with torch.no_grad():
        network.features[0].weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"nan.pt holds NaN or infinity in 1 tensor: features.0.weight"):
        ImageEncoder("squeezenet1_0", saved(network, tmp_path / "nan.pt"), image_size=64)


def test_pixels_of_a_caffe_network() -> None:
    encoder = ImageEncoder(
        "squeezenet1_0", None, image_size=64, mean=(104, 117, 123), std=(1, 1, 1), pixel_range=255, channel_order="bgr"
    )
    clips = frames(64, (2,))
    expected = clips.flip(1).float() - torch.tensor([104.0, 117.0, 123.0])[:, None, None]
    torch.testing.assert_close(encoder.normalise(clips), expected, rtol=0, atol=1e-3)
    rgb = ImageEncoder("squeezenet1_0", None, image_size=64)
    rgb.visual.load_state_dict(encoder.visual.state_dict())
    assert rgb.fingerprint() != encoder.fingerprint()


def test_batchnorm_of_a_frozen_network_keeps_its_statistics() -> None:
    encoder = ImageEncoder("resnet18", None, image_size=64).train()
    before = encoder.visual.bn1.running_mean.clone()
    assert not encoder(frames(64)).requires_grad
    assert torch.equal(encoder.visual.bn1.running_mean, before)
    tuned = ImageEncoder("resnet18", None, image_size=64, tune=1).train()
    assert all(name.startswith("visual.layer4.") for name in trained_names(tuned))
    tuned(frames(64))
    assert torch.equal(tuned.visual.bn1.running_mean, before)
    assert not torch.equal(tuned.visual.layer4[0].bn1.running_mean, torch.zeros(512))


def test_asking_for_text_says_which_encoders_have_it() -> None:
    encoder = ImageEncoder("squeezenet1_0", None, image_size=64)
    assert encoder.text is None
    with pytest.raises(
        ValueError, match=r"ImageEncoder \(torchvision squeezenet1_0 rgb\) has no text tower.*ClipEncoder"
    ):
        encoder.require_text()


def segment_centres(path: Path, count: int = 8, side: int = 227) -> Tensor:
    """``(t c h w)`` uint8: frames at the centres of equal segments, short side to ``side``, centre crop."""
    with av.open(str(path)) as container:
        images = list(container.decode(video=0))
    picks = [images[int((i + 0.5) * len(images) / count)].to_ndarray(format="rgb24") for i in range(count)]
    clip = torch.from_numpy(np.stack(picks)).permute(0, 3, 1, 2)
    return T.center_crop(T.resize(clip, side, antialias=True), side)


def test_real_weights_on_real_clips_tell_actions_apart(shared: Path) -> None:
    """A third of ucf13's test videos, 5-way 1-shot: frame-mean cosine gives about 69 on all, chance is 20."""
    encoder = ImageEncoder(
        "squeezenet1_0",
        str(shared / "weights" / "squeezenet1_0_imagenet.pt"),
        image_size=227,
        mean=(104, 117, 123),
        std=(1, 1, 1),
        pixel_range=255,
        channel_order="bgr",
    )
    classes = json.loads((shared / "videos" / "splits.json").read_text())["ucf13"]["test"]
    features = []
    for name, videos in classes.items():
        clips = torch.stack([segment_centres(shared / "videos" / "ucf13" / name / v) for v in sorted(videos)[:8]])
        features.append(F.normalize(encoder(clips).mean(dim=1), dim=-1))
    bank = torch.stack(features)  # (n 8 d)
    generator = np.random.default_rng(0)
    right = []
    for _ in range(500):
        order = torch.from_numpy(np.stack([generator.permutation(8) for _ in range(len(bank))]))
        drawn = bank.gather(1, order[..., None].expand_as(bank))
        similarity = drawn[:, 1:6].flatten(0, 1) @ drawn[:, 0].T
        right.append((similarity.argmax(-1) == torch.arange(len(bank)).repeat_interleave(5)).float().mean())
    assert 62 < 100 * float(torch.stack(right).mean()) < 76
