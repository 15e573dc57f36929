"""Data loaders that name the video they could not read, and go on where training was stopped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from episodes.episode import Episode
from episodes.sampler import StridedSampler
from episodes.video import VideoError


class ClipLoader(DataLoader[Any]):
    """A data loader that says in one line which video a worker could not read."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        try:
            yield from super().__iter__()
        except VideoError as error:  # from a worker it comes with the worker's whole traceback as its message
            raise VideoError(str(error).rpartition("VideoError: ")[2].strip()) from None


class EpisodeLoader(ClipLoader):
    """Batches of training episodes ``(e s *clip)`` that go on in the middle of an epoch when training is resumed.

    Lightning stores ``state_dict`` in a checkpoint. It also asks for an iterator before it tells the sampler which
    epoch it is, and workers would at once begin to read the wrong episodes; here reading begins with the first batch.
    """

    sampler: StridedSampler
    _resume: tuple[int, int] = (-1, 0)
    _given = 0

    def __iter__(self) -> Iterator[Episode]:  # type: ignore[override]
        epoch, batches = self._resume
        self._given = batches if epoch == self.sampler.epoch else 0
        self._resume = (-1, 0)
        self.sampler.skip = self._given * (self.batch_size or 1)
        for batch in super().__iter__():
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The epoch, and how many of its batches were given; what was loaded, as long as nothing was given since."""
        epoch, batches = (self.sampler.epoch, self._given) if self._resume[0] < 0 else self._resume
        return {"epoch": epoch, "batches": batches}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Leaves out those batches when that epoch is begun again."""
        self._resume = (state["epoch"], state["batches"])
