"""What a frame is to the encoder: the data follow it, records tell it, a checkpoint of other pixels is not believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import fsar
from episodes.datamodule import EpisodicDataModule
from episodes.features import store_key
from episodes.framing import Framing
from episodes.splits import Split
from episodes.transforms import ClipTransform
from fsar.__main__ import main
from fsar.alignment import FrameMean
from fsar.encoders import ImageEncoder
from fsar.evaluation.bank import feature_key
from fsar.methods import Prototype
from fsar.training.learner import Learner
from fsar.training.pixels import PIXELS_KEY, check_framing, check_statistics

OWN = {"mean": [0.5] * 3, "std": [0.5] * 3, "size": 160, "resize_to": 168}
OWN |= {"resize": "short_side", "interpolation": "bicubic"}
OLD = "--model.encoder.mean [0.485,0.456,0.406] --model.encoder.std [0.229,0.224,0.225]"


@pytest.fixture
def trained(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of one epoch with a network of timm, whose last block is trained."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FSAR_RUN", raising=False)
    content = yaml.safe_load(config.read_text())
    encoder = {"model": "test_vit", "weights": None, "library": "timm", "tune": 1}
    method = {"encoder": {"class_path": "fsar.encoders.ImageEncoder", "init_args": encoder}}
    method["alignment"] = {"class_path": "fsar.alignment.FrameMean"}
    content["model"] = {"method": {"class_path": "fsar.methods.Prototype", "init_args": method}}
    del content["data"]["size"]
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(content))
    main(["fit", "-c", "run.yaml", "--run", "mine"])
    return tmp_path / "mine"


def without_record(run: Path, **pixels: Any) -> None:
    """The checkpoint as it was before there was a record, or with another one."""
    path = run / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint.pop(PIXELS_KEY) == OWN
    torch.save({**checkpoint, **({PIXELS_KEY: {**OWN, **pixels}} if pixels else {})}, path)


def test_the_data_follow_the_network_and_results_say_how(trained: Path) -> None:
    main(["test", "--run", str(trained)])
    (path,) = trained.glob("results/*/results.json")
    found = json.loads(path.read_text())
    assert found["pixels"] == OWN
    made = found["data"]["transform"]
    assert (made["size"], made["resize_to"], made["interpolation"]) == ([160, 160], 168, "bicubic")
    predictor = fsar.load(trained, device="cpu")
    assert predictor.data.train_transform.crop == "random"
    assert predictor.data.train_transform.interpolation == "bicubic"


def test_a_checkpoint_of_other_statistics_is_refused_with_the_options_that_bring_them_back(trained: Path) -> None:
    without_record(trained)
    with pytest.raises(SystemExit, match=r"has no record of them.*test_vit rgb now has mean \[0.5, 0.5, 0.5\]"):
        main(["test", "--run", str(trained)])
    with pytest.raises(ValueError, match=r"For those of training give --model.encoder.mean") as refused:
        fsar.load(trained, device="cpu")
    assert OLD in str(refused.value)
    options = OLD.split()
    with pytest.warns(UserWarning, match=r"interpolation bilinear.*give --model.encoder.resize_to 183 --model.enc"):
        fsar.load(trained, overrides=options, device="cpu")
    options += ["--model.encoder.resize_to", "183", "--model.encoder.interpolation", "bilinear"]
    assert fsar.load(trained, overrides=options, device="cpu").data.test_transform.resize_to == 183
    main(["test", "--run", str(trained), *options])


def test_a_checkpoint_with_another_record(trained: Path) -> None:
    without_record(trained, interpolation="bilinear")
    with pytest.warns(UserWarning, match=r"with interpolation bilinear; now .* bicubic.*interpolation bilinear\."):
        main(["test", "--run", str(trained)])
    given = "{class_path: episodes.transforms.ClipTransform, init_args: {size: 160, resize_to: 160}}"
    main(["test", "--run", str(trained), "--data.test_transform", given])  # told: nothing to warn of


def test_encoders_that_always_had_their_own_pixels_need_no_record(config: Path) -> None:
    learner = fsar.inference.predictor.configure(["-c", str(config)], "cpu").learner
    check_statistics(learner.method.encoder, {})
    check_framing(learner.method.encoder, EpisodicDataModule(size=32), {})


def test_sizes_that_differ_are_one_message() -> None:
    learner = Learner(Prototype(ImageEncoder("test_vit", None, "timm"), FrameMean()))
    split = Split("x", ("a",), ("clip",), (0,), Path())
    with pytest.raises(ValueError, match=r"data.size gives frames of 224 x 224 pixels, but .*timm test_vit takes 160"):
        EpisodicDataModule(size=224).follow(learner.framing)
    data = EpisodicDataModule(size=224, train_transform=ClipTransform(160), test_transform=ClipTransform((160, 128)))
    data.follow(learner.framing)
    assert data.clips(split, training=True).transform is data.train_transform
    with pytest.raises(ValueError, match=r"data.test_transform.size gives frames of 160 x 128 .* leave it out"):
        data.clips(split)
    EpisodicDataModule(size=160).follow(learner.framing)


def test_the_stores_key_names_the_pixels() -> None:
    keys = []
    for given in ({}, {"mean": [0.4] * 3}, {"interpolation": "bilinear"}):
        method = Prototype(ImageEncoder("test_vit", None, "timm", **given), FrameMean())
        data = EpisodicDataModule()
        data.follow(method.encoder.framing)
        keys.append(store_key(data.clips(Split("x", ("a",), ("clip",), (0,), Path())), feature_key(method)))
    assert keys[0]["encoder"]["mean"] == [0.5] * 3
    assert keys[1]["encoder"]["mean"] == [0.4] * 3
    assert [key["transform"]["interpolation"] for key in keys] == ["bicubic", "bicubic", "bilinear"]
    assert {(key["transform"]["resize_to"], key["transform"]["crop"]) for key in keys} == {(168, "centre")}


def test_without_an_encoder_the_data_are_as_published() -> None:
    data = EpisodicDataModule()
    assert (data.framing, data.test_transform.resize_to) == (Framing.usual(224), 256)
    assert EpisodicDataModule(size=64).train_transform.resize_to == 73
