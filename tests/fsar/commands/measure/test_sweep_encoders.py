"""``fsar sweep --encoders``: what each encoder gives, under one method on the same episodes."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from fsar.build import build_with_trainer
from fsar.commands.look import report
from fsar.commands.measure.encoder_words import name_folders
from fsar.commands.measure.sweep import main
from fsar.encoders.weights.options import describe, options_with
from fsar.evaluation.comparing.comparison import find, paired_difference
from fsar.terminal import bars

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, about itself and about our tiny loaders


def image(name: str, **options: Any) -> dict[str, Any]:
    return {"class_path": "fsar.encoders.ImageEncoder", "init_args": {"model": name, "weights": None, **options}}


@pytest.fixture
def place(config: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a method's configuration and two encoders."""
    monkeypatch.chdir(tmp_path)
    content = yaml.safe_load(config.read_text())
    encoder = content["model"]["method"]["init_args"]["encoder"]
    encoder["init_args"]["precision"] = "bf16"
    parts = {"encoder": encoder, "alignment": {"class_path": "fsar.alignment.OTAM"}}
    content["model"] = {"method": {"class_path": "fsar.methods.Prototype", "init_args": parts}}
    Path("run.yaml").write_text(yaml.safe_dump(content))
    clip = {"class_path": "fsar.encoders.ClipEncoder", "init_args": {"model": str(tiny_model), "pretrained": None}}
    Path("clip.yaml").write_text(yaml.safe_dump(clip))
    Path("net.yaml").write_text(yaml.safe_dump(image("resnet18", image_size=48)))
    return tmp_path


def test_encoders_in_one_table(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bars, "Console", partial(bars.Console, force_terminal=True))
    main(["-c", "run.yaml", "--encoders", "clip.yaml", "net.yaml", "--ways", "3", "--shots", "1", "--out", "out"])
    printed, shown = capsys.readouterr()
    assert re.search(r"encoding .*15/15 clips(.|\n)*scoring .*30/30 episodes", re.sub(r"\x1b\[[\d;]*m", "", shown))
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in re.findall(r"^\| (?:clip|net).*", printed, re.M)]
    clip, net = find([place / "out" / "encoders" / name for name in ("clip", "net")])
    assert rows == [
        ["clip", "3", "1", "", percent(clip.record), "", percent(clip.record, "zero_shot_")],
        ["net", "3", "1", "", percent(net.record), rows[1][5], "no text"],
    ]
    mean, half, count = paired_difference(clip, net)
    assert (rows[1][5], count) == (f"{100 * mean:+.2f} ± {100 * half:.2f}", 30)
    assert [result.record["encoder_forwards"] for result in (clip, net)] == [15, 15]
    assert [result.record["pixels"]["size"] for result in (clip, net)] == [32, 48]  # each its own, whatever data.size
    report.main(["out", "--gallery", "0"])
    page = (place / "out" / "report.html").read_text()
    assert "One method over several encoders" in page
    assert page.index('id="r1"') < page.index('id="r2"')
    alone = build_with_trainer(["-c", "run.yaml", "--model.encoder", "clip.yaml", "--model.encoder.precision", "fp32"])
    alone.trainer.test(alone.learner, alone.data, verbose=False)
    assert alone.learner.result["accuracy"] == clip.record["accuracy"]
    assert alone.learner.result["zero_shot_accuracy"] == clip.record["zero_shot_accuracy"]


def percent(record: dict[str, Any], prefix: str = "") -> str:
    return f"{100 * record[f'{prefix}accuracy']:.2f} ± {100 * record[f'{prefix}interval_95']:.2f}"


def test_nothing_stays_of_the_encoder_that_a_file_names(place: Path) -> None:
    def precision(*args: str) -> str:
        config = build_with_trainer(options_with(args, "net.yaml", "--encoders")).config
        found: str = config["model"]["method"]["init_args"]["encoder"]["init_args"]["precision"]
        return found

    assert precision("-c", "run.yaml") == "fp32"
    assert precision("-c", "run.yaml", "--model.encoder.precision", "bf16") == "bf16"  # said of all


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for word, (model, tag) in {"base": ("ViT-B-16", "openai"), "small": ("MobileCLIP2-S0", "dfndr2b")}.items():
        wanted = {"class_path": "fsar.encoders.ClipEncoder", "init_args": {"model": model, "pretrained": tag}}
        assert describe(word) == wanted
    assert describe("tiny") == describe("encoder/tiny")
    assert describe("timm:vit_tiny_patch16_224:w.pt")["init_args"] == {
        "model": "vit_tiny_patch16_224",
        "weights": "w.pt",
        "library": "timm",
    }
    assert list(name_folders(["a/b.yaml", "timm:x.y", "torchvision:n:c/w.pt"]).values()) == [
        "b",
        "timm_x.y",
        "torchvision_n_w",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--encoders nothing.yaml", "nothing.yaml: expected a YAML file, but there is no such file"),
        ("--encoders run.yaml", "run.yaml: expected class_path and init_args of an encoder"),
        ("--encoders a/clip.yaml clip.yaml", "would share the folder clip"),
        ("--encoders timm:vit_tiny_patch16_22", "is no image network of timm. Did you mean vit_tiny_patch16_224"),
        ("--encoders timm:vit_tiny_patch16_224", "are not in the Hugging Face cache"),
        ("--encoders clip.yaml --run trained", "not --run or --ckpt_path"),
        ("--encoders clip.yaml --texts photo", "ask one at a time"),
        ("--encoders clip.yaml video.yaml", "data.frames is 4, but VideoEncoder"),
    ],
)
def test_what_is_wrong_is_told_before_a_video_is_read(
    place: Path, words: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(place / "nothing"))
    video = {"class_path": "fsar.encoders.VideoEncoder", "init_args": {"model": "r3d_18", "weights": None}}
    Path("video.yaml").write_text(yaml.safe_dump(video))
    content = yaml.safe_load(Path("run.yaml").read_text())
    content["data"]["benchmark"]["init_args"]["root"] = "nowhere"  # is looked at when the first video is
    Path("run.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(SystemExit) as left:
        main([*["-c", "run.yaml", "--ways", "3", "--shots", "1", "--out", "out"], *words.split()])
    assert said in " ".join(f"{left.value} {capsys.readouterr().err}".split())
    assert not Path("out").exists()
