"""Weights are listed from what the libraries list, fetched by them, and looked at before they are used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor

from fsar.commands.share import weights
from fsar.encoders.weights import available
from fsar.encoders.weights.architecture import RECOMMENDED
from fsar.encoders.weights.available import CLIP_LICENCES, fetch, find_offer, list_offers
from fsar.encoders.weights.by_name import options_by_name, split_name
from fsar.terminal.files.shipped import find_shipped, spell_shipped


def test_the_recommended_are_real_and_have_configurations(capsys: pytest.CaptureFixture[str]) -> None:
    weights.main([])
    shown = capsys.readouterr().out
    for use, (name, why) in RECOMMENDED.items():
        assert name in shown
        assert why in shown
        assert find_shipped(f"encoder/{use}") is not None
        assert find_offer(use) == find_offer(name)
    assert "11 M weights see 256 px" in shown
    assert split_name("base") == ("ViT-B-16", "openai")
    assert options_by_name(*split_name("transformers:a/folder"))[1] == {
        "model": "a/folder",
        "weights": "a/folder",
        "library": "transformers",
    }
    assert split_name("vision") == ("timm:vit_small_patch16_dinov3.lvd1689m", "usual")


def test_a_shorthand_is_the_configuration_of_its_name() -> None:
    assert spell_shipped(["--model.encoder", "small"])[1] == str(find_shipped("encoder/small"))
    assert spell_shipped(["--model.method.encoder=base"]) == [f"--model.method.encoder={find_shipped('encoder/base')}"]
    assert spell_shipped(["-c", "small"])[1] == "small"


def test_lists_are_the_libraries_own(capsys: pytest.CaptureFixture[str]) -> None:
    weights.main(["ViT-B-16:"])
    rows = capsys.readouterr().out.splitlines()
    tags = [f"{m}:{t}" for m, t in open_clip.list_pretrained() if m == "ViT-B-16"]
    assert [row.split()[0] for row in rows] == tags
    assert all(" 86 M   224 px  text  " in row for row in rows)
    weights.main(["VideoMAE"])
    assert (
        "hf download MCG-NJU/videomae-base --local-dir FOLDER, then --encoder transformers:" in capsys.readouterr().out
    )
    weights.main(["vit"])
    assert " more: give a longer pattern" in capsys.readouterr().out
    found = {offer.name: offer for offer in list_offers("squeezenet1_1")}
    assert found["torchvision:squeezenet1_1"].weigh() == 1_235_496
    with pytest.raises(SystemExit, match="no weights of open_clip, timm or torchvision have 'zzz'"):
        weights.main(["zzz"])


def test_licences_of_clips_are_of_tags_that_exist() -> None:
    tags = {tag for _, tag in open_clip.list_pretrained()}
    assert all(any(tag.startswith(begin) for tag in tags) for begin in CLIP_LICENCES)


def test_what_is_not_listed_is_named_with_what_is_near() -> None:
    with pytest.raises(ValueError, match="Did you mean ViT-B-16:openai"):
        find_offer("vit-b-16:openai")
    with pytest.raises(ValueError, match="timm:resnet18"):
        find_offer("timm:resnet18.a1_in1")


def test_without_a_network_it_says_what_to_copy_where(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError("no route to host. And much more")

    for name in ("load_clip", "hf_hub_download"):
        monkeypatch.setattr(available, name, refuse)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr(available, "getproxies", lambda: {"https": "http://proxy"})
    for name in ("ViT-B-16:openai", "timm:resnet18.a1_in1k", "torchvision:resnet18"):
        with pytest.raises(ConnectionError, match=rf"{name} could not be fetched.*\(no route to host\).*copy the file"):
            fetch(find_offer(name))
    monkeypatch.setattr(available, "getproxies", dict)
    monkeypatch.setattr(available.socket, "getaddrinfo", lambda host, port: refuse() if "pytorch.org" in host else None)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *args, **kwargs: pytest.fail("it was asked"))
    with pytest.raises(ConnectionError, match="no route to host"):
        fetch(find_offer("torchvision:resnet18"))


def test_what_was_fetched_is_checked_and_the_line_to_use_is_printed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from torchvision.models import squeezenet1_1

    file = tmp_path / "squeezenet.pth"
    torch.save(squeezenet1_1().state_dict(), file)
    monkeypatch.setattr(weights, "fetch", lambda offer: file)
    monkeypatch.setattr("fsar.encoders.weights.by_name.cached_weights", lambda library, name: str(file))
    weights.main(["get", "torchvision:squeezenet1_1"])
    shown = capsys.readouterr().out
    assert "all finite" in shown
    assert "fsar predict --encoder torchvision:squeezenet1_1 --support FOLDER --query CLIP" in shown
    assert "a grey frame gives 512 finite numbers" in shown


def test_a_file_is_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = open_clip.get_model_config("ViT-B-32")
    with torch.device("meta"):
        network = open_clip.CustomTextCLIP(**{k: x for k, x in config.items() if k != "custom_text"})
    state: dict[str, Tensor] = {
        k.removeprefix("text."): torch.zeros(()).expand(x.shape) for k, x in network.state_dict().items()
    }
    torch.save(state, tmp_path / "clip.pt")
    weights.main(["check", str(tmp_path / "clip.pt")])
    shown = capsys.readouterr().out
    assert " are those of " in shown
    assert " or ViT-B-32." in shown
    assert "does not say its activation" in shown
    torch.save({"conv.weight": torch.ones(2)}, tmp_path / "other.pt")
    weights.main(["check", str(tmp_path / "other.pt")])
    assert "no network of open_clip, torchvision or timm has" in capsys.readouterr().out
    torch.save({"conv.weight": torch.tensor([torch.nan])}, tmp_path / "nan.pt")
    with pytest.raises(SystemExit, match="holds NaN"):
        weights.main(["check", str(tmp_path / "nan.pt")])
    with pytest.raises(SystemExit, match="does not exist"):
        weights.main(["check", str(tmp_path / "gone.pt")])
