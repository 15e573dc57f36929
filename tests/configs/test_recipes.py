"""Data presets and recipes: each is built on stand-in files, and says what the published configuration did."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch import Trainer

from episodes.benchmarks import SPLITS, Definition, Lists, definition, write_lists
from episodes.frames import DenseSpan, SegmentCentre, SegmentRandom
from fsar.build import Built, build_data, build_with_trainer
from fsar.methods import ClipFSAR

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
RECIPES = sorted((CONFIGS / "method" / "clip_fsar").glob("*.yaml"))
BENCHMARKS = ("ssv2_full", "ssv2_small", "kinetics100", "ucf101", "hmdb51")
TINY = {"model": "fsar-tiny", "pretrained": "shapes"}
CLIPS = 6  # per class: enough for 1 shot and 5 queries, and for 5 shots and 1 query

RELEASED = {  # base rate, rate at the start of the warm-up, STEPS_ITER, decay epochs, iterations, weight of video-text
    "hmdb51": (1e-5, 1e-6, 700, (0, 4, 6), 5000, 1.2),
    "kinetics100": (1e-5, 5e-6, 250, (0, 6, 9), 5000, 1.5),
    "ucf101": (2e-6, 1e-7, 600, (0, 4, 6), 3000, 1.5),
    "ssv2_full": (5e-5, 1e-5, 4000, (0, 4, 6), 30000, 3.0),
    "ssv2_small": (5e-5, 2e-5, 2000, (0, 4, 6), 30000, 3.0),
}

pytestmark = pytest.mark.filterwarnings(  # of Lightning, about itself and about our tiny loaders
    "ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning",
    "ignore:.*isinstance.treespec, LeafSpec:FutureWarning",
    "ignore:The '.*dataloader' does not have many workers",
)


def stand_in(known: Definition, split: str, label: int, clip: int) -> tuple[str, str]:
    """A made-up video of a class, and its file where the real data set would have it."""
    name = known.classes[split][label]
    number = (SPLITS.index(split) * 100 + label) * 10 + clip
    match known.dataset:
        case "ssv2":
            return str(number), f"20bn-something-something-v2/{number}.webm"
        case "kinetics":
            video = f"made-up{number:04}_000010_000020"
            return video, f"{split}_256/{name.replace(' ', '_')}/{video}.mp4"
        case "ucf101":
            video = f"v_{name}_g{clip + 1:02}_c01"
            return video, f"UCF-101/{name}/{video}.avi"
        case "hmdb51":
            video = f"Film_{number}_{name}_u_cm_np1_fr_med_0"
            return video, f"{name}/{video}.avi"


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``<benchmark>/`` laid out like the real data sets with empty files, and ``lists/<benchmark>.csv``."""
    folder = tmp_path_factory.mktemp("stand_ins")
    for benchmark in (*BENCHMARKS, "kinetics100_clipfsar"):
        known = definition(benchmark)
        videos: dict[str, list[tuple[int, str]]] = {split: [] for split in SPLITS}
        for split in SPLITS:
            for label in range(len(known.classes[split])):
                for clip in range(CLIPS):
                    video, path = stand_in(known, split, label, clip)
                    file = folder / benchmark / path
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.touch()
                    videos[split].append((label, video))
        lists = Lists(known, known.classes, {split: tuple(found) for split, found in videos.items()})
        write_lists(lists, folder / "lists" / f"{benchmark}.csv")
    return folder


def build(files: list[Path], benchmark: str, root: Path, lists: Path, **options: Any) -> Built:
    """Everything that ``fsar`` would build from these files, on the CPU and with a tiny encoder."""
    args = [arg for file in files for arg in ("--config", str(file))]
    options = {
        "data.benchmark.init_args.name": benchmark,
        "data.benchmark.init_args.root": root,
        "data.benchmark.init_args.lists": lists,
        "data.benchmark.init_args.allow_changed": "true",
        "data.workers": 0,
        "trainer.accelerator": "cpu",
        "trainer.logger": "false",
        "trainer.enable_checkpointing": "false",
        "trainer.enable_progress_bar": "false",
        "trainer.enable_model_summary": "false",
        **{f"model.method.encoder.init_args.{key}": value for key, value in TINY.items()},
        **options,
    }
    return build_with_trainer([*args, *(f"--{key}={value}" for key, value in options.items())])


