"""Whole runs over names that a terminal would obey, that are formulas to matplotlib, or that are no text at all."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from fsar.__main__ import main

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, about itself and about our tiny loaders
CLASSES = ["\x1b[31mred", r"$\foo$ & co", "caf\udce9", "=1+1"]
CLIPS = ["\x1b]0;t\x07.mp4", "$x^$.mp4", "\udcff.mp4", "-a.mp4"]


@pytest.fixture
def odd(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four classes of four clips, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FSAR_RUN", raising=False)
    monkeypatch.setattr("sys.argv", ["fsar"])
    try:
        for number, name in enumerate(CLASSES):
            Path("odd", name).mkdir(parents=True)
            for i, clip in enumerate(CLIPS):
                shutil.copy(clips / f"class_{number}" / f"{i}.mp4", Path("odd", name, clip))
    except OSError:
        pytest.skip("this file system takes no such names")
    listed = dict.fromkeys(("train", "val", "test"))  # of the little world's configuration
    source = {"root": "odd", "seed": 0, "fractions": [0.5, 0, 0.5], **listed}
    benchmark = {"class_path": "episodes.splits.Folder", "init_args": source}
    small = {"ways": 2, "test_ways": 2, "queries": 1, "train_episodes": 2, "test_episodes": 4}
    Path("odd.yaml").write_text(yaml.safe_dump({"data": {"benchmark": benchmark, **small}}))
    return tmp_path


def test_nothing_is_obeyed_and_nothing_is_lost(odd: Path, config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first, other = (Path("odd", name, clip) for name, clip in ((CLASSES[2], CLIPS[2]), (CLASSES[1], CLIPS[1])))
    commands = [
        ["fit", "--run", "run", "-c", str(config), "-c", "odd.yaml"],
        ["test", "--run", "run"],
        ["report", "run"],
        ["map", "run", "--out", "map.html"],
        ["predict", "--run", "run", "--support", "odd", "--query", str(first), "--csv", "answer.csv"],
        ["predict", "--run", "run", "--support", "odd", "--shots", "2", "--csv", "known.csv"],
        ["plot-alignment", str(first), str(other), "--run", "run", "--out", "path.png"],
        ["play", str(first), str(other), "--run", "run"],
        ["publish", "run", "--to", "published", "--episodes"],
        ["check-videos", "odd", "--report", "videos.csv", "--workers", "1"],
    ]
    for words in commands:
        assert status(words) == 0, words
        said = "".join(capfd.readouterr())
        assert not re.search("[\x00-\x08\x1b\ud800-\udfff]", said), (words, said)
    written = [path for path in odd.rglob("*") if path.suffix in (".csv", ".html", ".json", ".md", ".tex", ".yaml")]
    assert {path.name for path in written} >= {"answer.csv", "known.csv", "map.html", "report.html", "videos.csv"}
    for path in written:
        assert "\x1b" not in path.read_text(encoding="utf-8"), path
    assert Path("path.png").is_file()


def status(words: list[str]) -> object:
    """How a command ends, 0 or the message."""
    try:
        main([*words])
    except SystemExit as end:
        return end.code or 0
    return 0
