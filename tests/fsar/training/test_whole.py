"""Checkpoints are written whole or not at all, and damage is seen before anything goes on from it."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from fsar.commands.train.fit import main
from fsar.sharing.run import read_checkpoint
from fsar.training.whole import WholeCheckpoints, check_whole, find_damage

CONTENT = {"state_dict": {"weight": torch.arange(5000.0), "bias": torch.ones(3)}, "epoch": 3}


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FSAR_RUN", raising=False)
    monkeypatch.setattr(sys, "argv", ["fsar"])


@pytest.fixture(scope="module")
def trained(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch, written without the temporary folder."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder / "none"))
        patch.setattr(TorchCheckpointIO, "save_checkpoint", None)  # Lightning's own way, which uses it
        fit(config, folder)
    return folder


def fit(config: Path, folder: Path, *options: str) -> None:
    main(["fit", "--debug", "--run", str(folder), "-c", str(config), "--data.check_videos", "false", *options])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_full_disk_leaves_the_former_checkpoints_and_one_error(
    trained: Path, config: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    resource = pytest.importorskip("resource")
    shutil.copytree(trained, tmp_path / "run")
    former = contents(tmp_path / "run/checkpoints")
    assert set(former) == {"best.ckpt", "last.ckpt"}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(former["last.ckpt"]) // 2, limits[1]))  # a write fails midway
    last = Path("run/checkpoints/last.ckpt")
    try:
        with pytest.raises(OSError, match=r"\.ckpt stays as it was before") as raised:
            fit(config, Path("run"), "--trainer.max_epochs", "2", "--ckpt_path", str(last))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.errno == errno.EFBIG
    assert contents(tmp_path / "run/checkpoints") == former
    assert "what was learned since the last checkpoint cannot be kept" in caplog.messages[-2]
    assert f"--ckpt_path {last}" in caplog.messages[-1]


@pytest.mark.parametrize("raised", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()])
def test_the_former_is_whole_at_every_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException
) -> None:
    path, save = tmp_path / "made" / "last.ckpt", torch.save
    WholeCheckpoints().save_checkpoint(CONTENT, path)
    former = contents(path.parent)

    def broken_off(content: Any, file: Any) -> None:
        file.write(b"PK\3\4 a half")
        file.flush()
        assert path.read_bytes() == former["last.ckpt"]  # what a process that is killed now leaves
        raise raised

    monkeypatch.setattr(torch, "save", broken_off)
    with pytest.raises(type(raised)):
        WholeCheckpoints().save_checkpoint({"state_dict": {}}, path)
    assert contents(path.parent) == former
    monkeypatch.setattr(torch, "save", save)
    WholeCheckpoints().save_checkpoint({**CONTENT, "epoch": 4}, path)
    assert WholeCheckpoints().load_checkpoint(path, weights_only=True)["epoch"] == 4


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda content: b"", r"it is empty \(0 bytes\)"),
    "truncated": (lambda content: content[: len(content) // 2], r"its end is missing, there are [\d,]+ bytes"),
    "one byte short": (lambda content: content[:-1], "its end is missing"),
    "end zeroed": (lambda content: content[:-512] + bytes(512), "its end is missing"),
    "head zeroed": (lambda content: bytes(512) + content[512:], "the bytes of .* are not those"),
    "all zeroed": (lambda content: bytes(len(content)), "it begins with zeros"),
    "a bit flipped": (flip, "the bytes of .* are not those that were written"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_damage_is_told_and_what_is_whole_is_named(case: str, tmp_path: Path) -> None:
    damage, message = DAMAGES[case]
    for age, name in enumerate(("last", "older", "newer")):
        WholeCheckpoints().save_checkpoint(CONTENT, tmp_path / f"{name}.ckpt")
        os.utime(tmp_path / f"{name}.ckpt", (age, age))
    bad = tmp_path / "last.ckpt"
    check_whole(bad)
    bad.write_bytes(damage(bad.read_bytes()))
    expected = rf"last\.ckpt is damaged: {message}.*; go on from {tmp_path}/newer\.ckpt, which is whole"
    for read in (check_whole, read_checkpoint, WholeCheckpoints().load_checkpoint):
        with pytest.raises(ValueError, match=expected):
            read(bad)
    for name in ("older", "newer"):
        (tmp_path / f"{name}.ckpt").write_bytes(b"")
    with pytest.raises(ValueError, match="no other checkpoint in its folder is whole"):
        check_whole(bad)


def test_what_never_was_a_checkpoint_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "notes.ckpt").write_text("notes")
    assert find_damage(tmp_path / "notes.ckpt") == ""


def test_a_resume_from_a_damaged_file_names_the_whole_one(trained: Path, config: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    last = Path("run/checkpoints/last.ckpt")
    os.truncate(last, 0)
    with pytest.raises(ValueError, match=r"last\.ckpt is damaged.*go on from run/checkpoints/best\.ckpt"):
        fit(config, Path("run"), "--trainer.max_epochs", "2", "--ckpt_path", str(last))
