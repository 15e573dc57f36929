"""What objectives add on Shapes: the same training with and without each, as a table.

    python tools/effect_of_objectives.py --out runs/effect --seeds 0 1

CLIP-FSAR on the toy CLIP, whose last block is trained; what its frozen half gives is stored once. Means over seeds with
the 95 % interval over the test episodes of one; in brackets the change against no objective on the same episodes.

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
from typing import Any

from episodes.shapes import Shapes
from fsar.__main__ import main as fsar
from fsar.terminal.failure import Options, one_message

PACK = {"class_path": "fsar.text.TextBank", "init_args": {"descriptions": "shapes"}}
CONTRAST = {"class_path": "SymmetricContrast", "init_args": {"weight": 0.3}}
ANCHOR = {"class_path": "Anchor", "init_args": {"weight": 0.5}}
RULE = {"p1": None, "p1_near": None, "p2": None, "p3": 0.99}  # names alone: the toy's pictures and texts lie apart
ARMS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "grouping, steps in order": [
        {"class_path": "SubCaptionGrouping", "init_args": {"mode": "monotone", "texts": PACK, "weight": 0.3}}
    ],
    "grouping, min-max": [
        {"class_path": "SubCaptionGrouping", "init_args": {"mode": "minmax", "texts": PACK, "weight": 0.3}}
    ],
    "words": [{"class_path": "WordRegionContrast", "init_args": {"weight": 0.3}}],
    "contrast": [CONTRAST],
    "sigmoid, labels alone": [{"class_path": "MultiPositiveSigmoid", "init_args": {"weight": 0.3}}],
    "sigmoid, FFF's rule": [{"class_path": "MultiPositiveSigmoid", "init_args": {"weight": 0.3, "rule": RULE}}],
    "anchor": [ANCHOR],
    "contrast and anchor": [CONTRAST, ANCHOR],
}


def call(*words: object) -> None:
    """A command of fsar, in this process, without what it prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        fsar([str(word) for word in words])


def measure(out: Path, flavour: str, arm: str, seed: int, options: list[str], episodes: int) -> dict[str, float]:
    """Accuracy of one run in %, few-shot and by the class names alone; a run that is there is read."""
    run = out / flavour / f"{arm.replace(', ', '_').replace(' ', '_')}_{seed}"
    if not any(run.glob("results/*/results.json")):
        extra = ["--model.objectives", json.dumps(ARMS[arm])] if ARMS[arm] else []
        call("fit", *options, *extra, "--run", run, "--seed_everything", seed, "--data.seed", 0)
        call("test", "--run", run, "--data.test_episodes", episodes)
    record = json.loads(next(run.glob("results/*/results.json")).read_text())
    names = ("accuracy", "interval_95", "zero_shot_accuracy", "zero_shot_interval_95")
    return {name: 100 * record[name] for name in names}


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


@one_message(program="effect_of_objectives")
def main() -> None:
    parser = Options(__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("data/shapes"), help="where Shapes is rendered")
    parser.add_argument("--flavour", default="motion", choices=("motion", "appearance", "planted"))
    parser.add_argument(
        "--arms", nargs="+", default=list(ARMS), choices=list(ARMS), help="rows, compared with the first"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--train", type=int, default=300, help="training episodes")
    parser.add_argument("--test", type=int, default=2000, help="test episodes")
    own = parser.parse_args()
    flavour = "appearance" if own.flavour == "planted" else own.flavour
    method = ["-c", f"data/shapes_{flavour}", "-c", "method/clip_fsar_tiny", "--model.encoder.tune", "1"]
    method += ["--data.workers", "0"]
    if own.flavour == "planted":
        method += plant(own.data, own.out / own.flavour)
    else:
        method += ["--data.benchmark.init_args.root", own.data]
    store = own.out / own.flavour / "store"
    if not store.exists():
        call("extract", *method, "--store", store)
    quiet = ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1"]
    options = ["-c", "trainer", *method, *quiet, "--data.features", store, "--data.train_episodes", own.train]
    rows: dict[str, list[dict[str, float]]] = {}
    print("| objective | 5-way 1-shot | class names alone |\n|---|---|---|")
    for arm in own.arms:
        rows[arm] = [measure(own.out, own.flavour, arm, seed, options, own.test) for seed in own.seeds]
        cells = []
        for name, interval in (("accuracy", "interval_95"), ("zero_shot_accuracy", "zero_shot_interval_95")):
            values = [row[name] for row in rows[arm]]
            change = sum(v - base[name] for v, base in zip(values, rows[own.arms[0]], strict=True)) / len(values)
            mean = f"{sum(values) / len(values):.2f} ± {rows[arm][0][interval]:.2f}"
            cells.append(mean if arm == own.arms[0] else f"{mean} ({change:+.2f})")
        print(f"| {arm} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
