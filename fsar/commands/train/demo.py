"""The whole way in one command: render videos, train CLIP-FSAR on them, test it beside two baselines.

Every step is a plain ``fsar`` command, printed before it runs; what an earlier call finished is not done again.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from fsar.commands.train import fit
from fsar.evaluation.accuracy import plus_minus
from fsar.terminal.failure import Options

RUN = Path("runs/demo")
DATA = ["-c", "trainer", "-c", "data/shapes_motion"]
TINY = ["--model.encoder", "encoder/tiny"]
PAIRS = ["--data.opposites", "true", "--data.ways", "2"]
TESTS = {
    "zero-shot, kinetics texts": (RUN / "zero_shot", [*DATA, "-c", "method/zero_shot", *TINY]),
    "frame mean (bag of frames)": (
        RUN / "frame_mean",
        [*DATA, "-c", "method/prototype", *TINY, "--model.alignment", "FrameMean"],
    ),
    "OTAM, not trained": (RUN / "otam", [*DATA, "-c", "method/prototype", *TINY]),
    "CLIP-FSAR, trained": (RUN, []),
}


def fsar(*args: str) -> None:
    """Run a command line, and show it."""
    print(f"\n$ fsar {' '.join(args)}", flush=True)
    fit.main(list(args))


def main(args: list[str]) -> None:
    """Train unless it was done before, test everything, print the table."""
    Options(__doc__, prog="fsar demo").parse_args(args)
    start = time.perf_counter()
    if not (RUN / "checkpoints" / "last.ckpt").is_file():
        fsar("fit", "--run", str(RUN), *DATA, "-c", "method/clip_fsar_tiny")
    rows = []
    for name, (folder, options) in TESTS.items():
        cells = []
        mode = "_few_shot" if folder == RUN else ""  # CLIP-FSAR can name clips in three ways
        for kind, extra in ((f"test_5way_1shot{mode}", []), (f"test_2way_1shot{mode}_opposites", PAIRS)):
            path = folder / "results" / kind / "results.json"
            if not path.is_file():
                fsar("test", "--run", str(folder), *options, *extra)
            result = json.loads(path.read_text())
            cells.append(plus_minus(result["accuracy"], result["interval_95"]))
        rows.append((name, *cells))
    print("\nShapes-motion, test classes, 10,000 episodes each, accuracy in % with its 95 % interval\n")
    print(f"| {'method':28s} | 5-way 1-shot  | reversal pairs |\n|{'-' * 30}|---------------|----------------|")
    for name, five, pairs in rows:
        print(f"| {name:28s} | {five:13s} | {pairs:14s} |")
    print(f"\nrun folder: {RUN}    this took {time.perf_counter() - start:.0f} s")
