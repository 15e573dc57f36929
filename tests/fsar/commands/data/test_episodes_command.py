"""The list of episodes as a file: written, verified, and found out when it is not the one it says."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml
from PIL import Image

from episodes.sampler import EpisodeSampler

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return importlib.import_module("fsar.commands.data.episodes")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Six classes of four folders of one frame, and a model section that is not to be read."""
    for label in range(6):
        for clip in range(4):
            folder = tmp_path / "videos" / f"class_{label}" / str(clip)
            folder.mkdir(parents=True)
            Image.new("L", (4, 4), 10 * label + clip).save(folder / "0.png")
    names = [f"class_{label}" for label in range(6)]
    folder = {"root": str(tmp_path / "videos"), "train": names[:2], "val": names[2:4], "test": names[4:]}
    data = {
        "benchmark": {"class_path": "episodes.splits.Folder", "init_args": folder},
        "ways": 2,
        "test_episodes": 50,
        "val_episodes": 20,
    }
    path = tmp_path / "data.yaml"
    path.write_text(yaml.safe_dump({"data": data, "model": {"method": "nothing that exists"}}))
    return path


def test_a_list_says_what_it_is(
    tool: ModuleType, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "test.npz"
    tool.main(["write", str(file), "-c", str(config)])
    digest = capsys.readouterr().out.strip()
    labels = [0] * 4 + [1] * 4
    sampler = EpisodeSampler(labels, ways=2, shots=1, queries=1, class_names=("class 4", "class 5"))
    assert digest == sampler.fingerprint(50)
    with np.load(file) as content:
        assert content["support"].shape == (50, 2)
        assert content["paths"][content["query"][0, 0]].startswith("class_")
    tool.main(["verify", str(file), "-c", str(config)])
    assert digest in capsys.readouterr().out


def test_other_splits_and_results(tool: ModuleType, config: Path, tmp_path: Path) -> None:
    file, results = tmp_path / "val.npz", tmp_path / "results.json"
    tool.main(["write", str(file), "-c", str(config), "--split", "val", "--data.test_shots", "2"])
    about = tool.verify(file)
    assert (about["split"], about["shots"], about["episodes"]) == ("val", 2, 20)
    results.write_text(json.dumps({"data": about}))
    tool.verify(file, results=[results])
    results.write_text(json.dumps({"data": {**about, "seed": 3, "episodes_sha256": "0"}}))
    with pytest.raises(ValueError, match=r"do not have the same episodes:\n  seed: 0 in the file, 3 there"):
        tool.verify(file, results=[results])


def test_another_configuration_is_told_apart(
    tool: ModuleType, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "test.npz"
    tool.main(["write", str(file), "-c", str(config)])
    with pytest.raises(SystemExit, match=r"seed: 0 in the file, 7 there"):
        tool.main(["verify", str(file), "-c", str(config), "--data.test_seed", "7"])
    Image.new("L", (4, 4), 7).save(tmp_path / "videos" / "class_5" / "0" / "1.png")  # one more frame: the same list
    tool.main(["verify", str(file), "-c", str(config)])
    (tmp_path / "videos" / "class_5" / "9").mkdir()
    Image.new("L", (4, 4), 99).save(tmp_path / "videos" / "class_5" / "9" / "0.png")
    with pytest.raises(SystemExit, match="split_sha256"):
        tool.main(["verify", str(file), "-c", str(config)])


def test_a_changed_file_is_found_out(tool: ModuleType, config: Path, tmp_path: Path) -> None:
    file = tmp_path / "test.npz"
    tool.main(["write", str(file), "-c", str(config)])
    with np.load(file) as content:
        changed = dict(content)
    changed["query"][7, 0] += 1
    np.savez(file, **changed)
    with pytest.raises(ValueError, match="not the one that the file names"):
        tool.verify(file)


def test_writing_needs_a_configuration(tool: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        tool.main(["write", str(tmp_path / "test.npz")])
