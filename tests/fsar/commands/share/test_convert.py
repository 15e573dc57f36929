"""Checkpoints as their authors save them become runs; what does not fit is named, and nothing is unpickled."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

import fsar
from fsar.build import make_parser, parse_options
from fsar.commands.share.convert import after_data, find_converter, main, read_released
from fsar.encoders.clip import ClipEncoder
from fsar.encoders.image import ImageEncoder
from fsar.methods import TRX, ClipFSAR, Prototype

SEQUENTIAL = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
Save = Callable[[dict[str, Tensor]], Path]


@pytest.fixture
def data(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data of the little world."""
    monkeypatch.chdir(tmp_path)
    content = yaml.safe_load(config.read_text())
    path = tmp_path / "data.yaml"
    path.write_text(yaml.safe_dump({key: content[key] for key in ("seed_everything", "trainer", "data")}))
    return path


def _method(path: Path, name: str, **arguments: Any) -> Path:
    path.write_text(
        yaml.safe_dump({"model": {"method": {"class_path": f"fsar.methods.{name}", "init_args": arguments}}})
    )
    return path


def _trx(folder: Path, tune: str, **other: Any) -> tuple[TRX, Path]:
    """A method of random weights, and the configuration that describes it."""
    torch.manual_seed(5)
    network: dict[str, Any] = {"model": "resnet18", "weights": None, "image_size": 32}
    method = TRX(ImageEncoder(**network, tune=tune), cardinalities=[2], width=16)  # type: ignore[arg-type]
    encoder = {"class_path": "fsar.encoders.ImageEncoder", "init_args": {**network, "tune": tune}}
    arguments = {"encoder": encoder, "cardinalities": [2], "width": 16, **other}
    return method.eval(), _method(folder / "trx.yaml", "TRX", **arguments)


def _released(method: nn.Module) -> dict[str, Tensor]:
    """TRX's weights under its authors' names."""
    state = {}
    for name, value in method.state_dict().items():
        if name.startswith("encoder.visual."):
            head, _, rest = name.removeprefix("encoder.visual.").partition(".")
            state[f"resnet.{SEQUENTIAL[head]}.{rest}"] = value
        else:
            state[name.removeprefix("matching.")] = value
    return state


@pytest.mark.parametrize("tune", ["full", "frozen"])
def test_a_converted_run_names_clips_as_the_method_does(data: Path, clips: Path, tmp_path: Path, tune: str) -> None:
    method, _ = _trx(tmp_path, tune)
    torch.save({"model_state_dict": _released(method), "iteration": 5}, tmp_path / "trx.pt")
    main(["trx.pt", "--method", "trx.yaml", "-o", "run", "-c", str(data)])
    model = fsar.load(tmp_path / "run")
    found = model.learner.method.state_dict()
    assert found.keys() == method.state_dict().keys()
    assert all(torch.equal(x, found[name]) for name, x in method.state_dict().items())
    assert (tmp_path / "run" / "encoder.safetensors").is_file() == (tune == "frozen")
    answer = model.predict({"a": [clips / "class_0/0.mp4"], "b": [clips / "class_1/0.mp4"]}, [clips / "class_1/0.mp4"])
    assert answer[0].ranking[0][0] == "b"


