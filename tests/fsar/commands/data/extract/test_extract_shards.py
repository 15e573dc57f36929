"""A store filled by jobs that know nothing of each other."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path

import pytest
import torch.multiprocessing as mp

from episodes.files.locks import held_alone
from fsar.commands.data.extract import main, read_shard

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, about itself and about our tiny loaders


def contents(root: Path) -> dict[str, bytes]:
    """Every store's features as they lie on disk."""
    return {path.parent.name: path.read_bytes() for path in root.glob("*/frames.npy")}


@pytest.fixture(scope="module")
def whole(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one job stores."""
    root = tmp_path_factory.mktemp("whole")
    main(["--store", str(root), "-c", str(config)])
    return root


def test_two_workers_at_once_store_what_one_stores(config: Path, whole: Path, tmp_path: Path) -> None:
    fork = mp.get_context("fork")
    words = [["--store", str(tmp_path), "-c", str(config), "--shard", f"{part}/2"] for part in (1, 2)]
    workers = [fork.Process(target=main, args=(some,)) for some in words]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=300)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(contents(whole)) == 3
    assert contents(tmp_path) == contents(whole)
    assert not list(tmp_path.glob("*/parts"))


def test_a_part_leaves_the_rest_to_the_others_and_the_last_one_joins(
    config: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--store", str(tmp_path), "-c", str(config)]
    main([*words, "--shard", "2/2"])
    assert len(contents(tmp_path)) == 1  # one of three chunks is its own
    for name, value in (("ID", "7"), ("MIN", "7"), ("COUNT", "2")):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    own = next(path.parent for path in sorted(tmp_path.glob("train-*/meta.json"))) / "parts" / "shard-1-of-2"
    with held_alone(own), pytest.raises(SystemExit, match=r"is writing .*shard-1-of-2: wait until it has ended"):
        main([*words, "--shard", "auto"])
    main([*words, "--shard", "auto"])
    assert contents(tmp_path) == contents(whole)


@pytest.mark.parametrize("word", ["0/2", "3/2", "half", "auto"])
def test_a_part_that_is_none_is_refused(word: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"parts are 1/2 to 2/2|expected a part|auto needs SLURM_ARRAY_TASK_ID"):
        read_shard(word)
