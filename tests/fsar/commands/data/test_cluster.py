"""fsar cluster: a list that trains as any other, made of a store without a look at its labels."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from episodes.clips import Contents, Features, LowerHalf
from episodes.dataset import ClipDataset
from episodes.features import FeatureWriter
from episodes.frames import SegmentCentre
from episodes.splits import Split, Table
from episodes.transforms import ClipTransform
from fsar.commands.data.cluster import main

GROUPS, EACH = 3, 8


@pytest.fixture
def split(tmp_path: Path) -> Split:
    """Clips of two frames; each group has them in an order of its own, and the same mean."""
    for video in range(GROUPS * EACH):
        folder = tmp_path / "videos" / f"{video:02d}"
        folder.mkdir(parents=True)
        for frame in range(2):
            Image.new("L", (6, 5), 9 * video + frame).save(folder / f"{frame}.png")
    paths = tuple(f"{video:02d}" for video in range(GROUPS * EACH))
    return Split("train", ("a", "b"), paths, (0, 1) * (GROUPS * EACH // 2), tmp_path / "videos")


def store(root: Path, split: Split, contents: Contents | None = None) -> str:
    clips = ClipDataset(split, sampler=SegmentCentre(), transform=ClipTransform(4, resize_to=5), frames=2)
    writer = FeatureWriter(root, clips, "a" * 64, **({} if contents is None else {"contents": contents}))
    kind, name = (Features, "frames") if contents is None else (LowerHalf, "layer 1")
    g, axes = torch.Generator().manual_seed(0), torch.eye(4)
    orders = torch.stack([axes[[0, 1]], axes[[1, 0]], axes[[2, 3]]])
    features = orders.repeat_interleave(EACH, 0) + 0.02 * torch.randn(GROUPS * EACH, 2, 4, generator=g)
    for chunk in writer.pending():
        start = chunk * 16
        writer.write(chunk, kind({name: features[start : start + 16, None]}))
    return str(writer.finish().folder)


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open() as opened:
        return list(csv.DictReader(opened))


def test_clusters_become_classes_that_a_table_reads(
    split: Split, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "lists" / "clusters.csv"
    main([store(tmp_path, split), "--clusters", "3", "--out", str(out)])
    assert "24 of 24 clips in 3 clusters of 8 to 8" in capsys.readouterr().out
    rows = rows_of(out)
    assert [len({row["label"] for row in rows[i : i + EACH]}) for i in range(0, 24, EACH)] == [1, 1, 1]
    assert len({row["label"] for row in rows}) == 3
    read = Table(out, root=split.root).load().split("train")
    assert sorted(read.paths) == sorted(split.paths)


def test_means_do_not_tell_orders_apart_and_small_clusters_are_left_out(
    split: Split, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = store(tmp_path, split)
    main([folder, "--clusters", "2", "--out", str(tmp_path / "mean.csv"), "--by", "mean"])
    assert "in 2 clusters of 8 to 16" in capsys.readouterr().out
    main([folder, "--clusters", "4", "--out", str(tmp_path / "some.csv"), "--least", "8"])
    assert "16 of 24 clips in 2 clusters" in capsys.readouterr().out
    assert len(rows_of(tmp_path / "some.csv")) == 16


def test_a_name_that_is_no_utf_8_stands_in_json_lines(split: Split, tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    (split.root / "00").rename(split.root / odd)
    split = replace(split, paths=(odd, *split.paths[1:]))
    words = [store(tmp_path, split), "--clusters", "3", "--out"]
    with pytest.raises(SystemExit, match=r"caf\\udce9 is no UTF-8, as a CSV must be: give --out .*/some\.jsonl"):
        main([*words, str(tmp_path / "some.csv")])
    main([*words, str(tmp_path / "some.jsonl")])
    read = Table(tmp_path / "some.jsonl", root=split.root).load().split("train")
    assert sorted(read.paths) == sorted(split.paths)


def test_what_cannot_be_clustered_is_told(split: Split, tmp_path: Path) -> None:
    folder = store(tmp_path, split)
    wrong = {
        "clusters must be from 2 to 24": ["--clusters", "99"],
        "fewer --clusters": ["--clusters", "3", "--least", "9"],
    }
    for message, words in wrong.items():
        with pytest.raises(SystemExit, match=message):
            main([folder, "--out", str(tmp_path / "a.csv"), *words])
    layers = store(tmp_path / "halves", split, Contents(LowerHalf, ("layer 1",)))
    with pytest.raises(SystemExit, match="holds layer 1, but clusters are made of finished frames"):
        main([layers, "--clusters", "3", "--out", str(tmp_path / "a.csv")])
    assert not (tmp_path / "a.csv").exists()