def test_clip_fsar_with_all_of_its_tower(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    torch.manual_seed(6)
    encoder = {"model": str(tiny_model), "pretrained": None, "tune": "full"}
    plan = {
        "encoder": {"class_path": "fsar.encoders.ClipEncoder", "init_args": encoder},
        "alignment": {"class_path": "fsar.alignment.OTAM"},
    }
    config = _method(tmp_path / "clip_fsar.yaml", "ClipFSAR", **plan)
    method = ClipFSAR(ClipEncoder(**encoder), fsar.alignment.OTAM())  # type: ignore[arg-type]
    released = {}
    for name, value in method.state_dict().items():
        if name.startswith("encoder.visual."):
            released[f"head.backbone.{name.removeprefix('encoder.visual.')}"] = value
        elif name == "scale":
            released["head.scale"] = value[None]
        elif not name.startswith("encoder."):
            inner = name.removeprefix("temporal.blocks.0.")
            for ours, theirs in (
                ("feed_forward.1.", "1.net.0."),
                ("feed_forward.4.", "1.net.3."),
                ("norm.", "0.norm."),
            ):
                if inner.startswith(ours):
                    inner = inner.replace(ours, theirs, 1)
                    break
            else:
                inner = f"0.fn.{inner}"
            released[f"head.context2.layers.0.{inner}"] = value
    torch.save({"epoch": 3, "model_state": released, "optimizer_state": {}, "cfg": "x: 1"}, tmp_path / "ck.pyth")
    main(["ck.pyth", "--method", str(config), "-o", "run", "-c", str(data)])
    found = fsar.load(tmp_path / "run").learner.method.state_dict()
    ours = {name: x for name, x in method.state_dict().items() if not name.startswith("encoder.text.")}
    assert all(torch.equal(x, found[name]) for name, x in ours.items())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("transformers.0.k_linear.bias"), "1 missing: matching.transformers.0.k_linear.bias"),
        (lambda s: s.update({"transformers.0.k_linear.bias": torch.zeros(7)}), r"file \(7,\), method \(16,\)"),
        (lambda s: s.update({"transformers.1.k_linear.bias": torch.zeros(16)}), "1 unknown: matching.transformers.1"),
        (lambda s: s.update({"head.x": torch.zeros(1)}), "'head.x' is not a weight of a released checkpoint of TRX"),
        (lambda s: s.update({"transformers.0.k_linear.bias": torch.full((16,), torch.nan)}), "holds NaN"),
    ],
)
def test_what_does_not_fit_is_named(
    data: Path, tmp_path: Path, change: Callable[[dict[str, Tensor]], None], said: str
) -> None:
    method, _ = _trx(tmp_path, "full")
    state = _released(method)
    change(state)
    torch.save(state, tmp_path / "trx.pt")
    with pytest.raises(SystemExit, match=said):
        main(["trx.pt", "--method", "trx.yaml", "-o", "run", "-c", str(data)])
    assert not (tmp_path / "run").exists()


def test_a_file_that_does_not_fit_is_told_without_weights_of_clip(
    data: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "nothing"))
    encoder = {"model": str(tiny_model), "pretrained": None, "tune": "full"}
    alignment = {"class_path": "fsar.alignment.OTAM"}
    gone = {"class_path": "fsar.encoders.ClipEncoder", "init_args": {**encoder, "pretrained": "gone.pt"}}
    config = _method(tmp_path / "clip_fsar.yaml", "ClipFSAR", encoder=gone, alignment=alignment)
    method = ClipFSAR(ClipEncoder(**encoder), fsar.alignment.OTAM())  # type: ignore[arg-type]
    tower = {k: x for k, x in method.state_dict().items() if k.startswith("encoder.visual.")}
    released = {f"head.backbone.{k.removeprefix('encoder.visual.')}": x for k, x in tower.items()}

    def refuse(state: dict[str, Tensor], said: str, name: Path = config) -> None:
        torch.save({"model_state": state}, "ck.pyth")
        with pytest.raises(SystemExit, match=said):
            main(["ck.pyth", "--method", str(name), "-o", "run", "-c", str(data)])
        assert not Path("run").exists()

    refuse({"foo": torch.ones(1)}, r"^fsar convert: 'foo' is not a weight of a released CLIP-FSAR checkpoint")
    refuse(released, r"^fsar convert: ck\.pyth does not fit ClipFSAR as configured\. Weights \d+ missing: scale")
    plain = _method(tmp_path / "plain.yaml", "Prototype", encoder=gone, alignment=alignment)
    refuse(released, "^fsar convert: Prototype has no released checkpoint whose names", plain)
    fits = {k: x for k, x in method.state_dict().items() if not k.startswith("encoder.text.")}
    monkeypatch.setattr("fsar.methods.clip_fsar.convert_released", dict)
    refuse(fits, r"^fsar convert: ck\.pyth fits ClipFSAR\. pretrained='gone\.pt' is neither a file nor a tag")


