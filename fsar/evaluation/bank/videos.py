"""What a method keeps of every video."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.nn.functional import embedding_bag, normalize

from episodes.clips import Features, Streams
from episodes.episode import IndexEpisode, VideoBatch
from fsar.encoders.tower.text_tower import TextTooLong
from fsar.evaluation.bank.shelf import Shelf, gather, roomy_device
from fsar.method import Method, Parts

Keep = Callable[[Tensor, Features], None]
GROUP_BYTES = 3 * 2**23
"""Largest tensor of features that a CPU looks up at a time. Blocks of 32 MB and more come from the operating system and
are cleared anew at every allocation, which makes scoring twice as slow."""


class VideoBank:
    """What a method keeps of each video of one split, in both roles, addressed by video number.

    Args:
        method: asked for the parts of each video.
        keep_on: where the parts are kept; ``None`` for the method's device as long as a quarter of its memory is
            free, else the host's memory.
        keep: gets numbers ``(b)`` and features of videos that were encoded from pixels, as for a cache.
        floor: also compare the videos with their classes' names, for :meth:`zero_shot`. Without it names are read by
            methods that need them alone, and may be of any length for the others.
        means: also keep the unit means of the videos' frames as the encoder gives them, for :meth:`mean_frames`.
    """

    def __init__(
        self,
        method: Method,
        keep_on: torch.device | None = None,
        floor: bool = True,
        keep: Keep | None = None,
        means: bool = False,
    ) -> None:
        self.method, self.floor, self.keep, self.keep_on, self.keep_means = method, floor, keep, keep_on, means
        self.beside: VideoBank | None = None  # gets the same features, of a method whose encoder gives the same
        self.averages_shots: bool = getattr(method, "averages_shots", False)
        self._roles = ("query",) if getattr(method, "same_in_both_roles", False) else ("query", "support")
        self.forwards = 0  # clips encoded, by all processes once the bank is closed
        self._shelf, self._names = Shelf(), dict[str, list[str]]()  # names of the parts by role
        self.cosines: Tensor | None = None  # (v C) of each video's mean frame with the text of each class
        self._means: Tensor | None = None  # (v d)
        self._row = torch.empty(0, dtype=torch.int64)
        self._bank: dict[str, Parts] = {}
        self.scored_views = 0  # of every video, each scored by itself; 0: one clip of each, or the mean of its views
        self.text = torch.empty(0, 0)  # (C d), see Method.class_text

    @torch.no_grad()
    def add(self, batch: VideoBatch) -> None:
        """Encode the videos of a batch, or go on from what was stored of them, and keep their parts."""
        if not len(self.text):
            self.text = self.method.class_text(batch.class_names)
        text = self.text[batch.classes]
        clips, both, views = batch.clips, self.method.text_conditioned, batch.views
        if views is not None:  # (b m *) as so many more clips
            clips, text = clips.map(lambda x: x.flatten(0, 1)), text.repeat_interleave(views.count, 0)
        features = self.method.features_of(clips)
        support_features = self.method.features_of(clips, text) if both else features
        each = (1 + both) * (1 if views is None else views.count)
        self.forwards += 0 if isinstance(clips, Features) else len(batch.videos) * each
        place = self.keep_on or roomy_device(features["frames"])
        apart = features if views is None else features.map(lambda x: x.unflatten(0, (-1, views.count)))
        if self.beside is not None:
            self.beside.add(replace(batch, clips=apart))
        if self.keep is not None and isinstance(clips, Streams):
            self.keep(batch.videos, apart)
        means = features if views is None else apart.map(lambda x: x.mean(1))
        numbers, rows = batch.videos, 1
        if views is not None and views.average == "scores":
            rows = self.scored_views = views.count
            numbers = (batch.videos[:, None] * rows + torch.arange(rows, device=batch.videos.device)).flatten()
        cosines = text_cosines(self.method, means, batch.class_names) if self.floor else None
        self.floor = cosines is not None  # what cannot be had of one batch cannot be had of the next
        if cosines is not None:
            self._shelf.add("cosines", cosines.repeat_interleave(rows, 0).to(place))
        if self.keep_means:
            unit = normalize(means["frames"].mean(-2).float(), dim=-1)
            self._shelf.add("means", unit.repeat_interleave(rows, 0).to(place))
        if views is not None and views.average == "features":
            mean = support_features.map(lambda x: x.unflatten(0, (-1, views.count)).mean(1))
            features, support_features, text = means, mean, self.text[batch.classes]
        made = {"query": self.method.query_parts(features)}
        if "support" in self._roles:
            made["support"] = self.method.support_parts(support_features, text)
        self._shelf.add("videos", numbers.to(place))
        for role, parts in made.items():
            self._names[role] = list(parts)
            for name, value in parts.items():
                self._shelf.add(f"{role} {name}", value.to(place))

    def close(self) -> None:
        """Join the batches, and over processes the shares of all ranks, so that any episode can be looked up."""
        if not self._names:
            raise RuntimeError("no video was encoded on this process; evaluate with fewer processes than videos.")
        shelf, self._shelf = self._shelf, Shelf()
        videos = gather(shelf.take("videos"))
        for role, names in self._names.items():
            self._bank[role] = {name: gather(shelf.take(f"{role} {name}")) for name in names}
        self._bank.setdefault("support", self._bank["query"])
        self.cosines = gather(shelf.take("cosines")) if "cosines" in shelf.rows else None
        self._means = gather(shelf.take("means")) if self.keep_means else None
        self._row = torch.full((int(videos.max()) + 1,), -1, dtype=torch.int64, device=videos.device)
        self._row[videos] = torch.arange(len(videos), device=videos.device)
        self._names = {}
        self.forwards = int(gather(torch.tensor([self.forwards])).sum())

    @property
    def closed(self) -> bool:
        """Whether episodes can be looked up."""
        return bool(self._bank)

    @property
    def videos(self) -> list[int]:
        """Numbers of the videos that it holds, once it is closed."""
        return ((self._row >= 0).nonzero().flatten()[:: self.scored_views or 1] // (self.scored_views or 1)).tolist()

    def view(self, videos: Tensor, number: int | None = None) -> Tensor:
        """Under which numbers one view of videos ``(...)`` is kept where each is scored by itself; the middle one."""
        count = self.scored_views
        return videos if not count else videos * count + (count // 2 if number is None else number)

    def look_up(self, role: str, videos: Tensor, device: torch.device) -> Parts:
        """Parts of the videos ``(... v)`` in the role of ``query`` or ``support``: each ``(... v *)`` on ``device``.

        Raises:
            RuntimeError: when a video was not encoded.
        """
        rows = self._rows(videos)
        # index_select copies whole videos at once: several times faster than indexing with a tensor
        found = {n: x.index_select(0, rows.flatten()).unflatten(0, rows.shape) for n, x in self._bank[role].items()}
        return {name: value.to(device, non_blocking=True) for name, value in found.items()}

    def mean_frames(self, videos: Tensor, device: torch.device) -> Tensor:
        """Unit means ``(... d)`` of the frames of videos ``(...)``, where they are kept."""
        assert self._means is not None
        return self._means[self._rows(self.view(videos))].to(device)

    def _rows(self, videos: Tensor) -> Tensor:
        videos, last = videos.to(self._row.device), len(self._row) - 1
        rows = self._row[videos.clamp(max=last)]
        if bool(((rows < 0) | (videos > last)).any()):
            raise RuntimeError(
                "an episode names a video that was not encoded. Was the evaluation cut short by limit_val_batches or "
                "limit_test_batches? Use data.val_episodes or data.test_episodes for fewer episodes."
            )
        return rows

    def look_up_means(self, videos: Tensor, device: torch.device) -> Parts:
        """Means over the last axis of support videos ``(... n k)``: each ``(... n *)``, without a copy of the shots."""
        rows = self._rows(videos)
        bags = rows.flatten(0, -2)
        found = {n: embedding_bag(bags, x.flatten(1), mode="mean") for n, x in self._bank["support"].items()}
        shapes = {name: (*rows.shape[:-1], *x.shape[1:]) for name, x in self._bank["support"].items()}
        return {name: value.reshape(shapes[name]).to(device, non_blocking=True) for name, value in found.items()}

    def compared(self, episodes: IndexEpisode) -> tuple[Tensor, Tensor] | None:
        """The frames that the method's alignment compares, see :meth:`fsar.method.Method.compared`."""
        device = episodes.classes.device
        support, query = (
            self.look_up(role, self.view(getattr(episodes, role)), device) for role in ("support", "query")
        )
        return self.method.compared(support, query, episodes, self.text)

    def zero_shot(self, episodes: IndexEpisode) -> Tensor | None:
        """Cosines ``(e q n)`` of the queries with the class texts alone: the floor beside every result.

        None when the encoder has no text tower, or its features do not lie in the space of its text.
        """
        if self.cosines is None:
            return None
        found = self.cosines[self._rows(self.view(episodes.query))]  # (e q C)
        classes = episodes.classes.to(found.device)[:, None].expand(*episodes.query.shape, -1)
        return found.gather(-1, classes).to(episodes.classes.device)

    def group_size(self, episodes: IndexEpisode) -> int:
        """How many of the episodes a CPU scores at a time."""
        support = episodes.ways if self.averages_shots else episodes.support.shape[-1]
        clips = {"support": support, "query": episodes.query.shape[-1]}
        sizes = [clips[role] * x[0].nbytes for role, parts in self._bank.items() for x in parts.values()]
        return max(1, GROUP_BYTES // max(sizes, default=1))


def text_cosines(method: Method, features: Features, names: Sequence[str]) -> Tensor | None:
    """``(b C)`` cosines of the mean frames of ``b`` videos with class texts, or None without."""
    encoder, frames = method.encoder, features.get("tower", features["frames"])
    if encoder.text is None:
        return None
    try:
        text = encoder.text(names)
    except TextTooLong as error:  # the method itself may read none
        rank_zero_warn(f"no accuracy of the class names alone stands beside this one. {error}")
        return None
    if text.shape[-1] != frames.shape[-1]:
        return None
    return normalize(frames.mean(-2), dim=-1) @ normalize(text.to(frames.device), dim=-1).mT
