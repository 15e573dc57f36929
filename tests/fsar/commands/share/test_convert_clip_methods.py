"""Checkpoints of the CLIP methods of 2024-26, with the names and axes of the released state dicts, become runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import yaml
from torch import Tensor

import fsar
from fsar.__main__ import main
from fsar.encoders.weights.state import hash_tensors
from fsar.methods import action_clip, d2st, emp_net, task_adapter_pp, ts_fsar
from fsar.methods.clip_motion import clip_cpm2c, clip_mei, clip_spm

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, about our tiny loaders
MODEL: dict[str, Any] = {
    "embed_dim": 32,  # of the stored state dicts
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 3, "head_width": 16},
    "text_cfg": {"context_length": 40, "width": 16, "heads": 2, "layers": 2},
}
State = dict[str, Tensor]


MOTION = ("context2.layers.0.1.net.3.bias", "context2.layers.1.1.net.3.bias")


@dataclass
class Released:
    """A method whose authors' state dict stands among the stored arrays.

    Args:
        name: of the class.
        convert: its converter, which tests of the method compare with released outputs.
        key: under which its authors save weights.
        prefix: of their names.
        tune: what is trained of CLIP.
        options: that make it as large as the stored one.
        spoilt: one of its names, and one that there is not; None where another of its kind is tried.
    """

    name: str
    convert: Callable[[State], State]
    key: str
    prefix: str
    tune: str
    options: dict[str, Any]
    spoilt: tuple[str, str] | None = MOTION


MISFIT = (
    r"released\.pt does not fit \w+ as configured\. Weights \d+ missing: .*; 1 unknown: .*; 1 of another shape: "
    r".*\(file \(7,\), method \(32,\)\)"
)
BEYOND = ("fusion_patch.layers.0.1.net.3.bias", "fusion_patch.layers.0.1.net.3.scale")
ANCHORS: dict[str, Any] = {"hidden": 64, "head_width": 8}
SAVED = "model_state_dict", "", "full"
METHODS = {
    "emp_net": Released(
        "EMPNet", emp_net.convert_released, "model_state", "head.", "frozen", {"layers": [1, 2, 3]}, BEYOND
    ),
    "clip_mei": Released("ClipMEI", clip_mei.convert_released, *SAVED, ANCHORS),
    "clip_spm": Released("ClipSPM", clip_spm.convert_released, *SAVED, ANCHORS, None),
    "clip_cpm2c": Released("ClipCPM2C", clip_cpm2c.convert_released, *SAVED, {"hidden": 64}),
    "clip_cpm2c_gated": Released(
        "ClipCPM2C",
        clip_cpm2c.convert_released,
        "model_state_dict",
        "module.",
        "full",
        {"hidden": 64, "gated": True},
        None,
    ),
}


@pytest.fixture
def network(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    """The little world's data in ``data.yaml``, a little CLIP in ``clip.pt``, and its weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["fsar"])
    content = yaml.safe_load(config.read_text())
    content["data"] |= {"frames": 8, "test_episodes": 2}
    del content["data"]["size"]  # the encoder's
    Path("data.yaml").write_text(yaml.safe_dump({key: content[key] for key in ("seed_everything", "trainer", "data")}))
    return write_clip()


def write_clip(released: State | None = None, channels: int = 32, **vision: int) -> State:
    """A little CLIP in ``clip.pt``, of another shape and with a released tower if these are given."""
    path = Path("fsar-test-convert.json").absolute()
    path.write_text(json.dumps(MODEL | {"embed_dim": channels, "vision_cfg": MODEL["vision_cfg"] | vision}))
    open_clip.add_model_config(path)
    clip: State = open_clip.CLIP(**open_clip.get_model_config(path.stem)).state_dict()
    clip |= {f"visual.{k}": x for k, x in (released or {}).items()}
    torch.save(clip, "clip.pt")
    return clip


def write_method(name: str, tune: str, options: dict[str, Any], adapter: dict[str, Any] | None = None) -> None:
    """``method.yaml``, with OTAM where a method takes an alignment by itself."""
    encoder: dict[str, Any] = {
        "class_path": "fsar.encoders.ClipEncoder",
        "init_args": {"model": str(Path("fsar-test-convert.json").absolute()), "pretrained": "clip.pt", "tune": tune},
    }
    if adapter:
        encoder = {"class_path": "fsar.encoders.Adapted", "init_args": {"encoder": encoder, **adapter}}
    method = {"class_path": f"fsar.methods.{name}", "init_args": {"encoder": encoder, **options}}
    Path("method.yaml").write_text(yaml.safe_dump({"model": {"method": method}}))


