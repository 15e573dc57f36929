"""What parts add on Shapes: the same training, or none, with and without each, as a table.

    python tools/effect_of_parts.py --out runs/effect --table motion --seeds 0 1

Tables, each with its flavour of Shapes: ``motion``, ``appearance`` and ``planted`` of objectives, ``crowd`` and ``order``
of fusion, ``sound``, ``figures`` of joints, ``maps`` of what can be read off patches and frames.

Every number is a mean over the seeds (one, where nothing is trained) with the 95 % interval over the test episodes of
one; in brackets the change against the row that it is compared with, on the same episodes, with the interval of the
change. Objectives are CLIP-FSAR on the toy CLIP, whose last block is trained; what its frozen half gives is stored once.
Fusion, sound and joints are prototypes on the frozen toy CLIP.

Flavour "planted" is appearance with near-duplicate names: a third of the clips of every training class is said to be
of "the circle on grass" and a third of "one circle on grass" in place of "a circle on grass", 72 classes of 24 things,
and a training episode has 12 of them.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import normalize

from episodes.annotations.regions import mark_boxes
from episodes.clips import Streams
from episodes.shapes import Shapes, crowd
from fsar.__main__ import main as fsar
from fsar.encoders import ClipEncoder
from fsar.evaluation.accuracy import half_interval
from fsar.evaluation.comparing.comparison import Result, find, pair
from fsar.fusion import AlignmentMap
from fsar.objectives import WordMap
from fsar.reporting.classes import read_rows
from fsar.terminal.failure import Options, one_message
from fsar.text import PatchPhraseMap
from fsar.text.phrases import MOTION


class Arm(NamedTuple):
    """A row: options of the command line, the row it is compared with, and whether there is something to train."""

    options: list[str]
    base: str = ""
    trains: bool = True


METHOD = "--model.method.init_args"
PACK = {"class_path": "fsar.text.TextBank", "init_args": {"descriptions": "shapes"}}
RULE = {"p1": None, "p1_near": None, "p2": None, "p3": 0.99}  # names alone: the toy's pictures and texts lie apart
ORDERED, MINMAX = ({"mode": mode, "texts": PACK, "weight": 0.3} for mode in ("monotone", "minmax"))


def objectives(**members: dict[str, Any]) -> Arm:
    """An arm with objectives, compared with none."""
    given = [{"class_path": name, "init_args": options} for name, options in members.items()]
    return Arm(["--model.objectives", json.dumps(given)], "none")


OBJECTIVES = {
    "none": Arm([]),
    "`SubCaptionGrouping`, steps in order": objectives(SubCaptionGrouping=ORDERED),
    "`SubCaptionGrouping`, min-max": objectives(SubCaptionGrouping=MINMAX),
    "`WordRegionContrast`": objectives(WordRegionContrast={"weight": 0.3}),
    "`SymmetricContrast`": objectives(SymmetricContrast={"weight": 0.3}),
    "`MultiPositiveSigmoid`, labels alone": objectives(MultiPositiveSigmoid={"weight": 0.3}),
    "`MultiPositiveSigmoid`, FFF's rule": objectives(MultiPositiveSigmoid={"weight": 0.3, "rule": RULE}),
    "`Anchor`": objectives(Anchor={"weight": 0.5}),
    "`SymmetricContrast` and `Anchor`": objectives(SymmetricContrast={"weight": 0.3}, Anchor={"weight": 0.5}),
}
NO_HEAD = [f"{METHOD}.temporal", "null"]
FROZEN, HEAD = "frames, nothing trained", "frames, a temporal head"


def fusion(part: str, base: str = FROZEN, trains: bool = False, **options: Any) -> Arm:
    """An arm with a part of fusion, over the temporal head where that is what it is compared with."""
    given = {"class_path": f"fsar.fusion.{part}", "init_args": options}
    return Arm([*([] if base == HEAD else NO_HEAD), f"{METHOD}.fusion", json.dumps(given)], base, trains)


TOY = {"class_path": "fsar.encoders.ClipEncoder", "init_args": {"model": "fsar-tiny", "pretrained": "shapes"}}


def joints(views: int, adapter: bool = False) -> list[str]:
    """Options for joints in place of pictures."""
    inside: dict[str, Any] = {"encoder": TOY, "order": "coco", "views": views}
    if adapter:
        between = {"channels": 64, "views": views}
        inside["inter_view"] = {"class_path": "fsar.fusion.InterView", "init_args": between}
    encoder = {"class_path": "fsar.encoders.SkeletonViews", "init_args": inside}
    return [*NO_HEAD, "--model.encoder", json.dumps(encoder)]


SIGHT = {
    "class_path": "fsar.methods.Prototype",
    "init_args": {"encoder": TOY, "alignment": {"class_path": "fsar.alignment.FrameMean"}},
}
ONE_VIEW, FOUR_VIEWS = "joints, one view", "joints, the mean of four views"
BOXES = ["--data.regions", "crowd/boxes"]  # below --data
FUSION = {
    FROZEN: Arm(NO_HEAD, "", False),
    "`MultiScale`, a grid of 2 x 2": fusion("MultiScale", grids=[2]),
    "`MultiScale`, a grid of 4 x 4": fusion("MultiScale", grids=[4]),
    "`MultiScale`, means of 4 frames": fusion("MultiScale", grids=[], strides=[4]),
    "`RegionAttention`, 4 patches that move": fusion("RegionAttention", patches=4),
    "`RegionAttention`, 4 patches by text": fusion("RegionAttention", by="text", patches=4),
    "`TokenGrouping`, 4 groups": fusion("TokenGrouping", trains=True, channels=96, groups=4, tokens=16),
    HEAD: Arm([]),
    "`InterView`, 2 segments": fusion("InterView", HEAD, True, channels=64, views=2),
    "`GatedCrossAttention`": fusion("GatedCrossAttention", HEAD, True, channels=64),
    "`GatedCrossAttention`, queries each": fusion("GatedCrossAttention", HEAD, True, channels=64, queries="each"),
}
TABLES: dict[str, tuple[str, str, dict[str, Arm]]] = {  # flavour, method, rows
    **{name: (name, "clip_fsar_tiny", OBJECTIVES) for name in ("motion", "appearance")},
    "planted": ("appearance", "clip_fsar_tiny", OBJECTIVES),
    "order": ("motion", "tiny/prototype_head", FUSION),
    "crowd": ("crowd", "tiny/prototype_head", {**FUSION, "`RegionPrompt`": Arm([*NO_HEAD, *BOXES], FROZEN, False)}),
    "sound": ("sound", "sight_and_sound", {
        "frames alone": Arm(["--model.method", json.dumps(SIGHT)], "", False),
        "frames and sound, nothing trained": Arm([], "frames alone", False),
        "frames and sound": Arm([], "frames alone"),
    }),
    "figures": ("figures", "tiny/prototype_head", {
        FROZEN: Arm(NO_HEAD, "", False),
        ONE_VIEW: Arm(joints(1), FROZEN, False),
        FOUR_VIEWS: Arm(joints(4), ONE_VIEW, False),
        "joints, four views with `InterView`": Arm(joints(4, adapter=True), FOUR_VIEWS),
    }),
}  # fmt: skip


def call(*words: object) -> None:
    """A command of fsar, in this process, without what it prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        fsar([str(word) for word in words])


