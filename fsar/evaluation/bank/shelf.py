"""Tensors that grow batch by batch: in memory, and where they grow beyond it in a file that is mapped into it.

What is mapped is read where it is needed and let go by the system when memory is short, so that a bank of any number of
videos takes as much memory as there is. The file has no name: nothing is left of it, however the process ends. It lies
in the folder of temporary files, which ``TMPDIR`` names; where that is memory itself, nothing is gained.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np
import torch
import torch.distributed as dist
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

LIMIT_VARIABLE = "FSAR_BANK_MEMORY"
"""Names the bytes that may be held before they go to disk; half of the memory that is available by default."""
MEMINFO = Path("/proc/meminfo")
GROUP = Path("/sys/fs/cgroup")


class Shelf:
    """Tensors by key, each ``(v *)`` and longer by ``b`` rows with every :meth:`add`.

    Args:
        limit: bytes of the host's memory that may be held, in all; see :data:`LIMIT_VARIABLE`.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = memory_limit() if limit is None else limit
        self.held = 0
        self.rows: dict[str, list[Tensor]] = {}
        self.files: dict[str, IO[bytes]] = {}
        self.kinds: dict[str, tuple[torch.dtype, Sequence[int]]] = {}

    @property
    def on_disk(self) -> bool:
        """Whether something is in a file."""
        return bool(self.files)

    def add(self, key: str, rows: Tensor) -> None:
        """Put ``rows (b *)`` behind those that are there.

        Raises:
            OSError: when the disk is full.
        """
        self.rows.setdefault(key, []).append(rows)
        self.held += rows.nbytes if rows.device.type == "cpu" else 0
        if self.held > self.limit or key in self.files:
            if not self.files:
                rank_zero_info(
                    f"more than {self.limit / 1e6:,.0f} MB are kept of the videos: a temporary file takes them."
                )
            for each in self.rows:
                self._write(each)

    def take(self, key: str) -> Tensor:
        """All rows ``(v *)`` of a key, in the order in which they came; they are let go here."""
        if key not in self.files:
            return torch.cat([*self._taken(key)])
        self._write(key)
        dtype, shape = self.kinds[key]
        with self.files.pop(key) as file:  # what is mapped stays when it is closed
            file.flush()
            mapped = np.memmap(file, np.uint8, "r+")
        return torch.from_numpy(mapped).view(dtype).view(-1, *shape)

    def __del__(self) -> None:
        for file in self.files.values():
            file.close()

    def _taken(self, key: str) -> list[Tensor]:
        rows = self.rows[key]
        self.rows[key] = []
        place = min((x.device for x in rows), key=str)  # "cpu" before "cuda": the host once it had to be used
        return [x.to(place) for x in rows]

    def _write(self, key: str) -> None:
        """Write what is held of a key to its file."""
        rows = self.rows[key]
        if key not in self.files and all(x.device.type != "cpu" for x in rows):
            return
        if key not in self.files:
            self.files[key] = tempfile.TemporaryFile(prefix="fsar-bank-")  # noqa: SIM115  # as long as it is mapped
            self.kinds[key] = (rows[0].dtype, rows[0].shape[1:])
        for x in rows:
            self.files[key].write(x.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
            self.held -= x.nbytes if x.device.type == "cpu" else 0
        self.rows[key] = []


def memory_limit() -> int:
    """Bytes that a bank may hold: as named, else half of what is available to this process."""
    if named := os.environ.get(LIMIT_VARIABLE):
        try:
            return int(float(named))
        except ValueError:
            raise ValueError(f"{LIMIT_VARIABLE} must be a number of bytes, found {named!r}.") from None
    return available_memory() // 2


def available_memory() -> int:
    """Bytes that this process could take: of the machine, and of its group's limit where there is one."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    with suppress(OSError, ValueError, StopIteration):
        lines = MEMINFO.read_text().splitlines()
        found.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    with suppress(OSError, ValueError):  # "max" is no number: there is no limit
        found.append(int((GROUP / "memory.max").read_text()) - int((GROUP / "memory.current").read_text()))
    return max(0, min(found))


def roomy_device(features: Tensor) -> torch.device:
    """The features' own device while a quarter of its memory is free, else the host."""
    if features.device.type != "cuda":
        return features.device
    free, total = torch.cuda.mem_get_info(features.device)
    return features.device if free > total / 4 else torch.device("cpu")


def gather(x: Tensor) -> Tensor:
    """``x (v *)`` of every rank, one after the other: ``(sum of v *)``. Shares may differ in length."""
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return x
    device = x.device
    if dist.get_backend() == "nccl":
        x = x.cuda()
    lengths = [torch.zeros(1, dtype=torch.int64, device=x.device) for _ in range(dist.get_world_size())]
    dist.all_gather(lengths, torch.tensor([len(x)], device=x.device))
    longest = int(max(lengths))
    padded = torch.zeros((longest, *x.shape[1:]), dtype=x.dtype, device=x.device)
    padded[: len(x)] = x
    shares = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(shares, padded)
    return torch.cat([share[: int(length)] for share, length in zip(shares, lengths, strict=True)]).to(device)