def convert(file: dict[str, Any]) -> None:
    """`fsar convert` of what its authors saved."""
    torch.save(file, "released.pt")
    main(["convert", "released.pt", "--method", "method.yaml", "-o", "run", "-c", "data.yaml"])


def check_run(expected: State, scored: bool = True) -> None:
    """A run has the file's weights, and `fsar test` scores with them."""
    found = fsar.load("run").learner.method.state_dict()
    for name, x in expected.items():
        assert torch.equal(found[name], x), name
    if not scored:
        return
    main(["test", "--run", "run"])
    record = json.loads(Path("run/results/test_3way_1shot/results.json").read_text())
    assert record["weights_sha256"] == hash_tensors(found)


@pytest.mark.parametrize("name", METHODS)
def test_the_released_state_dict_becomes_a_run(name: str, reference: Any, network: State) -> None:
    released = METHODS[name]
    head = {k.removeprefix("weight/"): x for k, x in reference(name).items() if k.startswith("weight/")}
    tower = {f"backbone.{k.removeprefix('visual.')}": x for k, x in network.items() if k.startswith("visual.")}
    if released.tune == "full":  # trained, so not what it started from
        tower = {k: x + 0.01 for k, x in tower.items()}
    write_method(released.name, released.tune, released.options)
    state = {f"{released.prefix}{k}": x for k, x in {**head, **tower}.items()}
    if released.spoilt:
        mine, unknown = (released.prefix + x for x in released.spoilt)
        wrong = {k: x for k, x in state.items() if not k.endswith("net.0.bias")} | {mine: torch.zeros(7)}
        with pytest.raises(SystemExit, match=MISFIT):
            convert({released.key: wrong | {unknown: state[mine]}})
        assert not Path("run").exists()
    convert({"epoch": 3, released.key: state, "optimizer_state": {}, "cfg": "TRAIN: {}"})
    check_run(released.convert({**head, **tower}), scored=released.spoilt is not None)


ADAPTERS = {"temporal": "t_adapter", "spatial": "s_adapter", "task": "task_adapter", "joint": "MLP_adapter"}


def released_name(name: str) -> str:
    """A weight of our Task-Adapter++ in its authors' words, where one of two blocks of text is adapted."""
    name = name.replace("encoder.text.tower.", "").replace("encoder.visual.", "visual.").replace(".block.", ".")
    name = name.replace("visual.frame_positions.weight", "visual.temporal_embedding")
    name = re.sub(r"\.adapter\.(\w+)\.", lambda found: f".{ADAPTERS[found[1]]}.", name)
    name = name.replace("order.order.0.", "transformer.resblocks.1.sub3_adapter.")
    return name.replace(".down.", ".D_fc1.").replace(".up.", ".D_fc2.")


def test_adapters_of_all_blocks_become_those_in_use(network: State) -> None:
    write_method(
        "TaskAdapterPlusPlus",
        "frozen",
        {"text_blocks": 1},
        {"adapter": {"class_path": "fsar.adapters.TaskAdapter"}, "last": 2},
    )
    main(["test", "-c", "method.yaml", "-c", "data.yaml", "--run", "untrained"])
    ours = fsar.load("untrained").learner.method.state_dict()
    trained = {k: x + 0.01 if ".adapter." in k or "order" in k else x for k, x in ours.items()}
    state = {released_name(k): x for k, x in trained.items() if not k.endswith("attn_mask")}
    state["visual.temporal_embedding"] = state["visual.temporal_embedding"][None]
    unused = [k for k in state if "visual.transformer.resblocks.2" in k and "_adapter." in k]
    state |= {k.replace("resblocks.2", "resblocks.0"): torch.randn_like(state[k]) for k in unused}
    unused = [k for k in state if "sub3_adapter" in k]
    state |= {k.replace("resblocks.1", "resblocks.0"): torch.randn_like(state[k]) for k in unused}
    state["logit_scale"] = torch.tensor(4.6)
    last = "visual.transformer.resblocks.2.t_adapter.D_fc2.bias"
    wrong = {k: x for k, x in state.items() if "t_adapter.D_fc1" not in k} | {last: torch.zeros(7)}
    wrong[last.replace("bias", "scale")] = torch.zeros(1)
    with pytest.raises(SystemExit, match=MISFIT):
        convert(wrong)
    other = {k: x + 1 if k == "visual.conv1.weight" else x for k, x in state.items()}
    with pytest.raises(SystemExit, match=r"trained on another frozen tower .*encoder\.visual\.conv1\.weight differ"):
        convert(other)
    assert not Path("run").exists()
    convert({f"module.{k}": x for k, x in state.items()})
    check_run(trained)
    assert task_adapter_pp.convert_released(state, 2, 1).keys() == {k for k in ours if not k.endswith("attn_mask")}


