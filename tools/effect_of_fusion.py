"""What parts of fusion add on Shapes: the same training with and without each, as a table.

    python tools/effect_of_fusion.py --out runs/fusion --seeds 0 1

Prototypes on the frozen toy CLIP, whose frames and patches are stored once; with the temporal head where the part takes
one. Means over seeds with the 95 % interval over the test episodes of one; in brackets the change against the row
without the part on the same episodes.
"""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

from fsar.__main__ import main as fsar
from fsar.terminal.failure import Options, one_message

NO_HEAD = ["--model.method.init_args.temporal", "null"]
FROZEN, HEAD = "frozen frames, nothing trained", "temporal head"


def lay(part: str, head: bool = False, **options: Any) -> list[str]:
    """Options that put a part of fusion into the configuration; without the temporal head, or with it."""
    given = {"class_path": f"fsar.fusion.{part}", "init_args": options}
    return [*([] if head else NO_HEAD), "--model.method.init_args.fusion", json.dumps(given)]


ARMS: dict[str, tuple[str, list[str]]] = {  # by name: the row it is compared with, "" for none; options
    FROZEN: ("", NO_HEAD),
    "`MultiScale`, 2 x 2 patches, strides of 4": (FROZEN, lay("MultiScale", grids=[2], strides=[4])),
    "`TokenGrouping`, 4 groups": (FROZEN, lay("TokenGrouping", channels=96, groups=4, tokens=16)),
    HEAD: ("", []),
    "`InterView`, 2 segments": (HEAD, lay("InterView", head=True, channels=64, views=2)),
    "`GatedCrossAttention`": (HEAD, lay("GatedCrossAttention", head=True, channels=64)),
    "`GatedCrossAttention`, queries each": (HEAD, lay("GatedCrossAttention", head=True, channels=64, queries="each")),
}


def call(*words: object) -> None:
    """A command of fsar, in this process, without what it prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        fsar([str(word) for word in words])


def measure(run: Path, options: list[str], given: list[str], seed: int, episodes: int) -> tuple[float, float]:
    """Accuracy of one run and its interval in %; a run that is there is read."""
    if not any(run.glob("results/*/results.json")):
        test = ["--run", run, "--data.test_episodes", episodes]
        if given == NO_HEAD:  # nothing to train
            call("test", *options, *given, *test, "--data.seed", 0)
        else:
            call("fit", *options, *given, "--run", run, "--seed_everything", seed, "--data.seed", 0)
            call("test", *test)
    record = json.loads(next(run.glob("results/*/results.json")).read_text())
    return 100 * record["accuracy"], 100 * record["interval_95"]


@one_message(program="effect_of_fusion")
def main() -> None:
    parser = Options(__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("data/shapes"), help="where Shapes is rendered")
    parser.add_argument("--flavour", default="motion", choices=("motion", "appearance"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--train", type=int, default=300, help="training episodes")
    parser.add_argument("--test", type=int, default=2000, help="test episodes")
    own = parser.parse_args()
    method = ["-c", f"data/shapes_{own.flavour}", "-c", "method/tiny/prototype_head"]
    method += ["--data.benchmark.init_args.root", own.data, "--data.workers", "0"]
    store = own.out / own.flavour / "store"
    if not store.exists():
        call(
            "extract",
            *method,
            *next(given for arm, (_, given) in ARMS.items() if "MultiScale" in arm),
            "--store",
            store,
        )
    quiet = ["--trainer.enable_progress_bar", "false", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1"]
    options = ["-c", "trainer", *method, *quiet, "--data.features", store, "--data.train_episodes", own.train]
    found: dict[str, list[float]] = {}
    print("| part | 5-way 1-shot |\n|---|---|")
    for arm, (base, given) in ARMS.items():
        folder = "_".join(arm.translate({ord(sign): " " for sign in ",`"}).split())
        runs = {seed: own.out / own.flavour / f"{folder}_{seed}" for seed in own.seeds}
        rows = [measure(run, options, given, seed, own.test) for seed, run in runs.items()]
        found[arm] = [accuracy for accuracy, _ in rows]
        mean = sum(found[arm]) / len(rows)
        change = f" ({mean - sum(found[base]) / len(rows):+.2f})" if base else ""
        print(f"| {arm} | {mean:.2f} ± {rows[0][1]:.2f}{change} |", flush=True)


if __name__ == "__main__":
    main()
