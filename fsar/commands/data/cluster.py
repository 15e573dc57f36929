"""A list of training clips whose classes are clusters of stored features: for clips that nobody labelled.

    fsar cluster runs/features/train-0123456789ab --clusters 64 --out clusters.csv
    fsar fit -c trainer -c method/... --data.benchmark episodes.splits.Table \\
        --data.benchmark.file clusters.csv --data.benchmark.root FOLDER

The store is of one split, as `fsar extract` makes it. The list has the columns file, label, split and cosine (with the
middle of the cluster), as a CSV, or as JSON Lines (.jsonl), which holds names of any bytes too. Its files lie where
those of the store did: FOLDER is theirs. `--by frames` tells orders apart, since frames are compared in their places;
`--by mean` does not. No label is read. A run trained so is tested on labelled classes as any other.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from episodes.clips import Features
from episodes.features import FeatureStore
from episodes.files import write_atomically
from episodes.words import pluralise
from fsar.terminal.failure import Options, one_message
from fsar.terminal.outputs import output_folder
from fsar.training.clusters import cluster


def read_frames(store: FeatureStore) -> Tensor:
    """``(v t d)``, the view that evaluation uses of every video.

    Raises:
        ValueError: a store of something else.
    """
    if store.contents.kind is not Features or "frames" not in store.contents.names:
        raise ValueError(
            f"{store.folder} holds {' and '.join(store.contents.names)}, but clusters are made of finished frames: "
            "extract with a method whose encoder is frozen, such as -c method/prototype."
        )
    videos = range(len(store.meta["paths"]))
    return torch.stack([store.take(video, 0, ("frames",))["frames"].float() for video in videos])


def write_list(file: Path, rows: Sequence[Sequence[str]]) -> None:
    """The list as CSV, or as JSON Lines by its suffix; the header comes first."""
    header, *clips = rows
    with write_atomically(file) as part, part.open("w", newline="", encoding="utf-8") as opened:
        if file.suffix == ".csv":
            csv.writer(opened).writerows(rows)
        else:
            opened.writelines(json.dumps(dict(zip(header, clip, strict=True))) + "\n" for clip in clips)


@one_message(program="fsar cluster")
def main(args: list[str]) -> None:
    """Cluster, write the list, and say what became of the clips."""
    parser = Options(__doc__, prog="fsar cluster")
    parser.add_argument("store", type=Path, help="folder of one split's store, as fsar extract named it")
    parser.add_argument("--clusters", type=int, required=True, help="how many pseudo-classes")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the list: .csv, or .jsonl")
    parser.add_argument("--by", choices=("frames", "mean"), default="frames", help="what of a clip is compared")
    parser.add_argument("--least", type=int, default=6, help="clips of a cluster; smaller ones are left out")
    parser.add_argument("--seed", type=int, default=0, help="of the start")
    own = parser.parse_args(args)
    output_folder(str(own.out.parent))
    if own.out.suffix not in (".csv", ".jsonl"):
        parser.error(f"--out must end in .csv or .jsonl, found {own.out}.")
    store = FeatureStore(own.store)
    odd = next((path for path in store.meta["paths"] if path.encode(errors="replace").decode() != path), None)
    if odd and own.out.suffix == ".csv":
        raise ValueError(f"the name {odd} is no UTF-8, as a CSV must be: give --out {own.out.with_suffix('.jsonl')}.")
    frames = read_frames(store)
    found, cosine = cluster(frames.flatten(1) if own.by == "frames" else frames.mean(1), own.clusters, own.seed)
    sizes = found.bincount(minlength=own.clusters)
    kept = (sizes >= own.least).nonzero().flatten().tolist()
    if len(kept) < 2:
        raise ValueError(
            f"only {len(kept)} of {own.clusters} clusters hold {pluralise(own.least, 'clip')} (the largest has "
            f"{int(sizes.max())}): ask for fewer --clusters, or a smaller --least."
        )
    own.out.parent.mkdir(parents=True, exist_ok=True)
    rows = [("file", "label", "split", "cosine")]
    for path, label, near in zip(store.meta["paths"], found.tolist(), cosine.tolist(), strict=True):
        if label in kept:
            rows.append((path, f"cluster {label:04d}", "train", f"{near:.4f}"))
    write_list(own.out, rows)
    taken = int(sizes[kept].sum())
    print(
        f"{own.out}: {taken} of {pluralise(len(found), 'clip')} in {len(kept)} clusters of {int(sizes[kept].min())} to "
        f"{int(sizes.max())}; mean cosine {float(cosine.mean()):.3f}."
    )