def name_run(arm: str) -> str:
    """The folder of an arm."""
    return "_".join(arm.translate({ord(sign): " " for sign in ",`'"}).split())


def measure(run: Path, arm: Arm, seed: int, data: list[str], method: list[str], episodes: int, root: Path) -> Result:
    """One run, trained if there is something to train; one that is there is read."""
    if not any(run.glob("results/*/results.json")):
        options = [
            "-c",
            "trainer",
            *data,
            *method,
            *(root / word if word == BOXES[1] else word for word in arm.options),
        ]
        if arm.trains:
            call("fit", *options, "--run", run, "--seed_everything", seed)
            call("test", "--run", run, "--data.test_episodes", episodes)
        else:
            call("test", *options, "--run", run, "--data.test_episodes", episodes)
    return find([run])[0]


def compare(results: list[Result], base: list[Result] | None) -> str:
    """Mean accuracy with its interval, and the change against the row above on the same episodes, in %."""
    mean = sum(100 * each.record["accuracy"] for each in results) / len(results)
    said = f"{mean:.2f} ± {100 * results[0].record['interval_95']:.2f}"
    if base is None:
        return said
    many = max(len(results), len(base))
    pairs = [pair(base[i % len(base)], results[i % len(results)]).per_episode for i in range(many)]
    each = 100 * np.mean(pairs, 0)
    return f"{said} ({each.mean():+.2f} ± {half_interval(float(each.std(ddof=1)), len(each)):.2f})"


def by_name(results: list[Result], base: list[Result] | None) -> str:
    """Accuracy by the class names alone, likewise; its change has no interval."""
    values = [100 * each.record["zero_shot_accuracy"] for each in results]
    said = f"{np.mean(values):.2f} ± {100 * results[0].record['zero_shot_interval_95']:.2f}"
    if base is None:
        return said
    return f"{said} ({np.mean(values) - 100 * np.mean([each.record['zero_shot_accuracy'] for each in base]):+.2f})"


