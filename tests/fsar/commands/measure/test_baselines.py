"""The table of baselines: what it prints, and what the embedded worlds and the tiny CLIP must show in it."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import yaml

from episodes.datamodule import EpisodicDataModule
from episodes.episode import Episode
from episodes.features import FeatureWriter
from episodes.shapes import Shapes
from fsar.alignment import FrameMean
from fsar.encoders import ClipEncoder, ImageEncoder
from fsar.evaluation.bank import feature_key
from fsar.method import Method
from fsar.methods import Prototype

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return importlib.import_module("fsar.commands.measure.baselines")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shapes")


def width_of(values: np.ndarray) -> float:
    """Half the 95 % interval of a mean."""
    return 1.96 * values.std(ddof=1) / len(values) ** 0.5


def data_of(clips: Path, flavour: str, counts: tuple[int, int, int] = (1, 10, 12)) -> EpisodicDataModule:
    return EpisodicDataModule(
        Shapes(flavour, str(clips), counts, workers=1),  # type: ignore[arg-type]
        queries=1,
        test_episodes=1000,
        test_queries=2,
        size=64,
        workers=0,
        check_videos=False,
    )


def test_text_helps_with_one_shot_and_fades_with_more_where_looks_are_the_class(tool: ModuleType, clips: Path) -> None:
    said: list[str] = []
    found = tool.run(
        data_of(clips, "appearance"),
        ClipEncoder("fsar-tiny", "shapes"),
        shots=(1, 8),
        tuning_episodes=100,
        methods=["zero-shot", "prototype", "Tip-Adapter"],
        say=said.append,
    )
    help_of_text = {k: found[k]["Tip-Adapter"] - found[k]["prototype"] for k in (1, 8)}
    assert help_of_text[1].mean() > 2 * width_of(help_of_text[1])
    assert help_of_text[8].mean() < help_of_text[1].mean() - width_of(help_of_text[1])
    assert found[1]["zero-shot"].mean() > 0.4
    assert np.array_equal(found[1]["zero-shot"], found[8]["zero-shot"])  # the same classes and queries
    assert found[8]["prototype"].mean() > found[1]["prototype"].mean()
    assert said[0].startswith("1-shot Tip-Adapter: beta ")
    assert "matches zero-shot at" in said[-1]


def test_zero_shot_is_near_chance_where_motion_is_the_class(tool: ModuleType, clips: Path) -> None:
    found = tool.run(
        data_of(clips, "motion"),
        ClipEncoder("fsar-tiny", "shapes"),
        shots=(1,),
        methods=["zero-shot", "prototype"],
        say=lambda text: None,
    )[1]
    assert abs(found["zero-shot"].mean() - 0.2) < 0.08  # five classes
    gap = found["prototype"] - found["zero-shot"]
    assert gap.mean() > width_of(gap)


def test_the_command_writes_what_it_prints(
    tool: ModuleType, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes = {"flavour": "appearance", "root": str(clips), "clips_per_class": [1, 10, 12], "workers": 1}
    benchmark = {"class_path": "episodes.shapes.Shapes", "init_args": shapes}
    options = {"benchmark": benchmark, "size": 64, "test_episodes": 20, "workers": 0, "ways": 3, "frames": 2}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump({"data": options}))
    arguments = ["-c", str(tmp_path / "data.yaml"), "--encoder", str(ROOT / "configs" / "encoder" / "tiny.yaml")]
    arguments += ["--shots", "2", "--tuning_episodes", "4", "--out", str(tmp_path / "out.json")]
    with pytest.raises(SystemExit, match="baselines: methods: there is no guess; there are zero-shot, "):
        tool.main([*arguments, "--methods", "guess"])
    tool.main([*arguments, "--methods", "APE-T", "zero-shot", "linear probe"])
    printed = capsys.readouterr().out
    accuracies = json.loads((tmp_path / "out.json").read_text())["2"]
    assert list(accuracies) == ["zero-shot", "linear probe", "APE-T"]
    for values in accuracies.values():
        assert len(values) == 20
        assert f"{100 * np.mean(values):5.2f} ± " in printed
    assert "3-way, 20 episodes of shapes-appearance, chance 33 %" in printed


def test_methods_that_learn_do(tool: ModuleType, clips: Path) -> None:
    data = data_of(clips, "appearance")
    encoder = ClipEncoder("fsar-tiny", "shapes")
    encoded = tool.encode(data, encoder, "val")

    def loss(method: Method) -> float:
        """Of the method on the twenty training episodes that it learns from."""
        losses = []
        method.train()
        for batch in encoded.episodes(1, 20, data, batch=20, training=True):
            clips = {role: encoded.features.at(getattr(batch, role)) for role in ("support", "query")}
            task = Episode(**{**vars(batch), **clips})
            losses.append(method.loss(method(task), task)["loss"].item())
        return sum(losses)

    for name, (method, rate) in tool.learned(encoder).items():
        before = loss(method)
        tool.train(method, encoded, data, 20, 5 * rate)
        assert loss(method) < 0.99 * before, name


def test_differences_are_paired(tool: ModuleType) -> None:
    base = np.tile([0.2, 0.8], 50)
    text = tool.table({"a": base, "b": base + 0.02, "c": base[::-1]})
    rows = [line.split() for line in text.splitlines()[1:]]
    assert rows[0][1:5] == ["a", "50.00", "±", "5.91"]
    assert rows[1][5:] == ["+2.0*", "·", "+2.0"]  # the same difference from c is drowned in its spread


def test_an_encoder_without_text_leaves_out_what_needs_it(tool: ModuleType) -> None:
    encoder = ImageEncoder("resnet18", None)
    names = list(tool.family(encoder, None, []))
    assert "zero-shot" not in names
    assert {"prototype", "linear probe", "SimpleShot"} <= set(names)
    assert tool.learned(encoder) == {}


def test_stored_features_are_read(tool: ModuleType, clips: Path, tmp_path: Path) -> None:
    data, encoder = data_of(clips, "appearance"), ClipEncoder("fsar-tiny", "shapes")
    data.frames = 2
    fresh = tool.encode(data, encoder, "val")
    source = data.clips(data.splits["val"])
    writer = FeatureWriter(tmp_path, source, feature_key(Prototype(encoder, FrameMean())), 1, "float32")
    for chunk in writer.pending():
        with torch.no_grad():
            writer.write(chunk, encoder.features(writer.read(chunk)))
    writer.finish()
    data.features = tmp_path
    torch.testing.assert_close(tool.encode(data, encoder, "val").features, fresh.features)
    with pytest.raises(FileNotFoundError, match="no features of split val for this configuration"):
        tool.encode(data, ClipEncoder("fsar-tiny", None), "val")
