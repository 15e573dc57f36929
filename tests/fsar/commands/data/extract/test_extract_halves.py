"""Training from what the frozen half of an encoder gave equals training from pixels, for every kind of encoder."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from PIL import Image
from torch import Tensor

import fsar
from episodes.clips import Features, Streams
from episodes.datamodule import EpisodicDataModule
from episodes.features import FeatureStore
from episodes.frames import SegmentCentre
from episodes.splits import Folder
from episodes.transforms import ClipTransform
from fsar.adapters import AIM, EVL, D2STAdapter, Ladder, MAClipAdapter, STAdapter
from fsar.alignment import OTAM, BiMHM, CosineCost
from fsar.commands.train import fit
from fsar.encoders import ClipEncoder
from fsar.encoders.adapted import Adapted
from fsar.encoders.beside import Beside
from fsar.evaluation.bank import feature_key, to_store
from fsar.method import Method, Parts
from fsar.methods import D2ST, TSFSAR, ClipFSAR, MAClip, Prototype
from fsar.training.learner import Learner

ROOT = Path(__file__).resolve().parents[5]
CLASSES = [f"class_{label}" for label in range(9)]
FRAMES = 4
MODEL = {
    "embed_dim": 48,
    "vision_cfg": {"image_size": 32, "patch_size": 4, "width": 64, "layers": 3, "head_width": 16},
    "text_cfg": {"context_length": 24, "width": 32, "heads": 2, "layers": 1},
}
pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, about itself and about our tiny loaders
Make = Callable[..., ClipEncoder]
METHODS: dict[str, Callable[[Make], Method]] = {
    "aim": lambda make: ClipFSAR(Adapted(make(), AIM(frames=FRAMES), last=2), OTAM()),
    "d2st": lambda make: D2ST(
        Adapted(make(), D2STAdapter(frames=FRAMES, tune_ends=False), last=2, project=False),
        BiMHM(cost=CosineCost(0)),
        train_classes=3,
    ),
    "st": lambda make: Prototype(Adapted(make(), STAdapter(), last=2, checkpointing=True), OTAM()),
    "last block": lambda make: ClipFSAR(make(tune=1, checkpointing=True), OTAM()),
    "ma_clip": lambda make: MAClip(Adapted(make(), MAClipAdapter(start_masked=False), last=1), OTAM()),
    "ts_fsar": lambda make: TSFSAR(make(), Ladder(width=16, heads=2, temporal=(1,)), frames=FRAMES, train_classes=3),
    "evl": lambda make: Prototype(Beside(make(), EVL(frames=FRAMES, layers=2)), OTAM()),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "fsar-test-halves.json"
    path.write_text(json.dumps(MODEL))
    return path


@pytest.fixture(scope="module")
def make(model: Path) -> Make:
    def encoder(**options: object) -> ClipEncoder:
        torch.manual_seed(1)
        return ClipEncoder(str(model), None, **options)  # type: ignore[arg-type]

    return encoder


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine classes of five folders of frames."""
    root, rng = tmp_path_factory.mktemp("videos"), np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        for clip in range(5):
            folder = root / name / str(clip)
            folder.mkdir(parents=True)
            for frame in range(FRAMES):
                pixels = rng.integers(0, 150, (32, 32, 3), dtype=np.uint8) + np.uint8(10 * label)
                Image.fromarray(pixels).save(folder / f"{frame}.png")
    return root


@pytest.fixture(scope="module")
def data(videos: Path) -> Callable[..., EpisodicDataModule]:
    same = ClipTransform(32, resize_to=32)
    benchmark = Folder(str(videos), CLASSES[:3], CLASSES[3:6], CLASSES[6:])
    return partial(
        EpisodicDataModule,
        benchmark,
        ways=3,
        queries=1,
        frames=FRAMES,
        size=32,
        train_episodes=3,
        val_episodes=3,
        test_episodes=30,
        train_sampler=SegmentCentre(),
        train_transform=same,
        test_transform=same,
        workers=0,
    )


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return importlib.import_module("fsar.commands.data.extract")


def trainer() -> Trainer:
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return Trainer(accelerator="cpu", max_epochs=1, enable_checkpointing=False, **quiet)


def learner(method: Method) -> Learner:
    return Learner(method, optimizer=partial(torch.optim.SGD, lr=0.01))