def tell_twins(results: list[Result], base: list[Result] | None) -> str:
    """Of the queries whose class's twin, of the same look, is in the episode: how many are nearer to their own, in %."""
    rows = read_rows(results[0].folder / "episodes.csv.gz")
    assert rows is not None
    look = np.vectorize(lambda name: name.split(",")[0])(rows.classes.astype(str))
    own = np.arange(len(look))
    twins = (look == look[own, rows.truth][:, None]) & (np.arange(look.shape[1]) != rows.truth[:, None])
    asked = twins.any(1)
    right = rows.scores[own, rows.truth][asked] > rows.scores[twins]
    return f"{100 * right.mean():.2f} ± {100 * half_interval(float(right.std(ddof=1)), len(right)):.2f}"


def show_map(module: AlignmentMap | None, encoder: ClipEncoder, clips: dict[str, list[torch.Tensor]]) -> str:
    """Of clips of twelve classes, how many have their own class's words highest in the map, or by cosine alone, in %."""
    list_words, names = WordMap(AlignmentMap(64)).list_words, list(clips)
    assert encoder.text is not None
    words = [normalize(encoder.text.encode(list_words(name)).float(), dim=-1) for name in names]
    right = []
    for truth, name in enumerate(names):
        for frames in clips[name]:
            seen = normalize(encoder(frames), dim=-1)
            maps = [seen @ said.mT if module is None else module(seen, said).sigmoid() for said in words]
            right.append(float(max(range(len(maps)), key=lambda i: float(maps[i].mean())) == truth))
    return f"{100 * np.mean(right):.2f} ± {100 * half_interval(float(np.std(right, ddof=1)), len(right)):.2f}"


def rank_inside(values: torch.Tensor, inside: torch.Tensor) -> float:
    """How often a patch inside of the box has a larger value than one outside, ties by half."""
    a, b = values[inside][:, None], values[~inside]
    return float(((a > b).float() + 0.5 * (a == b).float()).mean())


def show_patches(
    encoder: ClipEncoder, clips: dict[str, list[torch.Tensor]], boxes: dict[str, list[torch.Tensor]]
) -> None:
    """Rows of :class:`PatchPhraseMap`: by the name of the thing, by that of another class, by words of motion."""
    names = list(clips)
    found: dict[str, list[float]] = {"its name": [], "the name of another class": [], "words of motion": []}
    assert encoder.text is not None
    for i, name in enumerate(names):
        things = [each.removesuffix(" among other things") for each in (name, names[(i + 5) % len(names)])]
        maps = [PatchPhraseMap({thing: 1.0, "nothing": 0.0}, "a photo of {}", temperature=1.0) for thing in things]
        maps.append(PatchPhraseMap(MOTION, "something {}", temperature=1.0))
        texts = [normalize(encoder.text.encode(each.texts), dim=-1) for each in maps]
        for frames, sides in zip(clips[name], boxes[name], strict=True):
            patches = encoder.features(Streams(frames=frames), ("frames", "projected"))["projected"]
            middle = mark_boxes(sides, len(frames), 64, 64)[:, 4::8, 4::8].flatten(1)  # patches of 8 x 8 pixels
            for key, each, text in zip(found, maps, texts, strict=True):
                found[key].append(rank_inside(each(patches, text), middle))
    for key, shares in found.items():
        interval = half_interval(float(np.std(shares, ddof=1)), len(shares))
        print(f"| `PatchPhraseMap`, {key} | {100 * np.mean(shares):.2f} ± {100 * interval:.2f} |", flush=True)


@torch.no_grad()
def show_maps(run: Path, clips_a_class: int) -> None:
    """The table of maps, over test clips of Shapes-crowd."""
    encoder = ClipEncoder("fsar-tiny", "shapes").eval()
    clips: dict[str, list[torch.Tensor]] = {}
    boxes: dict[str, list[torch.Tensor]] = {}
    for name in crowd.CLASSES["test"]:
        for number in range(clips_a_class):
            key = (name, 0, "test", name, f"{number:03d}")
            frames = torch.from_numpy(crowd.render(*key)).movedim(-1, 1)[::3]
            clips.setdefault(name, []).append(frames)
            boxes.setdefault(name, []).append(torch.tensor(crowd.boxes(*key))[::3])
    module, untrained = AlignmentMap(64), AlignmentMap(64)
    state = torch.load(next(run.glob("checkpoints/*.ckpt")), weights_only=True)["state_dict"]
    start = next(key for key in state if key.endswith("map.projection_text.weight")).removesuffix(
        "projection_text.weight"
    )
    module.load_state_dict({key.removeprefix(start): x for key, x in state.items() if key.startswith(start)})
    print("| map | in % |\n|---|---|")
    for said, each in (
        ("cosine of words, no map", None),
        ("`AlignmentMap`, untrained", untrained),
        ("`AlignmentMap`", module),
    ):
        print(f"| {said} | {show_map(each, encoder, clips)} |", flush=True)
    show_patches(encoder, clips, boxes)


