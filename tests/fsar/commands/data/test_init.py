"""A configuration written for a folder of clips."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from fsar.__main__ import main

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, about itself and about our tiny loaders


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FSAR_RUN", raising=False)
    monkeypatch.setattr("sys.argv", ["fsar"])


def test_what_is_written_is_read_and_trained_on(
    clips: Path, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["init", str(clips), "-o", "mine.yaml"])
    out = capsys.readouterr().out
    assert out.startswith("mine.yaml: 9 classes, 45 clips\nnext:\n  fsar check-videos ")
    text = (tmp_path / "mine.yaml").read_text()
    assert text.startswith("# 9 classes, 45 clips, 5 of each.\n# Drawn by seed 0; below 10 classes")
    assert "the shortest has 10." in text
    data = yaml.safe_load(text)["data"]
    lists = data["benchmark"]["init_args"]
    assert sorted(lists["train"] + lists["test"]) == [f"class_{i}" for i in range(9)]
    assert (len(lists["train"]), lists["val"], data["ways"], data["queries"]) == (5, [], 4, 4)
    files = ["-c", str(config), "-c", "mine.yaml"]
    with pytest.raises(SystemExit) as end:
        main(["fit", *files, "--print_config"])
    assert not end.value.code
    assert yaml.safe_load(capsys.readouterr().out)["data"]["benchmark"]["init_args"]["train"] == lists["train"]
    main(["fit", "--debug", "--run", "run", *files, "--data.train_episodes", "2"])
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").is_file()


def test_few_classes_and_odd_names(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, count in (("no", 2), ("a: #b", 3), ("007", 1)):
        (tmp_path / "odd" / name).mkdir(parents=True)
        for i in range(count):
            shutil.copy(clips / "class_0" / f"{i}.mp4", tmp_path / "odd" / name)
    main(["init", "odd"])
    text = (tmp_path / "odd.yaml").read_text()
    assert 'Not listed, since they have fewer than two clips: "007".' in text
    assert "2 classes are too few to train on some and test on others" in text
    lists = yaml.safe_load(text)["data"]["benchmark"]["init_args"]
    assert (lists["train"], lists["val"], lists["test"]) == ([], [], ["a: #b", "no"])
    assert "fsar test --run runs/mine" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"odd\.yaml is there already"):
        main(["init", "odd"])
    shutil.rmtree(tmp_path / "odd" / "no")
    with pytest.raises(SystemExit, match="has 1 class of two clips or more"):
        main(["init", "odd", "-o", "other.yaml"])


def test_what_is_printed_can_be_typed(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("class_0", "class_1"):
        shutil.copytree(clips / name, tmp_path / "my clips" / name)
    main(["init", "my clips"])
    said = capsys.readouterr().out
    assert "fsar check-videos 'my clips' --quick" in said
    assert "-c 'my clips.yaml'" in said
    try:
        (tmp_path / "my clips" / "class_1").rename(tmp_path / "my clips" / "caf\udce9")
    except OSError:
        pytest.skip("this file system takes no such names")
    with pytest.raises(SystemExit, match=r"the name of my clips/caf\\udce9 is no UTF-8, so that no configuration"):
        main(["init", "my clips", "-o", "other.yaml"])


def test_the_lines_that_are_printed_fit_the_encoder(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def next_lines(encoder: str) -> str:
        (tmp_path / "clips.yaml").unlink(missing_ok=True)
        main(["init", str(clips), "-o", "clips.yaml", "--encoder", encoder])
        return capsys.readouterr().out

    (tmp_path / "net.pt").touch()
    assert "fsar weights get small\n  fsar fit" in (small := next_lines("small"))
    assert "-c clips.yaml --encoder small\n" in small
    assert "-c method/prototype -c clips.yaml --encoder timm:resnet18\n" in next_lines("timm:resnet18")
    assert "weights get" not in next_lines("tiny")
    assert "weights get" not in next_lines("torchvision:resnet18:net.pt")  # the file is here