@pytest.mark.parametrize("name", METHODS)
def test_training_and_test_from_the_store_equal_those_from_pixels(
    tmp_path: Path, make: Make, data: Callable[..., EpisodicDataModule], tool: ModuleType, name: str
) -> None:
    method = METHODS[name](make)
    trainer().predict(
        extractor := tool.Extractor(learner(method), data(), tmp_path, ("train", "val", "test"), 1, "float32"),
        return_predictions=False,
    )
    layers = {"ts_fsar": 4, "evl": 3}.get(name, 1)
    for store in extractor.stores():
        assert [array.shape for array in store.arrays.values()] == [(15, 1, FRAMES, 65, 64)] * layers
    runs = []
    for source in (None, str(tmp_path)):
        torch.manual_seed(2)
        run, clips = learner(METHODS[name](make)), data(features=source)
        torch.manual_seed(3)
        before = {n: p.clone() for n, p in run.named_parameters() if p.requires_grad}
        trainer().fit(run, clips)
        trainer().test(run, clips, verbose=False)
        assert sum(not torch.equal(p, before[n]) for n, p in run.named_parameters() if n in before) > 3
        runs.append(run)
    pixels, stored = runs
    for key, value in pixels.state_dict().items():
        torch.testing.assert_close(stored.state_dict()[key], value, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(stored.rows["scores"], pixels.rows["scores"], rtol=1e-4, atol=1e-5)
    assert stored.result["accuracy"] == pixels.result["accuracy"]
    assert stored.result["confusion"] == pixels.result["confusion"]
    assert stored.result["encoder_forwards"] == pixels.result["encoder_forwards"]  # the upper half still runs


class PatchMean(Prototype):
    """Frames are the mean of their patches."""

    needs = ("frames", "patches")

    def query_parts(self, features: Features) -> Parts:
        return {"frames": features["patches"].mean(-2)}


def test_a_method_of_patches_stores_them_beside_its_frames(
    tmp_path: Path, make: Make, data: Callable[..., EpisodicDataModule], tool: ModuleType
) -> None:
    runs: list[Learner] = []
    for name, method, kept in (("a", PatchMean, ["frames", "patches"]), ("b", Prototype, ["frames"])):
        extractor = tool.Extractor(learner(method(make(), OTAM())), data(), tmp_path / name, ("test",), 1, "float16")
        trainer().predict(extractor, return_predictions=False)
        (store,) = extractor.stores()
        assert list(store.arrays) == kept
        size = sum(array.nbytes for array in store.arrays.values()) // 15
        assert f"a view of a video takes {size:,} bytes in float16 (frames (4, 48) 384 bytes" in extractor.cost()
    for source in (None, str(tmp_path / "a")):
        runs.append(learner(PatchMean(make(), OTAM())))
        trainer().test(runs[-1], data(features=source, cache=False), verbose=False)
    np.testing.assert_allclose(runs[1].rows["scores"], runs[0].rows["scores"], rtol=1e-2, atol=1e-2)
    assert [run.result["encoder_forwards"] for run in runs] == [15, 0]
    frames = learner(Prototype(make(), OTAM()))
    trainer().test(frames, data(features=str(tmp_path / "a")), verbose=False)  # reads the one array that it needs
    with pytest.raises(ValueError, match="holds frames, not patches, which this method reads too"):
        trainer().test(runs[1], data(features=str(tmp_path / "b")), verbose=False)


def test_a_store_is_named_by_the_frozen_half_alone(make: Make) -> None:
    keys = {name: feature_key(method(make), training=True) for name, method in METHODS.items()}
    assert keys["aim"] == keys["d2st"] == keys["st"]  # the last two blocks
    assert keys["last block"] == keys["ma_clip"]
    assert len({key["sha256"] for key in keys.values()}) == 4
    for block, below in ((0, True), (1, True), (2, False)):
        method = METHODS["ma_clip"](make)
        with torch.no_grad():
            method.encoder.visual.get_parameter(f"transformer.resblocks.{block}.block.mlp.c_fc.bias").add_(1)
        assert (feature_key(method) != keys["ma_clip"]) == below
    others = [make(tune=1, mean=(0.4, 0.4, 0.4)), Adapted(make(precision="bf16"), STAdapter(), last=1)]
    assert keys["ma_clip"] not in [feature_key(Prototype(encoder, OTAM())) for encoder in others]


@torch.no_grad()
def test_the_kind_of_a_clip_tells_what_is_left_to_do(make: Make) -> None:
    method, pixels = METHODS["aim"](make).eval(), Streams(frames=torch.rand(2, FRAMES, 3, 32, 32))
    tokens, features = method.encoder.below(pixels), method.features_of(pixels)
    frames = features["frames"]
    torch.testing.assert_close(method.features_of(tokens)["frames"], frames)
    halved = tokens.map(lambda x: x[:, None].half())
    torch.testing.assert_close(method.features_of(halved)["frames"][:, 0], frames, rtol=0.1, atol=0.01)
    assert torch.equal(method.features_of(features)["frames"], frames)
    with pytest.raises(ValueError, match="no frozen lower half"):
        Prototype(make(), OTAM()).features_of(tokens)

    class Doubled(Prototype):
        def encode(self, clips: Streams, text: Tensor | None = None) -> Features:
            return super().encode(clips).map(lambda x: 2 * x)

    doubled = Doubled(Adapted(make(), STAdapter(), last=1), OTAM())
    kept = to_store(doubled, pixels)  # tokens of the tower would leave out what it does
    assert isinstance(kept, Features)
    assert kept.trailing(0) == {"frames": (2, FRAMES, 48)}
    with pytest.raises(ValueError, match="a way of its own"):
        doubled.features_of(tokens)


def test_what_has_no_frozen_half_is_refused_with_the_way_out(make: Make) -> None:
    encoders = [
        make(tune="full"),
        make(tune=3),
        Adapted(make(), AIM(frames=FRAMES)),
        Adapted(make(), D2STAdapter(frames=FRAMES), last=1),
    ]
    for encoder in encoders:
        assert encoder.kept_layers == ()
        with pytest.raises(ValueError, match="Train the last blocks only"):
            feature_key(Prototype(encoder, OTAM()), training=True)
        with pytest.raises(ValueError, match="no frozen lower half"):
            encoder.below(Streams(frames=torch.zeros(1, FRAMES, 3, 32, 32)))
        assert (
            len(feature_key(Prototype(encoder, OTAM()))["sha256"]) == 64
        )  # whole features of weights that stay as they are
    with pytest.raises(ValueError, match="adapt the last blocks only"):
        feature_key(MAClip(Adapted(make(), MAClipAdapter()), OTAM()))


def test_from_extraction_to_test_on_the_command_line(
    tmp_path: Path, videos: Path, model: Path, tool: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    store, run, config = tmp_path / "store", tmp_path / "run", tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(configuration(videos, model)))
    options = ["-c", str(config), "--data.features", str(store)]
    tool.main(["--store", str(store), "-c", str(config), "--dtype", "bfloat16", "--verify"])
    assert "(15, 1, 4, 65, 64), bfloat16" in capsys.readouterr().out
    assert all(FeatureStore(folder).dtype == "bfloat16" for folder in store.iterdir())
    fit.main(["fit", "--run", str(run), *options])
    accuracies = []
    for source in ([], ["--data.features", "null"]):
        fit.main(["test", "--run", str(run), *source])
        accuracies.append(json.loads(next(run.glob("results/*/results.json")).read_text())["accuracy"])
    assert accuracies[0] == accuracies[1]  # bfloat16 is what the tower of bfloat16 weights gives
    with pytest.raises(SystemExit, match=r"\(hash\): stored \w{12}, asked for \w{12}\n.*--data.features null"):
        fit.main(["test", "--run", str(run), "--model.method.encoder.init_args.last", "2", "--ckpt_path", "null"])
    for folder in store.glob("*/layer_2.npy"):
        folder.unlink()
    clips = sorted(map(str, (videos / "class_7").iterdir()))
    answer = fsar.load(run).predict({"seven": clips[:1], "eight": [str(videos / "class_8/0")]}, clips[1:2])[0]
    assert {name for name, _ in answer.ranking} == {"seven", "eight"}


def configuration(videos: Path, model: Path) -> dict[str, Any]:
    """AIM in the last block of a tower in bfloat16."""
    part = lambda path, **arguments: {"class_path": path, "init_args": arguments}  # noqa: E731
    same = part("episodes.transforms.ClipTransform", size=32, resize_to=32)
    clip = part("fsar.encoders.ClipEncoder", model=str(model), pretrained=None, precision="bf16")
    adapter = part("fsar.adapters.AIM", frames=FRAMES, tune_norm=False)
    encoder = part("fsar.encoders.Adapted", encoder=clip, adapter=adapter, last=1)
    splits = {"train": CLASSES[:3], "val": CLASSES[3:6], "test": CLASSES[6:]}
    return {
        "seed_everything": 0,
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "devices": 1, "enable_progress_bar": False},
        "data": {
            "benchmark": part("episodes.splits.Folder", root=str(videos), **splits),
            **{"ways": 3, "queries": 1, "frames": FRAMES, "size": 32, "workers": 0},
            **{"train_episodes": 2, "val_episodes": 2, "test_episodes": 30},
            "train_sampler": {"class_path": "episodes.frames.SegmentCentre"},
            "train_transform": same,
            "test_transform": same,
        },
        "model": {"method": part("fsar.methods.Prototype", encoder=encoder, alignment=part("fsar.alignment.OTAM"))},
    }