def keys(node: Any, prefix: str = "") -> Iterator[str]:
    """Dotted names of all values in a configuration."""
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from keys(value, f"{prefix}{key}.")
    else:
        yield prefix


def test_there_is_a_preset_of_each_kind_and_a_recipe_for_1_and_5_shots_of_every_benchmark() -> None:
    assert {file.stem for file in RECIPES} == {f"{name}_{shots}shot" for name in BENCHMARKS for shots in (1, 5)}
    for name in BENCHMARKS:
        assert (CONFIGS / "data" / f"{name}.yaml").is_file()
        assert (CONFIGS / "data" / f"{name}_published.yaml").is_file()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_no_key_is_set_by_two_files(recipe: Path) -> None:
    """A preset owns ``data:`` but for the number of test shots; a recipe owns the rest."""
    benchmark = recipe.stem.rsplit("_", 1)[0]
    for preset in (f"{benchmark}.yaml", f"{benchmark}_published.yaml"):
        files = [recipe, CONFIGS / "data" / preset]
        sets = [set(keys(yaml.safe_load(file.read_text()))) for file in files]
        assert not any(a & b for a, b in combinations(sets, 2))
        assert {key.split(".")[0] for key in sets[1]} == {"data"}


@pytest.mark.parametrize("kind", ["", "_published"])
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_built_on_files_laid_out_like_the_real_ones(stand_ins: Path, recipe: Path, kind: str) -> None:
    name, shots = recipe.stem.rsplit("_", 1)
    preset = CONFIGS / "data" / f"{name}{kind}.yaml"
    benchmark = yaml.safe_load(preset.read_text())["data"]["benchmark"]["init_args"]["name"]
    built = build(
        [preset, recipe], benchmark, stand_ins / benchmark, stand_ins / "lists", **{"data.check_videos": "false"}
    )
    data, method = built.data, built.learner.method
    assert isinstance(method, ClipFSAR)
    assert method.merge == ("before" if shots == "5shot" else "after")
    loaded = data.load()
    known = definition(benchmark)
    for split in SPLITS:
        names = "published" if kind else "clean"
        assert loaded.split(split).class_names == tuple(known.text(c, names) for c in known.classes[split])
        assert len(loaded.split(split)) == CLIPS * len(known.classes[split])
    data.setup("fit")
    data.setup("test")
    train, test = data.episode_sampler("train"), data.episode_sampler("test")
    assert (train.ways, train.shots, train.queries) == (5, 1, 5)
    assert (test.ways, test.shots, test.queries) == (5, int(shots[0]), 1)
    assert data.counts["test"] == 10000


@pytest.mark.parametrize("kind", ["", "_published"])
@pytest.mark.parametrize("name", BENCHMARKS)
def test_presets_read_frames_as_they_say(name: str, kind: str) -> None:
    data = build_data(["-c", str(CONFIGS / "data" / f"{name}{kind}.yaml")])
    spans = bool(kind) and name == "kinetics100"
    assert isinstance(data.train_sampler, DenseSpan if spans else SegmentRandom)
    assert isinstance(data.test_sampler, DenseSpan if spans else SegmentRandom if kind else SegmentCentre)
    assert data.train_sampler.random
    assert data.test_sampler.random == (bool(kind) and not spans)
    if spans:
        assert data.train_sampler.truncate
        assert data.test_sampler.truncate
    for transform, crop in ((data.train_transform, "random"), (data.test_transform, "centre")):
        assert (transform.resize, transform.antialias) == (("squash", False) if kind else ("short_side", True))
        assert (transform.size, transform.resize_to, transform.crop) == ((224, 224), 256, crop)
        assert not transform.flip
        assert transform.jitter is None


