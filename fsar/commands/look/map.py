"""A map of clips as a run's encoder sees them: by class, with what looks mislabelled, mixed up, or twice there.

    fsar map runs/demo                                # the test clips; the support of test episode 0 as stars
    fsar map runs/demo --clips my_clips --umap        # a folder of one's own, a folder a class
    fsar map runs/demo --out map.html --list 20

Places are those of the two directions of largest spread (PCA), or with --umap of UMAP (the extra fsar[umap]). Features
come from a store or the cache where they are there. The page is one HTML file without scripts. Options of fsar test may
follow.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import torch

from episodes.clips import Streams
from episodes.features import with_cache
from episodes.files import write_atomically
from episodes.listing import class_folders
from episodes.video import probe, read_frames
from fsar.build import build_with_trainer
from fsar.evaluation.provenance import versions
from fsar.inference.clip_map import (
    Values,
    compare_clips,
    find_duplicates,
    find_suspects,
    nearness,
    neighbours_across,
    project,
    project_umap,
)
from fsar.reporting.clip_map import ClipMap, place_spots, render_map
from fsar.reporting.gallery import jpegs
from fsar.terminal.failure import Options, one_message
from fsar.terminal.outputs import output_file
from fsar.terminal.user_code import find_user_code

PCA = "Places: the two directions of largest spread of the clips' mean frames (PCA)."
UMAP = "Places by UMAP: neighbours stay neighbours, distances between groups mean nothing."


@one_message(program="fsar map")
def main(args: list[str]) -> None:
    """Parse, encode, compare, write the page."""
    parser = Options(__doc__, prog="fsar map")
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--clips", type=Path, metavar="FOLDER", help="one folder a class, in place of the test clips")
    parser.add_argument("--out", type=output_file, help="the page; map.html in the run by default")
    parser.add_argument("--umap", action="store_true", help="places by UMAP instead of PCA")
    parser.add_argument("--episode", type=int, default=0, metavar="N", help="whose support are stars (0)")
    parser.add_argument("--list", type=int, default=12, metavar="N", help="as many in every list (12)")
    parser.add_argument("--duplicates", type=float, default=0.98, metavar="X", help="cosine of two that are one (0.98)")
    own, rest = parser.parse_known_args(args)
    if not 0 < own.duplicates <= 1 or own.list < 1 or own.episode < 0:
        parser.error("--duplicates must be in 0..1, --list 1 or more, --episode 0 or more.")
    find_user_code()
    learner, data, trainer, _ = build_with_trainer(["--run", str(own.run), *of_folder(own.clips), *rest], "fsar map")
    data.trainer, learner.trainer = trainer, trainer
    trainer.strategy.connect(learner)  # as a test would; stored features are asked for by the encoder's hash
    learner.to(trainer.strategy.root_device).eval()
    data.setup("test")
    split = data.splits["test"]
    frames = encode_all(learner, data)
    draw = data.episode_sampler("test").episodes([own.episode])
    labels = np.asarray(split.labels, dtype=np.int64)
    alike = compare_clips(frames)
    near = nearness(alike, labels, len(split.class_names))
    places = project_umap(frames) if own.umap else project(frames)
    thumbnails = [thumbnail(split.path(i), split.span(i)) for i in range(len(split))]
    spots = place_spots(places, list(split.paths), labels, thumbnails, set(draw.support.ravel().tolist()))
    found = ClipMap(
        f"{len(split)} clips as {own.run.name} sees them", split.class_names, spots, UMAP if own.umap else PCA,
        neighbours_across(alike, labels, own.list), find_suspects(near, labels)[: own.list],
        find_duplicates(alike, own.duplicates)[: own.list], float((near.argmax(1) == labels).mean()), own.duplicates,
    )  # fmt: skip
    out = own.out or own.run / "map.html"
    page = render_map(found, shlex.join(["fsar", "map", *args]), versions()["fsar"])
    with write_atomically(out) as part:
        part.write_text(page, encoding="utf-8")
    print(f"{out} ({len(page.encode()) / 1e6:.1f} MB)")


def of_folder(folder: Path | None) -> list[str]:
    """Options that put the classes of a folder in place of the benchmark's.

    Raises:
        ValueError: for a folder with fewer than two classes.
    """
    if folder is None:
        return []
    names = class_folders(folder)
    if len(names) < 2:
        raise ValueError(f"--clips {folder} must hold a folder for each of two classes or more, found {len(names)}.")
    source = {"root": str(folder), "train": [], "val": [], "test": names}
    benchmark = json.dumps({"class_path": "episodes.splits.Folder", "init_args": source})
    sizes = ("--data.test_ways=2", "--data.test_shots=1", "--data.test_queries=1", "--data.drop_small_classes=true")
    return [f"--data.benchmark={benchmark}", "--data.features=null", *sizes]


@torch.no_grad()
def encode_all(learner: Any, data: Any) -> Values:
    """``(v t d)`` frames of every test clip, of one view."""
    data.test_views = None
    found: dict[int, Values] = {}
    for batch in with_cache(data, "test", list(range(len(data.splits["test"])))):
        features = learner.method.features_of(batch.clips.to(learner.device))
        if data.kept is not None and isinstance(batch.clips, Streams):
            data.kept.keep(batch.videos, features)
        found |= dict(zip(batch.videos.tolist(), features["frames"].double().cpu().numpy(), strict=True))
    return np.stack([found[video] for video in range(len(found))])


def thumbnail(path: Path, span: Any) -> str:
    """The middle frame of a clip."""
    shown = probe(path)
    part = range(shown.frames) if span is None else span.frames(shown.frames, shown.fps)
    return jpegs(read_frames(path, np.array([part[len(part) // 2]])))[0]
