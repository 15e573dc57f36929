"""What parts add on Shapes: the same training, or none, with and without each, as a table.

    python tools/effect_of_parts.py --out runs/effect --table motion --seeds 0 1

Tables, each with its flavour of Shapes: ``motion``, ``appearance`` and ``planted`` of objectives, ``crowd`` and
``order`` of fusion, ``sound``, ``figures`` of joints, ``maps`` of words over frames.

Numbers are means over the seeds (one, where nothing is trained) with the 95 % interval over the test episodes of one;
in brackets the change against the row that it is compared with, on the same episodes. Objectives are CLIP-FSAR on the
toy CLIP, whose last block is trained; the others are prototypes on the frozen toy CLIP. In "planted" a third of the
clips of every training class is said to be of "the circle on grass" and a third of "one circle on grass" in place of "a
circle on grass": 72 classes of 24 things, of which a training episode has 12.
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

from episodes.shapes import Shapes, crowd
from fsar.__main__ import main as fsar
from fsar.encoders import ClipEncoder
from fsar.evaluation.accuracy import half_interval
from fsar.evaluation.comparing.comparison import Result, find, pair
from fsar.fusion import AlignmentMap
from fsar.objectives import WordMap
from fsar.reporting.classes import read_rows
from fsar.terminal.failure import Options, one_message


class Arm(NamedTuple):
    """A row: options of the command line, the row it is compared with, and whether there is something to train."""

    options: list[str]
    base: str = ""
    trains: bool = True


METHOD = "--model.method.init_args"
SAID = {"texts": {"class_path": "fsar.text.TextBank", "init_args": {"descriptions": "shapes"}}, "weight": 0.3}
RULE = {"p1": None, "p1_near": None, "p2": None, "p3": 0.99}  # names alone: the toy's pictures and texts lie apart


def objectives(**members: dict[str, Any]) -> Arm:
    """An arm with objectives, compared with none."""
    given = [{"class_path": name, "init_args": options} for name, options in members.items()]
    return Arm(["--model.objectives", json.dumps(given)], "none")


OBJECTIVES = {
    "none": Arm([]),
    "`SubCaptionGrouping`, steps in order": objectives(SubCaptionGrouping={"mode": "monotone", **SAID}),
    "`SubCaptionGrouping`, min-max": objectives(SubCaptionGrouping={"mode": "minmax", **SAID}),
    "`WordRegionContrast`": objectives(WordRegionContrast={"weight": 0.3}),
    "`SymmetricContrast`": objectives(SymmetricContrast={"weight": 0.3}),
    "`MultiPositiveSigmoid`, labels alone": objectives(MultiPositiveSigmoid={"weight": 0.3}),
    "`MultiPositiveSigmoid`, FFF's rule": objectives(MultiPositiveSigmoid={"weight": 0.3, "rule": RULE}),
    "`Anchor`": objectives(Anchor={"weight": 0.5}),
    "`SymmetricContrast` and `Anchor`": objectives(SymmetricContrast={"weight": 0.3}, Anchor={"weight": 0.5}),
}
NO_HEAD = [f"{METHOD}.temporal", "null"]
FROZEN, HEAD = "frames, nothing trained", "frames, a temporal head"


def fusion(part: str, also: list[str] = NO_HEAD, trains: bool = False, **options: Any) -> Arm:
    """An arm with a part of fusion; over the temporal head, where ``also`` does not leave it out."""
    given = {"class_path": f"fsar.fusion.{part}", "init_args": options}
    return Arm([*also, f"{METHOD}.fusion", json.dumps(given)], FROZEN if also else HEAD, trains)


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
MAP = {"class_path": "fsar.fusion.AlignmentMap", "init_args": {"channels": 64}}
GROUPS = "`TokenGrouping`, 4 groups"
ONE_VIEW, FOUR_VIEWS = "joints, one view", "joints, the mean of four views"
LARGER = [*NO_HEAD, "--data.size", "96", "--model.encoder"]
LARGER.append(json.dumps({"class_path": "fsar.encoders.TwoResolutions", "init_args": {"encoder": TOY, "size": 96}}))
BOXES = ["--data.regions", "crowd/boxes"]  # below --data
FUSION = {
    FROZEN: Arm(NO_HEAD, "", False),
    "`MultiScale`, a grid of 2 x 2": fusion("MultiScale", grids=[2]),
    "`MultiScale`, a grid of 4 x 4": fusion("MultiScale", grids=[4]),
    "`MultiScale`, means of 4 frames": fusion("MultiScale", grids=[], strides=[4]),
    "`MultiScale`, 64 and 96 pixels": fusion("MultiScale", LARGER, grids=[], resolutions=[96]),
    "`RegionAttention`, 4 patches that move": fusion("RegionAttention", patches=4),
    "`RegionAttention`, 4 patches by text": fusion("RegionAttention", by="text", patches=4),
    GROUPS: fusion("TokenGrouping", trains=True, channels=96, groups=4, tokens=16),
    HEAD: Arm([]),
    "`InterView`, 2 segments": fusion("InterView", [], True, channels=64, views=2),
    "`GatedCrossAttention`": fusion("GatedCrossAttention", [], True, channels=64),
    "`GatedCrossAttention`, queries each": fusion("GatedCrossAttention", [], True, channels=64, queries="each"),
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
    """Of queries whose class's twin, of the same look, is an answer too: how many are nearer to their own, in %."""
    rows = read_rows(results[0].folder / "episodes.csv.gz")
    assert rows is not None
    look = np.vectorize(lambda name: name.split(",")[0])(rows.classes.astype(str))
    own = np.arange(len(look))
    twins = (look == look[own, rows.truth][:, None]) & (np.arange(look.shape[1]) != rows.truth[:, None])
    asked = twins.any(1)
    right = rows.scores[own, rows.truth][asked] > rows.scores[twins]
    return f"{100 * right.mean():.2f} ± {100 * half_interval(float(right.std(ddof=1)), len(right)):.2f}"