def released_rate(name: str, iteration: int) -> float:
    """The learning rate of the released code at an iteration: its epoch counter advances twice per epoch."""
    base, start, steps_iter, decay, _, _ = RELEASED[name]
    epoch = iteration // steps_iter + iteration / steps_iter
    if epoch < 1:
        return start + (base - start) * epoch
    return base * 0.1 ** (sum(epoch >= step for step in decay) - 1)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_schedule_is_the_one_that_the_release_really_ran(stand_ins: Path, recipe: Path) -> None:
    """Four iterations of the released code are one optimiser step; the rate of the fourth is what it steps with."""
    name = recipe.stem.rsplit("_", 1)[0]
    preset = CONFIGS / "data" / f"{name}.yaml"
    built = build([preset, recipe], name, stand_ins / name, stand_ins / "lists")
    base, start, steps_iter, _, iterations, weight = RELEASED[name]
    trainer, data = built.trainer, built.data
    assert trainer.max_steps == iterations // 4
    assert trainer.accumulate_grad_batches == 16
    assert data.counts["train"] % 16 == 0
    assert (trainer.max_steps * 16) % data.counts["train"] == 0  # the last step ends an epoch, which is validated
    assert built.learner.method.video_text_weight == weight
    configured = built.learner.configure_optimizers()
    scheduler = configured["lr_scheduler"]["scheduler"]
    (rate,) = {round(factor(0) * r, 12) for factor, r in zip(scheduler.lr_lambdas, scheduler.base_lrs, strict=True)}
    assert rate == pytest.approx(start)
    ramp = 4 * (base - start) / steps_iter  # how far the warm-up rises in one step
    for step in range(trainer.max_steps):
        ours, theirs = base * scheduler.lr_lambdas[0](step), released_rate(name, 4 * step + 3)
        tolerance = ramp if 4 * step < steps_iter else theirs * 1e-6
        assert math.isclose(ours, theirs, rel_tol=0, abs_tol=tolerance), step


def test_weights_are_decayed_but_for_norms(stand_ins: Path) -> None:
    files = [CONFIGS / "data" / "hmdb51.yaml", CONFIGS / "method" / "clip_fsar" / "hmdb51_1shot.yaml"]
    model = build(files, "hmdb51", stand_ins / "hmdb51", stand_ins / "lists").learner
    groups = model.configure_optimizers()["optimizer"].param_groups
    decay = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    named = {name: decay[id(p)] for name, p in model.method.named_parameters() if p.requires_grad}
    assert named["scale"] == 1e-3
    assert named["temporal.blocks.0.norm.weight"] == 0
    assert {value for name, value in named.items() if "ln_" in name} == {1e-3}  # as in the release
    assert len(decay) == len(named)


@pytest.mark.parametrize(("toy", "name"), [("ssv2toy15", "ssv2_full"), ("ucf13", "ucf101")])
def test_real_clips_run_from_the_benchmark_configs(shared: Path, tmp_path: Path, toy: str, name: str) -> None:
    """Published benchmarks cut to the clips of the toy sets, tested to the end with an untrained tiny encoder."""
    clips = json.loads((shared / "videos" / "splits.json").read_text())[toy]
    classes = {s: tuple(kind.replace("_", " ") for kind in clips[s]) for s in SPLITS}
    videos = {s: tuple((i, v) for i, kind in enumerate(clips[s].values()) for v in kind) for s in SPLITS}
    write_lists(Lists(definition(name), classes, videos), tmp_path / f"{name}.csv")
    files = [CONFIGS / "data" / f"{name}.yaml", CONFIGS / "method" / "clip_fsar" / f"{name}_5shot.yaml"]
    small = {f"data.test_transform.init_args.{key}": side for key, side in (("size", 64), ("resize_to", 72))}
    options = {**small, "data.test_episodes": 20, "data.check_videos": "false"}
    built = build(files, name, shared / "videos" / toy, tmp_path, **options)
    assert isinstance(built.trainer, Trainer)
    built.trainer.test(built.learner, built.data, verbose=False)
    assert built.learner.result["episodes"] == 20
    assert 0.0 <= built.learner.result["accuracy"] <= 1.0
    assert built.data.record("test")["shots"] == 5
