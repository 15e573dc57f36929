"""Fixtures that every test may use; among them a small world for whole runs: real little videos, a random little CLIP,
and a configuration that names both."""

from __future__ import annotations

import functools
import gc
import json
import os
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import yaml

os.environ["FSAR_CACHE"] = "off"  # no test reads or writes the user's own; those of the cache name a folder
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start, of which two run at a time
os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # tslearn's numba gives torch as many threads as it takes itself

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 24, "width": 16, "heads": 2, "layers": 1},
}
CLASSES = [f"class_{i}" for i in range(9)]


FAST = (
    "episodes/annotations",
    "episodes/benchmarks",
    "episodes/files",
    "episodes/listing",
    "episodes/test_",
    "fsar/alignment/per_query",
    "fsar/alignment/test_",
    "fsar/objectives",
    "fsar/temporal",
    "fsar/test_shots.py",
    "fsar/text",
    "test_examples.py",
    "test_metadata.py",
)
"""What `make test-fast` runs: files of tests whose path in this folder begins so."""
LONG = (
    "episodes/benchmarks/test_definitions.py",
    "episodes/test_datamodule",
    "episodes/features",
    "episodes/test_shapes.py",
    "fsar/alignment/test_compile.py",
    "fsar/alignment/test_dtw.py",
)
"""But not these."""


def is_fast(path: Path) -> bool:
    """Of a file of tests."""
    name = path.relative_to(Path(__file__).parent).as_posix()
    return name.startswith(FAST) and not name.startswith(LONG)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Under ``-m fast`` no other file is imported: that alone would take half of its minute."""
    other = config.getoption("markexpr") == "fast" and collection_path.suffix == ".py"
    return True if other and not is_fast(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is fast."""
    for item in items:
        if is_fast(item.path):
            item.add_marker("fast")


@pytest.fixture(autouse=True)
def _deterministic() -> None:
    torch.manual_seed(0)


def pytest_configure() -> None:
    torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """What was imported stays: without it the garbage collector walks it again and again."""
    gc.collect()
    gc.freeze()


SHARED = Path(os.environ.get("FSAR_SHARED") or Path(__file__).resolve().parents[2] / "shared")
DATA = Path(__file__).resolve().parent / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference arrays and real clips beside the checkout; tests that need it skip without it."""
    if not (SHARED / "README.md").is_file():
        pytest.skip(f"{SHARED} is not here: it holds reference arrays and clips that are not part of the project")
    return SHARED


@functools.cache
def read_arrays(name: str) -> dict[str, np.ndarray]:
    """All of a file of reference arrays: in full where that is, else the cut of ``tests/data``."""
    full, cut = SHARED / "reference" / f"{name}.npz", DATA / f"{name}.npz"
    if not full.is_file() and not cut.is_file():
        pytest.skip(f"{full} is not here, and too large for a cut of it in {DATA.name}/")
    with np.load(full if full.is_file() else cut) as arrays:
        return dict(arrays)


@pytest.fixture(scope="session")
def reference() -> Callable[..., dict[str, torch.Tensor]]:
    """Stored outputs of released code: ``reference("otam", "case0")["cost"]``. A case that was not cut is skipped."""

    def load(name: str, case: str = "") -> dict[str, torch.Tensor]:
        prefix = f"{case}/" if case else ""
        arrays = {k.removeprefix(prefix): x for k, x in read_arrays(name).items() if k.startswith(prefix)}
        if not arrays:
            pytest.skip(f"{case} of {name}.npz is not in the cut of it in {DATA.name}/, and {SHARED} is not here")
        return {key: torch.from_numpy(x.copy()) for key, x in arrays.items() if x.dtype.kind != "U"}

    return load


def write_clip(path: Path, seed: int, frames: int = 10, side: int = 32) -> None:
    """An H.264 file of coloured noise that drifts; its look depends on the seed."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.kron(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8), np.ones((side // 4, side // 4, 1), dtype=np.uint8))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(10))
        stream.width, stream.height, stream.pix_fmt = side, side, "yuv420p"
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.roll(image, i, axis=1)), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``root/<class>/<clip>.mp4``: nine classes of five clips."""
    root = tmp_path_factory.mktemp("clips")
    for i, name in enumerate(CLASSES):
        for j in range(5):
            write_clip(root / name / f"{j}.mp4", 10 * i + j)
    return root


@pytest.fixture
def support(clips: Path, tmp_path: Path) -> Path:
    """Three classes of one, two and three clips."""
    for i in range(3):
        folder = tmp_path / "support" / f"class_{i}"
        folder.mkdir(parents=True)
        for j in range(i + 1):
            shutil.copy(clips / f"class_{i}" / f"{j}.mp4", folder)
    return tmp_path / "support"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model config that open_clip reads: a CLIP of two thin layers for 32 pixels."""
    path = tmp_path_factory.mktemp("model") / "fsar-test-tiny.json"
    path.write_text(json.dumps(TINY))
    return path


@pytest.fixture(scope="session")
def config(clips: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The YAML of a run that takes a second or two."""
    folder = {"root": str(clips), "train": CLASSES[:3], "val": CLASSES[3:6], "test": CLASSES[6:]}
    encoder = {"model": str(tiny_model), "pretrained": None, "tune": "frozen"}
    content = {
        "seed_everything": 0,
        "trainer": {
            "max_epochs": 1,
            "accelerator": "cpu",
            "devices": 1,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        },
        "data": {
            "benchmark": {"class_path": "episodes.splits.Folder", "init_args": folder},
            "ways": 3,
            "shots": 1,
            "queries": 1,
            "frames": 4,
            "size": 32,
            "train_episodes": 4,
            "val_episodes": 6,
            "test_episodes": 30,
            "workers": 0,
        },
        "model": {
            "method": {
                "class_path": "fsar.methods.ClipFSAR",
                "init_args": {
                    "encoder": {"class_path": "fsar.encoders.ClipEncoder", "init_args": encoder},
                    "alignment": {"class_path": "fsar.alignment.OTAM"},
                },
            },
            "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.001}},
        },
    }
    path = tmp_path_factory.mktemp("config") / "run.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
