"""Which network a file's tensors are of, by a table that is true of the libraries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import Tensor

from fsar.commands.share import weights
from fsar.encoders import ClipEncoder, ImageEncoder, VideoEncoder
from fsar.encoders.weights.fitting import TABLE, describe_network, digest, fitting_networks, list_networks, without

ROWS = json.loads(TABLE.read_text())["networks"]
NAMES = {name: key for key, names in ROWS.items() for name in names}


def of_library(name: str) -> dict[str, Tensor]:
    library, _, model = name.partition(":")
    with torch.device("meta"):
        network = timm.create_model(model) if library == "timm" else torchvision.models.get_model(model, weights=None)
    return network.state_dict()


@pytest.mark.parametrize(
    "name",
    [
        *("torchvision:resnet18", "torchvision:vit_b_16", "torchvision:r3d_18", "torchvision:mvit_v2_s"),
        *("timm:convnext_tiny", "timm:vit_small_patch16_dinov3", "timm:deit_tiny_patch16_224"),
    ],
)  # fmt: skip
def test_a_network_with_its_classifier_is_known(name: str) -> None:
    state = of_library(name)
    assert name in fitting_networks(state)
    first = next(iter(state))
    assert name not in fitting_networks({key: x for key, x in state.items() if key != first})
    assert name not in fitting_networks({**state, first: torch.empty(*state[first].shape, 1, device="meta")})


@pytest.mark.parametrize("name", sorted(NAMES)[::97])
def test_the_table_is_true(name: str) -> None:
    if name not in set(list_networks()):
        pytest.skip(f"{name} is not in the installed library")
    digests, _ = describe_network(name)
    assert all(name in ROWS[each] for each in digests)


def test_names_and_shapes_decide_and_nothing_else() -> None:
    state = {"a.b": torch.zeros(2, 3), "head.weight": torch.zeros(1)}
    assert digest(state) == digest({name: torch.ones(x.shape) for name, x in reversed(state.items())})
    assert digest(without(state, ["head"])) == digest({"a.b": state["a.b"]})
    assert without({"header.x": torch.zeros(1)}, ["head"])
    assert len({digest({"a": torch.zeros(n)}) for n in (1, 2)} | {digest({"b": torch.zeros(1)})}) == 3


def test_check_names_the_architecture_and_the_line_to_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def check(file: str) -> str:
        weights.main(["check", str(tmp_path / file)])
        return capsys.readouterr().out

    torch.save(torchvision.models.squeezenet1_0(num_classes=7).state_dict(), tmp_path / "net.pt")
    shown = check("net.pt")
    assert "its names and shapes are those of torchvision:squeezenet1_0\n" in shown
    assert f"use it: --encoder torchvision:squeezenet1_0:{tmp_path / 'net.pt'}" in shown
    assert "a grey frame gives 512 finite numbers" in shown
    assert "in 0..1, less 0.485, 0.456, 0.406, over 0.229, 0.224, 0.225: of other ones say mean and std" in shown
    torch.save(timm.create_model("efficientnet_lite0").state_dict(), tmp_path / "tf_efficientnet_lite0_mine.pt")
    shown = check("tf_efficientnet_lite0_mine.pt")
    assert "those of timm:tf_efficientnet_lite0, timm:efficientnet_lite0\nthey do not tell these apart" in shown
    assert "use it: --encoder timm:tf_efficientnet_lite0:" in shown
    torch.save(torchvision.models.video.r3d_18().state_dict(), tmp_path / "clips.pt")
    shown = check("clips.pt")
    assert f"use it: --encoder torchvision:r3d_18:{tmp_path / 'clips.pt'}" in shown
    assert "a grey clip gives 512 finite numbers" in shown
    torch.save({"conv.weight": torch.ones(2)}, tmp_path / "other.pt")
    assert "no network of open_clip, torchvision or timm has tensors of these names" in check("other.pt")


def test_weights_of_another_architecture_are_told_which(tmp_path: Path) -> None:
    torch.save(torchvision.models.squeezenet1_0().state_dict(), tmp_path / "net.pt")
    said = r"does not fit .*\nIts names and shapes are those of torchvision:squeezenet1_0\.$"
    with pytest.raises(ValueError, match=said):
        ImageEncoder("resnet18", str(tmp_path / "net.pt"))
    with pytest.raises(ValueError, match=said):
        ClipEncoder("ViT-B-16", str(tmp_path / "net.pt"))  # not asked first with which activation it was trained
    with pytest.raises(ValueError, match=r"'r3d_18' is no image network of torchvision\. It sees clips: take fsar.enc"):
        ImageEncoder("r3d_18", None)
    with pytest.raises(ValueError, match=said):
        VideoEncoder("r3d_18", str(tmp_path / "net.pt"))