def test_d2st_beside_the_frozen_tower_of_its_file(reference: Any, network: State) -> None:
    state = {k.removeprefix("weight/"): x for k, x in reference("d2st", "model").items() if k.startswith("weight/")}
    tower = {k: x for k, x in state.items() if ".Adapter." not in k and not k.startswith(("temporal", "classif"))}
    write_clip(tower, image_size=28, patch_size=4, width=64, layers=2)
    adapter = {"adapter": {"class_path": "fsar.adapters.D2STAdapter"}, "project": False}
    options = {"alignment": {"class_path": "fsar.alignment.BiMHM"}, "train_classes": 12}
    write_method("D2ST", "frozen", options, adapter)
    released = {f"model.{k}": x + 0.01 if k.startswith("ln_post") else x for k, x in state.items()}  # trained
    other = {k: x + 1 if k.endswith("ln_pre.bias") else x for k, x in released.items()}
    with pytest.raises(SystemExit, match=r"another frozen tower .*encoder\.visual\.ln_pre\.bias differ"):
        convert({"model_state": other})
    assert not Path("run").exists()
    convert({"model_state": released})
    check_run(d2st.convert_released(released), scored=False)


def test_both_halves_of_action_clip(reference: Any, network: State) -> None:
    clip = {k: x + 0.01 for k, x in write_clip(channels=16).items() if not k.endswith("attn_mask")}  # all trained
    fusion = {k.removeprefix("weight/"): x for k, x in reference("action_clip", "LSTM").items() if "weight/" in k}
    write_method("ActionCLIP", "full", {"head": {"class_path": "fsar.temporal.SequenceLSTM"}})
    options = yaml.safe_load(Path("method.yaml").read_text())
    options["model"]["method"]["init_args"]["encoder"]["init_args"]["tune_text"] = True
    Path("method.yaml").write_text(yaml.safe_dump(options))
    several = {f"module.{k}": x for k, x in fusion.items()}
    with pytest.raises(ValueError, match=r"'head\.weight' is not a weight of a released checkpoint of ActionCLIP"):
        action_clip.convert_released({"head.weight": torch.zeros(1)})
    convert({"epoch": 3, "model_state_dict": clip, "fusion_model_state_dict": several})
    state = clip | {f"fusion.{k}": x for k, x in fusion.items()}
    check_run(action_clip.convert_released(state, positions=False), scored=False)


def test_ts_fsar_beside_the_frozen_tower_of_its_file(reference: Any, network: State) -> None:
    released = {k.removeprefix("weight/"): x for k, x in reference("ts_fsar").items() if k.startswith("weight/")}
    ours = ts_fsar.convert_released(released)
    start = "encoder.visual."
    tower = {k.removeprefix(start): x for k, x in ours.items() if k.startswith(start)}
    write_clip(tower, 48, image_size=16, patch_size=4, width=64)
    side = {"class_path": "fsar.adapters.Ladder", "init_args": {"width": 32, "heads": 2, "temporal": [1]}}
    write_method("TSFSAR", "frozen", {"side": side, "train_classes": 7})
    bias, gate = "model.up_ln.bias", "model.side_gate_params.1"
    spoilt: list[tuple[State, str]] = [
        ({k: x for k, x in released.items() if k != bias}, r"Weights 1 missing: up\.0\.bias\."),
        (released | {bias: torch.zeros(7)}, r"1 of another shape: up\.0\.bias \(file \(7,\), method \(32,\)\)"),
        (released | {"model.side_last_LN.bias": torch.zeros(1)}, r"'model\.side_last_LN\.bias' is not a weight of a"),
        (released | {"model.layers.0.scale": torch.zeros(1)}, r"1 unknown: encoder\.visual\.\S+\.0\.scale"),
        ({k: x for k, x in released.items() if k != gate}, r"lacks a part of encoder\.side\.gates: .* missing 1\."),
        (released | {"model.pre_layernorm.bias": torch.ones(64)}, r"another frozen tower .*\.ln_pre\.bias differ"),
    ]
    for state, said in spoilt:
        with pytest.raises(SystemExit, match=said):
            convert(state)
        assert not Path("run").exists()
    for name in ("model.layers.0.self_attn.q_proj.bias", "model.Adapter.attn.v_linear.bias"):
        with pytest.raises(ValueError, match=r"lacks"):
            ts_fsar.convert_released({k: x for k, x in released.items() if k != name})
    positions = {"model.embeddings.position_ids": torch.arange(17)[None]}  # of older versions of transformers
    convert(released | positions)
    check_run(ours)
