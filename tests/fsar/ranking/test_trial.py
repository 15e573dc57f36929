"""A head on one division: it is trained on training classes, chosen on validation classes, tested on test classes."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from episodes.clips import Features
from episodes.parts import TaskOptions
from episodes.splits import Split
from fsar.alignment import FrameMean
from fsar.commands.measure import rank
from fsar.methods import LinearProbe, Prototype
from fsar.ranking import (
    Gain,
    Kept,
    Pool,
    StoredEncoder,
    Trial,
    gain_table,
    probe_many_shots,
    read_trial,
    try_head,
    write_trial,
)

DIVISION = {"train": ["a", "b", "c"], "val": ["d", "e"], "test": ["f", "g", "h"]}
CPU = torch.device("cpu")


class Scale(nn.Module):
    """One weight for every channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


@pytest.fixture(scope="module")
def pool() -> Pool:
    """Eight classes that two of eight channels tell apart, the others are louder noise: which, can be learned."""
    generator = torch.Generator().manual_seed(0)
    angle = torch.arange(8).repeat_interleave(10) * torch.pi / 4
    clean = torch.stack([angle.cos(), angle.sin()], -1)[:, None, None].expand(-1, 1, 3, -1)
    noise = 1.5 * torch.randn(80, 1, 3, 6, generator=generator).mean(2, keepdim=True).expand(-1, -1, 3, -1)
    return Pool(split_of("all", tuple("abcdefgh"), 10), held=Features(frames=torch.cat([clean, noise], -1)))


def split_of(name: str, classes: tuple[str, ...], clips: int) -> Split:
    paths = tuple(f"{each}/{i}.mp4" for each in classes for i in range(clips))
    return Split(name, classes, paths, tuple(np.repeat(range(len(classes)), clips).tolist()), Path("/clips"))


def task(**options: int) -> TaskOptions:
    counts = {"train_episodes": 40, "val_episodes": 50, "test_episodes": 80}
    return TaskOptions(**{"ways": 3, "queries": 2, **counts, **options})  # type: ignore[arg-type]


def head() -> Prototype:
    torch.manual_seed(0)
    return Prototype(StoredEncoder(8), FrameMean(), Scale(8))


def test_a_head_learns_which_channels_count_and_the_rate_that_does_is_chosen(pool: Pool) -> None:
    found = try_head(head, pool, DIVISION, task(), [1e-6, 3e-2], CPU)
    assert found.rate == 0.03
    assert found.validation["0.03"] > found.validation["1e-06"] + 0.05
    assert (found.after - found.before).mean() > 0.08
    assert found.before.shape == (80,)
    assert found.weights == 8
    assert found.kept_bytes > 0


def test_what_a_gradient_keeps_leaves_out_the_weights() -> None:
    layer, x = nn.Linear(4, 2, bias=False), torch.ones(3, 4, requires_grad=True)
    kept = Kept(layer)
    with kept:
        layer(x)
    assert sum(kept.sizes.values()) == x.nbytes


def test_test_classes_do_not_touch_training(pool: Pool) -> None:
    other = {**DIVISION, "test": ["h", "f"]}
    first, second = (try_head(head, pool, each, task(ways=2), [1e-2], CPU) for each in (DIVISION, other))
    assert first.validation == second.validation


def test_the_first_rate_is_taken_without_validation_classes(pool: Pool) -> None:
    assert try_head(head, pool, {**DIVISION, "val": []}, task(), [1e-3, 1e-2], CPU).rate == 1e-3


def test_what_trains_nothing_is_tested_once(pool: Pool) -> None:
    found = try_head(lambda: Prototype(StoredEncoder(8), FrameMean()), pool, DIVISION, task(), [1e-2], CPU)
    assert found.before is found.after
    assert found.weights == found.rate == 0


def test_a_probe_of_many_shots_sees_what_the_features_hold(pool: Pool) -> None:
    many = probe_many_shots(LinearProbe(StoredEncoder(8), normalise=False), pool, DIVISION, task(), CPU)
    one = try_head(partial(LinearProbe, StoredEncoder(8)), pool, DIVISION, task(), [], CPU)
    assert many.after.mean() > one.after.mean() + 0.04


def trial(before: list[float], after: list[float]) -> Trial:
    return Trial(np.array(before), np.array(after), 0.1, {"0.1": 0.5}, 1234, 0.02, 0.001, 5_000_000, 0.5)


