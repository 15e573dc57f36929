"""Tensors that grow: the same in memory and in a file, which leaves nothing behind."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch

from episodes.clips import Features
from episodes.episode import IndexEpisode, VideoBatch
from fsar.alignment import OTAM
from fsar.evaluation.bank import VideoBank, score_episodes, shelf
from fsar.evaluation.bank.shelf import LIMIT_VARIABLE, Shelf, available_memory, memory_limit
from fsar.methods import Prototype
from tests.fsar.methods.vision_only.conftest import NoEncoder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
@pytest.mark.parametrize("limit", [0, 100, 10**9])
def test_a_file_gives_what_memory_gives(folder: Path, dtype: torch.dtype, limit: int) -> None:
    held, parts = Shelf(limit), [torch.randn(count, 3, 2).mul(100).to(dtype) for count in (2, 1, 4, 3)]
    for x in parts:
        held.add("a", x)
        held.add("b", x[..., :1].mT)  # not contiguous
    assert held.on_disk == (limit < 1000)
    assert torch.equal(held.take("a"), torch.cat(parts))
    assert torch.equal(held.take("b"), torch.cat([x[..., :1].mT for x in parts]))
    assert not list(folder.iterdir())


def test_what_is_held_stays_below_the_limit(folder: Path) -> None:
    held, most = Shelf(4000), 0
    for _ in range(50):
        held.add("a", torch.zeros(5, 20))
        most = max(most, held.held)
        assert not (held.on_disk and held.held)  # once it goes to a file, all of it does
    assert most <= 4000
    assert held.take("a").shape == (250, 20)


def test_the_limit_is_half_of_what_there_is_unless_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 99 kB\nMemAvailable:     10 kB\n")
    monkeypatch.setattr(shelf, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(shelf, "GROUP", tmp_path)
    assert available_memory() == 10_240
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert memory_limit() == 2000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_limit() == 5120
    monkeypatch.setenv(LIMIT_VARIABLE, "3e3")
    assert memory_limit() == 3000
    monkeypatch.setenv(LIMIT_VARIABLE, "much")
    with pytest.raises(ValueError, match="FSAR_BANK_MEMORY must be a number of bytes, found 'much'"):
        memory_limit()


def test_episodes_are_scored_alike_from_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = Prototype(NoEncoder(8), OTAM())
    features, labels = torch.randn(12, 4, 8), torch.arange(12) % 3
    numbers = torch.arange(12).view(4, 3)
    episode = IndexEpisode(
        support=numbers[:2].mT.reshape(1, 6),
        query=numbers[2:].mT.reshape(1, 6),
        support_labels=torch.arange(3).repeat_interleave(2)[None],
        query_labels=torch.arange(3).repeat_interleave(2)[None],
        classes=torch.arange(3)[None],
        class_names=("a", "b", "c"),
        number=torch.tensor([0]),
    )
    scores = []
    for limit in ("1e9", "0"):
        monkeypatch.setenv(LIMIT_VARIABLE, limit)
        bank = VideoBank(method)
        for some in torch.arange(12).split(5):
            bank.add(VideoBatch(some, Features(frames=features[some]), labels[some], ("a", "b", "c")))
        assert bank._shelf.on_disk == (limit == "0")
        scores.append(score_episodes(bank, episode).logits)
    assert torch.equal(*scores)