def test_a_recipe_follows_the_data_that_it_changes(data: Path) -> None:
    recipe, mine = "method/clip_mei/hmdb51", ["-c", "mine.yaml", "--data.frames", "4"]
    assert after_data(recipe, ["-c", "trainer", "-c", "data/hmdb51", *mine]) == [
        *("-c", "data/hmdb51", "-c", recipe, "-c", "trainer"),
        *mine,
    ]
    assert after_data(recipe, [f"--config={data}", *mine]) == [f"--config={data}", "-c", recipe, *mine]
    assert after_data(recipe, mine) == ["-c", recipe, *mine]
    config = parse_options(make_parser(None), after_data(recipe, ["--model.scoring", "bf16", "-c", "data/hmdb51"]))
    assert config.data.train_transform.init_args.flip is True
    before = ["--model.method.text_blocks", "2", "-c", "mine.yaml"]
    assert after_data(recipe, [*before, "-c", "data/ucf101"]) == ["-c", "data/ucf101", "-c", recipe, *before]


def test_the_page_names_the_methods_whose_files_are_known() -> None:
    page = (Path(__file__).resolve().parents[4] / "docs" / "released.md").read_text(encoding="utf-8")
    listed = " ".join(page.split()).split("Names are known of ")[1].split(", from listings")[0]
    plain = unicodedata.normalize("NFKC", listed).replace("++", "PlusPlus").replace("D2ST-Adapter", "D2ST")
    named = {re.sub(r"\(.*\)|\W", "", word).lower() for word in re.split(r",| and ", plain)}
    known = set()
    for name in fsar.methods.__all__:
        with suppress(ValueError):
            find_converter(getattr(fsar.methods, name))
            known.add(name.lower())
    assert named == known


class Payload:
    """Would leave a file behind when unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("ran"),))


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model_state": {"a": torch.ones(1)}, "cfg": Payload()}, "objects.pt")
    with pytest.raises(ValueError, match=r"objects\.pt is refused.*torch\.save\(model\.state_dict\(\), FILE\)"):
        read_released(Path("objects.pt"))
    assert not Path("ran").exists()
    torch.save({"epoch": 3}, "nothing.pt")
    with pytest.raises(ValueError, match=r"nothing\.pt holds no weights"):
        read_released(Path("nothing.pt"))
    Path("text.pt").write_text(json.dumps({}))
    with pytest.raises(ValueError, match=r"text\.pt"):
        read_released(Path("text.pt"))
    with pytest.raises(FileNotFoundError, match=r"gone\.pt does not exist"):
        read_released(Path("gone.pt"))


def test_both_halves_of_action_clip_and_several_gpus(tmp_path: Path) -> None:
    two = {"model_state_dict": {"a": torch.ones(1)}, "fusion_model_state_dict": {"b": torch.ones(1)}}
    torch.save(two, tmp_path / "action.pt")
    assert set(read_released(tmp_path / "action.pt")) == {"a", "fusion.b"}
    torch.save({"model_state": {"module.a": torch.ones(1)}}, tmp_path / "gpus.pt")
    assert set(read_released(tmp_path / "gpus.pt")) == {"a"}


def test_methods_and_folders_that_will_not_do(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Prototype has no released checkpoint"):
        find_converter(Prototype)
    method, _ = _trx(tmp_path, "full")
    torch.save(_released(method), tmp_path / "trx.pt")
    with pytest.raises(SystemExit):
        main(["trx.pt", "--method", "trxx", "-o", "run", "-c", str(data)])
    (tmp_path / "run").mkdir()
    with pytest.raises(SystemExit):
        main(["trx.pt", "--method", "trx.yaml", "-o", "run", "-c", str(data)])