def test_gains_have_an_interval_over_episodes_and_one_over_divisions(tmp_path: Path) -> None:
    trials = [trial([0.2, 0.4], [0.4, 0.8]), trial([0.4, 0.4], [0.6, 0.4]), trial([0.0, 0.2], [0.4, 0.4])]
    found = Gain.of(trials)
    gains = np.array([0.2, 0.4, 0.2, 0.0, 0.4, 0.2])
    assert found.after - found.before == pytest.approx(100 * gains.mean())
    assert found.over_episodes == pytest.approx(100 * 1.96 * gains.std(ddof=1) / 6**0.5)
    assert found.over_divisions == pytest.approx(
        100 * 4.303 * np.std([0.3, 0.1, 0.3], ddof=1) * (1 / 3 + 1) ** 0.5, rel=1e-3
    )
    assert str(found) == "26.7 → 50.0, +23.3 ± 12.0 (± 57.4)"
    assert str(Gain.of(trials[:1])) == "30.0 → 60.0, +30.0 ± 19.6"
    assert str(Gain.of([trials[0], trial([0.2, 0.4], [0.5, 0.7])])) == "30.0 → 60.0, **+30.0** ± 8.0 (± 0.0)"
    same = trial([0.2, 0.4], [0.2, 0.4])
    assert str(Gain.of([same])) == "30.0 → 30.0, +0.0 ± 0.0"  # trained, to no avail
    assert str(Gain.of([replace(same, weights=0)])) == "30.0"
    write_trial(tmp_path / "one.json", trials[0])
    again = read_trial(tmp_path / "one.json")
    assert again.after.tolist() == [0.4, 0.8]
    assert again.validation == {"0.1": 0.5}
    lines = gain_table({"toy": {"head": trials}, "other": {"none": [again]}}).splitlines()
    assert lines[2] == f"| head | 1,234 | {found} |  | 20 | 1.0 | 5 |"


def test_the_command_writes_every_trial_and_makes_none_twice(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = {"class_path": "fsar.encoders.ImageEncoder", "init_args": {"model": "resnet18", "weights": None}}
    encoder["init_args"]["image_size"] = 32  # type: ignore[index]
    (tmp_path / "encoder.yaml").write_text(json.dumps(encoder))
    words = ["--data.benchmark", "episodes.splits.Folder", "--data.benchmark.init_args.root", str(clips)]
    words += ["--data.benchmark.init_args.seed", "0", "--data.ways", "2", "--data.queries", "1", "--data.frames", "4"]
    words += ["--data.test_episodes", "6", "--data.val_episodes", "4", "--data.workers", "0"]
    words += ["--encoder", str(tmp_path / "encoder.yaml"), "--out", str(tmp_path / "out"), "--views", "1"]
    words += ["--heads", "frame_mean", "cross_transformer", "--steps", "2", "--divisions", "2", "--components", "8"]
    rank.main([*words, "--sizes", "3", "3", "3"])
    said = capsys.readouterr().out
    assert said.count(", division 1, cross_transformer: ") == 1
    assert "| linear_probe, many shots |" in said
    assert len(list((tmp_path / "out").glob("*/*-*.json"))) == 6
    rank.main([*words, "--sizes", "3", "3", "3"])
    again = capsys.readouterr().out
    assert "division" not in again
    assert again.strip() in said
    with pytest.raises(SystemExit, match=r"its results were made with --data\.shots 1, not 2\. Give another --out"):
        rank.main([*words, "--sizes", "3", "3", "3", "--data.shots", "2"])
    with pytest.raises(SystemExit, match=r"made with clips, frames and encoder in the store all-\w+, not all-"):
        rank.main([*words, "--sizes", "3", "3", "3", "--data.test_sampler", "SegmentRandom"])
    with pytest.raises(SystemExit, match="2"):
        rank.main([f"{word}r" if word == "cross_transformer" else word for word in words])
    assert "--heads: there is no head 'cross_transformerr'; did you mean cross_transformer ?" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="two are called frame_mean, and their results would be kept as one"):
        rank.main(["own/frame_mean.yaml" if word == "cross_transformer" else word for word in words])
    next((tmp_path / "out").glob("*/settings.json")).unlink()
    with pytest.raises(SystemExit, match="what its results were made with is not known"):
        rank.main([*words, "--sizes", "3", "3", "3"])


def test_settings_of_a_call_that_made_nothing_are_forgotten(tmp_path: Path) -> None:
    rank.compare_settings(tmp_path, {"--steps": 1, "the head mine": "a"})
    rank.compare_settings(tmp_path, {"--steps": 2})
    assert json.loads((tmp_path / "settings.json").read_text()) == {"--steps": 2}
