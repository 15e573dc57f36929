"""Checkpoints are whole or not there, and one that was damaged afterwards is told from one that is whole."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.strategies import Strategy

from episodes.files import write_atomically


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints beside their place and renames them, so that the former one stays until the new one is whole.

    Lightning's own way is to write into the temporary folder; where that is another file system the file is then copied
    over the former one, and a process that is killed meanwhile, or a full disk, leaves neither.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path) as part, part.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # torch's for whatever the file raised
                raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        if Path(path).is_file():
            check_whole(Path(path))
        return super().load_checkpoint(path, *args, **kwargs)


def write_whole(strategy: Strategy) -> None:
    """Let a strategy use :class:`WholeCheckpoints`, unless the user chose another way or it has its own."""
    if type(strategy.checkpoint_io) is TorchCheckpointIO:
        strategy.checkpoint_io = WholeCheckpoints()


def check_whole(path: Path) -> None:
    """Read a checkpoint's checksums, which ``torch.load`` does not.

    Raises:
        ValueError: when it is damaged; it names the newest in the same folder that is whole.
    """
    if not (reason := find_damage(path)):
        return
    others = sorted(path.parent.glob("*.ckpt"), key=lambda other: other.stat().st_mtime_ns, reverse=True)
    whole = next((other for other in others if other != path and not find_damage(other)), None)
    advice = "no other checkpoint in its folder is whole" if whole is None else f"go on from {whole}, which is whole"
    raise ValueError(f"{path} is damaged: {reason}; {advice}.")


def find_damage(path: Path) -> str:
    """What is wrong with the file of a checkpoint; "" when nothing is, or when it never was one of ``torch.save``."""
    size = path.stat().st_size
    if size == 0:
        return "it is empty (0 bytes)"
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            head = file.read(4)
        if head == b"PK\x03\x04":
            return f"its end is missing, there are {size:,} bytes"
        return "" if head.strip(b"\0") else "it begins with zeros"
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError) as error:
        return str(error) or "it breaks off"
    return f"the bytes of {bad} are not those that were written" if bad else ""