def plant(shapes: Path, out: Path) -> list[str]:
    """Options that train on every class of appearance under three names, its clips linked from where they lie."""
    clips = Shapes("appearance", str(shapes)).load()
    listed: dict[str, list[str]] = {}
    for split in (clips.train, clips.val, clips.test):
        for path in map(Path, split.paths):
            article, thing = path.parts[0].split("_", 1)
            name = f"{(article, 'the', 'one')[int(path.stem) % 3] if split is clips.train else article}_{thing}"
            listed.setdefault(split.name, []).append(name)
            target = out / "clips" / name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                os.link(clips.train.root.parent / split.name / path, target)
    given = {"root": str(out / "clips"), **{split: sorted(set(names)) for split, names in listed.items()}}
    benchmark = json.dumps({"class_path": "episodes.splits.Folder", "init_args": given})
    return ["--data.benchmark", benchmark, "--data.ways", "12", "--data.test_ways", "5"]


@one_message(program="effect_of_parts")
def main() -> None:
    parser = Options(__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("data/shapes"), help="where Shapes is rendered")
    parser.add_argument("--table", default="motion", choices=(*TABLES, "maps"))
    parser.add_argument(
        "--arms", nargs="+", help="rows by name, with those that they are compared with; all by default"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--train", type=int, default=300, help="training episodes")
    parser.add_argument("--test", type=int, default=2000, help="test episodes")
    own = parser.parse_args()
    flavour, method, arms = TABLES["crowd" if own.table == "maps" else own.table]
    out, objective = own.out / own.table, arms is OBJECTIVES
    if unknown := sorted({*(own.arms or arms)} - {*arms}):
        parser.error(f"--arms {unknown[0]}: rows of {own.table} are {'; '.join(arms)}")
    files = ["-c", f"data/shapes_{flavour}", "--data.workers", "0", "--data.seed", "0"]
    files += ["--data.train_episodes", str(own.train)]
    files += plant(own.data, out) if own.table == "planted" else ["--data.benchmark.init_args.root", str(own.data)]
    if flavour == "figures":
        files += ["--data.joints", str(own.data / "figures" / "joints")]
    options = ["-c", f"method/{method}", "--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]
    options += [
        "--trainer.max_epochs",
        "1",
        *(["--model.method.init_args.encoder.init_args.tune", "1"] if objective else []),
    ]
    stored = list(files)
    if objective or own.table in ("order", "crowd", "maps"):
        grouping = [] if objective else arms["`TokenGrouping`, 4 groups"].options
        if not (out / "store").exists():
            call("extract", *files, *options, *grouping, "--store", out / "store")
        stored += ["--data.features", str(out / "store")]
    if own.table == "maps":
        run, given = (
            out / "word_map",
            {"map": {"class_path": "fsar.fusion.AlignmentMap", "init_args": {"channels": 64}}},
        )
        told = json.dumps([{"class_path": "WordMap", "init_args": given}])
        if not run.exists():
            call("fit", "-c", "trainer", *stored, *options, "--model.objectives", told, "--run", run)
        return show_maps(run, 25)
    second = {"sound": ("of the two of a look", tell_twins)} | dict.fromkeys(
        ("motion", "appearance", "planted"), ("class names alone", by_name)
    )
    beside = second.get(own.table)
    print(f"| part | 5-way 1-shot |{f' {beside[0]} |' if beside else ''}\n|---|---|{'---|' if beside else ''}")
    found: dict[str, list[Result]] = {}
    for name, arm in arms.items():
        if own.arms and name not in own.arms:
            continue
        data = stored if arm.trains else files
        seeds = own.seeds if arm.trains else [0]
        runs = [(seed, out / f"{name_run(name)}_{seed}") for seed in seeds]
        found[name] = [measure(run, arm, seed, data, options, own.test, own.data) for seed, run in runs]
        base = found.get(arm.base)
        cells = [compare(found[name], base), *([beside[1](found[name], base)] if beside else [])]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