def rank_words(module: AlignmentMap | None, encoder: ClipEncoder, clips: dict[str, list[torch.Tensor]]) -> str:
    """How often a clip whose class says a word stands higher in the map, or by cosine, than another clip, in %."""
    said = [{*WordMap(AlignmentMap(64)).list_words(name)} for name in clips]
    words = sorted({word for own in said for word in own} - said[0].intersection(*said[1:]))
    assert encoder.text is not None
    texts = normalize(encoder.text.encode(words).float(), dim=-1)
    seen = [normalize(encoder(frames), dim=-1) for each in clips.values() for frames in each]
    maps = torch.stack([(x @ texts.mT if module is None else module(x, texts)).mean(0) for x in seen])  # (clips words)
    of = torch.tensor(
        [[word in own for word in words] for own, each in zip(said, clips.values(), strict=True) for _ in each]
    )
    shares = [float((m[own][:, None] > m[~own]).float().mean()) for m, own in zip(maps.mT, of.mT, strict=True)]
    return f"{100 * np.mean(shares):.2f} ± {100 * half_interval(float(np.std(shares, ddof=1)), len(words)):.2f}"


@torch.no_grad()
def show_maps(run: Path, clips_a_class: int = 25) -> None:
    """The table of words over frames, before and after training, over test clips of Shapes-crowd."""
    encoder, module, untrained = ClipEncoder("fsar-tiny", "shapes").eval(), AlignmentMap(64), AlignmentMap(64)
    clips = {
        name: [
            torch.from_numpy(crowd.render(name, 0, "test", name, f"{i:03d}")).movedim(-1, 1)[::3]
            for i in range(clips_a_class)
        ]
        for name in crowd.CLASSES["test"]
    }
    state = torch.load(next(run.glob("checkpoints/*.ckpt")), weights_only=True)["state_dict"]
    start = next(key for key in state if key.endswith("map.projection_text.weight"))[: -len("projection_text.weight")]
    module.load_state_dict({key.removeprefix(start): x for key, x in state.items() if key.startswith(start)})
    print("| map | right order of two clips |\n|---|---|")
    for said, each in (("cosine, no map", None), ("`AlignmentMap`, untrained", untrained), ("`AlignmentMap`", module)):
        print(f"| {said} | {rank_words(each, encoder, clips)} |", flush=True)


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


def prepare(own: Any, out: Path) -> tuple[list[str], list[str], list[str]]:
    """Options of the data, of the data as it is stored, where something is, and of the method and trainer."""
    flavour, method, arms = TABLES["crowd" if own.table == "maps" else own.table]
    files = ["-c", f"data/shapes_{flavour}", "--data.workers", "0", "--data.seed", "0"]
    files += ["--data.train_episodes", str(own.train)]
    files += plant(own.data, out) if own.table == "planted" else ["--data.benchmark.init_args.root", str(own.data)]
    files += ["--data.joints", str(own.data / "figures" / "joints")] if flavour == "figures" else []
    options = ["-c", f"method/{method}", "--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu"]
    options += ["--trainer.max_epochs", "1", *(["--model.encoder.tune", "1"] if arms is OBJECTIVES else [])]
    if own.table in ("sound", "figures"):
        return files, files, options
    if not (out / "store").exists():
        patches = [] if arms is OBJECTIVES else arms[GROUPS].options
        call("extract", *files, *options, *patches, "--store", out / "store")
    return files, [*files, "--data.features", str(out / "store")], options


@one_message(program="effect_of_parts")
def main() -> None:
    parser = Options(__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("data/shapes"), help="where Shapes is rendered")
    parser.add_argument("--table", default="motion", choices=(*TABLES, "maps"))
    parser.add_argument("--arms", nargs="+", help="rows by name, and those that they are compared with; or all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--train", type=int, default=300, help="training episodes")
    parser.add_argument("--test", type=int, default=2000, help="test episodes")
    own = parser.parse_args()
    out = own.out / own.table
    files, stored, options = prepare(own, out)
    if own.table == "maps":
        run, told = out / "word_map", json.dumps([{"class_path": "WordMap", "init_args": {"map": MAP}}])
        if not run.exists():
            call("fit", "-c", "trainer", *stored, *options, "--model.objectives", told, "--run", run)
        return show_maps(run)
    arms = TABLES[own.table][2]
    if unknown := sorted({*(own.arms or arms)} - {*arms}):
        parser.error(f"--arms {unknown[0]}: rows of {own.table} are {'; '.join(arms)}")
    beside = {"sound": ("of the two of a look", tell_twins)}.get(own.table)
    beside = ("class names alone", by_name) if arms is OBJECTIVES else beside
    print(f"| part | 5-way 1-shot |{f' {beside[0]} |' if beside else ''}\n|---|---|{'---|' if beside else ''}")
    found: dict[str, list[Result]] = {}
    for name, arm in arms.items():
        if own.arms and name not in own.arms:
            continue
        folder = "_".join(name.translate({ord(sign): " " for sign in ",`'"}).split())
        runs = {seed: out / f"{folder}_{seed}" for seed in (own.seeds if arm.trains else [0])}
        data, base = stored if arm.trains else files, found.get(arm.base)
        found[name] = [measure(run, arm, seed, data, options, own.test, own.data) for seed, run in runs.items()]
        cells = [compare(found[name], base), *([beside[1](found[name], base)] if beside else [])]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
