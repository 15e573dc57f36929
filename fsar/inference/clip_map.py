"""Where clips lie beside one another: places on a plane, neighbours of other classes, labels to look at, duplicates.

All of it is of frame features ``(v t d)`` that an evaluation encoded, less their mean over all clips: what every clip
shares tells none apart. Two clips are as alike as the mean cosine of their frames, one by one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Integers = NDArray[np.int64]
NEAREST = 3
"""Clips of a class that say how near it is."""


class Pair(NamedTuple):
    """Two clips and how alike they are, a cosine."""

    first: int
    second: int
    alike: float


class Suspect(NamedTuple):
    """A clip that lies nearer to another class than to its own.

    Attributes:
        clip: its number.
        other: that class.
        margin: how much more alike the nearest clips of that class are than those of its own.
    """

    clip: int
    other: int
    margin: float


def compare_clips(frames: Values) -> Values:
    """``(v v)`` cosines of clips ``(v t d)``, frame by frame."""
    x = frames - frames.mean((0, 1))
    x = x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
    flat = x.reshape(len(x), -1) / np.sqrt(x.shape[1])
    found: Values = flat @ flat.T
    return found


def project(frames: Values) -> Values:
    """The plane ``(v 2)`` of largest spread of the clips' mean frames (PCA); the larger half of each axis points up."""
    x = frames.mean(1)
    x = x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
    x = x - x.mean(0)
    u, spread, _ = np.linalg.svd(x, full_matrices=False)
    places: Values = np.zeros((len(x), 2))
    places[:, : min(2, u.shape[1])] = (u * spread)[:, :2]
    turned: Values = places * np.where((places**3).sum(0) < 0, -1, 1)
    return turned


def project_umap(frames: Values, seed: int = 0) -> Values:
    """A plane ``(v 2)`` on which neighbours stay neighbours (UMAP); distances between groups mean nothing.

    Raises:
        ImportError: without the package.
        ValueError: for fewer than four clips.
    """
    try:
        import umap
    except ImportError as error:
        raise ImportError("umap needs the package umap-learn: pip install 'fsar[umap]', or take pca.") from error
    if len(frames) < 4:
        raise ValueError(f"umap needs four clips at least, found {len(frames)}: take pca.")
    x = frames.mean(1)
    made = umap.UMAP(n_neighbors=min(15, len(x) - 1), metric="cosine", random_state=seed, n_jobs=1, init="random")
    found: Values = np.asarray(made.fit_transform(x), dtype=np.float64)
    return found


def neighbours_across(alike: Values, labels: Integers, count: int) -> list[Pair]:
    """The pairs of clips of different classes that are most alike, each clip once."""
    rows, columns = np.nonzero(np.triu(labels[:, None] != labels[None]))
    order = np.argsort(-alike[rows, columns], kind="stable")
    found: list[Pair] = []
    used: set[int] = set()
    for i, j in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if len(found) == count:
            break
        if not used & {i, j}:
            used |= {i, j}
            found.append(Pair(i, j, float(alike[i, j])))
    return found


def nearness(alike: Values, labels: Integers, classes: int) -> Values:
    """``(v C)``: mean cosine of every clip with the nearest clips of each class, itself left out; -inf of a class
    without others."""
    others = np.where(np.eye(len(alike), dtype=bool), -np.inf, alike)
    found = np.full((len(alike), classes), -np.inf)
    for c in range(classes):
        own = -np.sort(-others[:, labels == c], axis=1)[:, :NEAREST]
        finite = np.isfinite(own)
        some = finite.any(1)
        found[some, c] = np.where(finite, own, 0).sum(1)[some] / finite.sum(1)[some]
    return found


def find_suspects(near: Values, labels: Integers) -> list[Suspect]:
    """Clips that are nearer to another class than to their own, the clearest first; those without others of their own
    class are left out."""
    rows = np.arange(len(labels))
    own = near[rows, labels]
    rest = near.copy()
    rest[rows, labels] = -np.inf
    other = rest.argmax(1)
    margin = np.where(np.isfinite(own), rest[rows, other] - np.where(np.isfinite(own), own, 0), -np.inf)
    order = np.argsort(-margin, kind="stable")
    return [Suspect(int(i), int(other[i]), float(margin[i])) for i in order if margin[i] > 0]


def find_duplicates(alike: Values, least: float = 0.98) -> list[Pair]:
    """Pairs of clips that are as good as one, the most alike first."""
    rows, columns = np.nonzero(np.triu(alike >= least, 1))
    pairs = [Pair(i, j, float(alike[i, j])) for i, j in zip(rows.tolist(), columns.tolist(), strict=True)]
    return sorted(pairs, key=lambda pair: -pair.alike)
