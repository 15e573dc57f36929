"""Features from elsewhere: checked, stored, and run on by fit, test, predict and several names at once."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from fsar.__main__ import main
from fsar.alignment import OTAM, FrameMean
from fsar.encoders import Imported
from fsar.methods import Prototype, SeveralNames
from fsar.methods.several_names import join_similarities

pytestmark = pytest.mark.filterwarnings("ignore")  # of Lightning, about our tiny loaders
CLASSES, CLIPS = 9, 4
PARTS = "-c store/data.yaml --model.encoder store/encoder.yaml --trainer.accelerator cpu --trainer.devices 1"


def run(line: str) -> None:
    main(shlex.split(line))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A folder with names of clips that are not here and two kinds of features: steps and widths of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fsar"])
    monkeypatch.delenv("FSAR_RUN", raising=False)
    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(CLASSES), CLIPS)
    centres = rng.normal(size=(CLASSES, 6))
    arrays = {
        "visual": (centres[label][:, None] + 0.1 * rng.normal(size=(len(label), 3, 6))).astype(np.float32),
        "text": (rng.normal(size=(CLASSES, 4))[label] + 0.1 * rng.normal(size=(len(label), 4))).astype(np.float64),
    }
    lines = [f"{c}/{i}.mp4,class_{c}" for c in range(CLASSES) for i in range(CLIPS)]
    Path("videos.csv").write_text("\n".join(["file,label", *lines]))
    np.savez("features.npz", **arrays)
    return arrays


def test_they_are_tested_fitted_and_predicted_from(place: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    run("import-features features.npz --names videos.csv --made-by 'Some Model, layer 3' -o store")
    assert "visual: 36 clips, 3 steps, 6 channels, read as frames" in capsys.readouterr().out
    few = "--data.ways 2 --data.test_episodes 20"
    run(f"test --run all -c method/prototype {PARTS} {few}")
    record = json.loads(Path("all/results/test_2way_1shot/results.json").read_text())
    assert record["accuracy"] > 0.9
    assert record["data"]["imported"]["made_by"] == "Some Model, layer 3"
    assert record["encoder_forwards"] == 0
    run(
        f"fit --run fit -c method/prototype {PARTS} --data.ways 2 --data.train_episodes 2 --trainer.max_epochs 1 "
        "--data.val_episodes 2 --data.queries 1 --model.temporal torch.nn.Linear --model.temporal.in_features 6 "
        "--model.temporal.out_features 6 --trainer.enable_progress_bar false --trainer.enable_model_summary false"
    )
    assert Path("fit/checkpoints").is_dir()
    Path("support.csv").write_text("file,label\n0/0.mp4,walk\n4/0.mp4,jump\n")
    Path("queries.csv").write_text("file\n4/1.mp4\n0/3.mp4\n")
    capsys.readouterr()
    run(
        "predict -c method/prototype -c store/data.yaml --model.encoder store/encoder.yaml --support support.csv "
        "--query queries.csv --json"
    )
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert [answer["ranking"][0]["class"] for answer in answers] == ["jump", "walk"]
    run(f"test --splits 2 --run splits -c method/prototype {PARTS} {few}")
    assert "over 2 class splits" in capsys.readouterr().out


def test_every_alignment_of_what_was_stored_is_that_of_the_arrays(place: dict[str, Any]) -> None:
    save_file({"visual": place["visual"]}, "features.safetensors")
    run("import-features features.safetensors --names videos.csv --made-by m -o store")
    encoder = Imported("store")
    assert (encoder.gives, encoder.channels, encoder.steps(8)) == (("frames", "visual"), 6, 3)
    assert len(encoder.spans(8)) == 3
    with pytest.raises(ValueError, match=r"made elsewhere \(m\)"):
        encoder(torch.zeros(1, 2, 3, 32, 32, dtype=torch.uint8))
    with pytest.raises(ValueError, match="reads frames and patches, but Imported"):
        SeveralNames(encoder, OTAM(), ["frames", "patches"])
    assert Prototype(encoder, OTAM()).encoder is encoder


def test_kinds_are_matched_by_themselves_and_added() -> None:
    rng = torch.Generator().manual_seed(0)
    a, b = (torch.randn(3, 5, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    b = 50 * b + 7
    found = join_similarities([a, b], torch.tensor([3.0, 1.0]))
    for e in range(3):
        for q in range(5):
            want = np.zeros(4)
            for x, w in ((a, 0.75), (b, 0.25)):
                row = x[e, q].numpy()
                want += w * (row - row.mean()) / row.std()
            assert found[e, q].numpy() == pytest.approx(want)
    same = join_similarities([a, torch.ones_like(b)], torch.tensor([1.0, 1.0]))
    assert bool((same.argmax(-1) == a.argmax(-1)).all())
    assert join_similarities([a, b], torch.tensor([1.0, 1.0]), False).numpy() == pytest.approx((a + b).numpy() / 2)


def test_several_names_are_tested_together(place: dict[str, Any]) -> None:
    run("import-features features.npz --names videos.csv --made-by m -o store")
    encoder = Imported("store")
    for weights in ([1.0], [1.0, -1.0], [0.0, 0.0]):
        with pytest.raises(ValueError, match="none negative and not all zero"):
            SeveralNames(encoder, FrameMean(), ["frames", "text"], weights)
    run(f"test --run both -c method/several_names {PARTS} --data.ways 2 --data.test_episodes 20")
    assert json.loads(Path("both/results/test_2way_1shot/results.json").read_text())["accuracy"] > 0.9


def test_what_cannot_be_read_is_refused(place: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    visual = place["visual"]
    broken = visual.copy()
    broken[5, 1, 2] = np.nan
    zero = visual.copy()
    zero[7] = 0
    cases: dict[str, tuple[dict[str, Any], str]] = {
        "count": ({"visual": visual[:-1]}, "35 rows, but the table names 36 clips"),
        "nan": ({"visual": broken}, "visual of 1/1.mp4 (row 5) is not finite"),
        "large": ({"visual": visual + 1e300}, "is not finite in float32"),
        "zero": ({"visual": zero}, "(row 7) is all zeros"),
        "shape": ({"visual": visual[..., None]}, "expected numbers of shape (clips, steps, channels)"),
        "type": ({"visual": np.array(["a"] * 36)}, "expected numbers"),
        "name": ({"patches": visual}, "needs another name"),
        "objects": ({"visual": np.array([None] * 36)}, "expected plain arrays"),
        "none": ({}, "holds no array"),
    }
    for name, (arrays, said) in cases.items():
        np.savez(f"{name}.npz", **arrays)
        with pytest.raises(SystemExit) as end:
            run(f"import-features {name}.npz --names videos.csv --made-by m -o store")
        assert said in f"{end.value}", name
    assert not Path("store").exists()
    Path("text.npz").write_text("visual")
    Path("twice.csv").write_text("file,label\n" + "a.mp4,x\n" * 36)
    for line, said in {
        "features.npz --names twice.csv --made-by m -o store": "stands in twice.csv, row 2 already",
        "features.npz --names videos.csv --made-by m --frames sound -o store": "holds visual, text",
        "features.npz --names videos.csv --made-by ' ' -o store": "say which model",
        "features.bin --names videos.csv --made-by m -o store": "ends in .npz or .safetensors",
        "text.npz --names videos.csv --made-by m -o store": "text.npz is no .npz archive",
        "none_here.npz --names videos.csv --made-by m -o store": "there is no file",
    }.items():
        with pytest.raises(SystemExit) as end:
            run(f"import-features {line}")
        assert said in f"{end.value}{capsys.readouterr().err}"
    same = visual.copy()
    same[9] = same[0]
    np.savez("same.npz", visual=same)
    run("import-features same.npz --names videos.csv --made-by m -o store")
    assert "2/1.mp4 with those of 0/0.mp4; 1 of another class" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        run("import-features same.npz --names videos.csv --made-by m -o store")
    assert "holds imported features already" in f"{end.value}"


def test_another_encoder_and_damage_are_refused(place: dict[str, Any]) -> None:
    run("import-features features.npz --names videos.csv --made-by m -o store")
    with pytest.raises(SystemExit) as end:
        run(
            "test --run r -c method/prototype -c store/data.yaml --model.encoder encoder/tiny --data.ways 2 "
            "--data.test_episodes 2 --trainer.accelerator cpu"
        )
    assert "Give --model.encoder store/encoder.yaml" in f"{end.value}"
    file = next(Path("store").glob("all-*/visual.npy"))
    content = bytearray(file.read_bytes())
    content[-5] ^= 255
    file.write_bytes(content)
    with pytest.raises(SystemExit) as end:
        run(f"test --run r -c method/prototype {PARTS} --data.ways 2 --data.test_episodes 30")
    assert "does not hold what was written" in f"{end.value}"
