"""Encode every video once, then score any number of episodes on what was kept.

Released code decodes and encodes every clip of every test episode again. Here the first data loader of an evaluation
gives each needed video of the split once and :class:`VideoBank` keeps what the method wants of it; the second gives
batches of episodes whose clips are video numbers, and :func:`score_episodes` looks their features up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.nn.functional import embedding_bag, normalize

from episodes.clips import Clips, Contents, Features, LowerHalf, Streams
from episodes.episode import IndexEpisode, VideoBatch
from fsar.encoders.tower.seen import layers_among
from fsar.encoders.tower.text_tower import TextTooLong
from fsar.encoders.weights.state import hash_tensors
from fsar.evaluation.shelf import Shelf, gather, roomy_device
from fsar.method import Method, Parts, Scores

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
        self.text = torch.empty(0, 0)  # (C d), see Method.class_text

    @torch.no_grad()
    def add(self, batch: VideoBatch) -> None:
        """Encode the videos of a batch, or go on from what was stored of them, and keep their parts."""
        if not len(self.text):
            self.text = self.method.class_text(batch.class_names)
        text = self.text[batch.classes]
        clips, both = batch.clips, self.method.text_conditioned
        features = self.method.features_of(clips)
        if self.beside is not None:
            self.beside.add(replace(batch, clips=features))
        support_features = self.method.features_of(clips, text) if both else features
        self.forwards += 0 if isinstance(clips, Features) else len(batch.videos) * (1 + both)
        place = self.keep_on or roomy_device(features["frames"])
        if self.keep is not None and isinstance(clips, Streams):
            self.keep(batch.videos, features)
        self._shelf.add("videos", batch.videos.to(place))
        cosines = text_cosines(self.method, features, batch.class_names) if self.floor else None
        self.floor = cosines is not None  # what cannot be had of one batch cannot be had of the next
        if cosines is not None:
            self._shelf.add("cosines", cosines.to(place))
        if self.keep_means:
            self._shelf.add("means", normalize(features["frames"].mean(-2).float(), dim=-1).to(place))
        made = {"query": self.method.query_parts(features)}
        if "support" in self._roles:
            made["support"] = self.method.support_parts(support_features, text)
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
        return (self._row >= 0).nonzero().flatten().tolist()

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
        return self._means[self._rows(videos)].to(device)

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
        support, query = (self.look_up(role, getattr(episodes, role), device) for role in ("support", "query"))
        return self.method.compared(support, query, episodes, self.text)

    def zero_shot(self, episodes: IndexEpisode) -> Tensor | None:
        """Cosines ``(e q n)`` of the queries with the class texts alone: the floor beside every result.

        None when the encoder has no text tower, or its features do not lie in the space of its text.
        """
        if self.cosines is None:
            return None
        found = self.cosines[self._rows(episodes.query)]  # (e q C)
        classes = episodes.classes.to(found.device)[:, None].expand(*episodes.query.shape, -1)
        return found.gather(-1, classes).to(episodes.classes.device)

    def group_size(self, episodes: IndexEpisode) -> int:
        """How many of the episodes a CPU scores at a time."""
        support = episodes.ways if self.averages_shots else episodes.support.shape[-1]
        clips = {"support": support, "query": episodes.query.shape[-1]}
        sizes = [clips[role] * x[0].nbytes for role, parts in self._bank.items() for x in parts.values()]
        return max(1, GROUP_BYTES // max(sizes, default=1))


@torch.no_grad()
def score_episodes(bank: VideoBank, episodes: IndexEpisode) -> Scores:
    """Scores of a batch of episodes whose ``support (e s)`` and ``query (e q)`` are video numbers in the bank."""
    if not bank.closed:
        bank.close()
    count = len(episodes.number)
    size = bank.group_size(episodes) if episodes.classes.device.type == "cpu" else count
    if size >= count:
        return _score(bank, episodes)
    groups = [_score(bank, _some(episodes, start, size)) for start in range(0, count, size)]
    return Scores(torch.cat([g.logits for g in groups]), torch.cat([g.few_shot for g in groups]))


def _some(episodes: IndexEpisode, start: int, count: int) -> IndexEpisode:
    return episodes.map(lambda x: x[start : start + count])


def _score(bank: VideoBank, episodes: IndexEpisode) -> Scores:
    device, ways = episodes.classes.device, episodes.ways
    query = bank.look_up("query", episodes.query, device)
    shots, rest = divmod(episodes.support.shape[-1], ways)
    by_class = torch.arange(ways, device=device).repeat_interleave(shots)
    if bank.averages_shots and shots > 1 and not rest and bool((episodes.support_labels == by_class).all()):
        support = bank.look_up_means(episodes.support.unflatten(-1, (ways, shots)), device)
        labels = by_class[::shots].expand(*episodes.classes.shape)
        episodes = replace(episodes, support=episodes.support[..., ::shots], support_labels=labels)
    else:
        support = bank.look_up("support", episodes.support, device)
    return bank.method.checked(bank.method.score(support, query, episodes, bank.text), episodes)


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


def has_halves(method: Method) -> bool:
    """Whether a store keeps what the frozen half of the encoder gives, instead of whole features."""
    own = type(method).encode is not Method.encode or layers_among(method.needs)
    return bool(method.encoder.kept_layers) and not own


@torch.no_grad()
def to_store(method: Method, clips: Streams) -> Clips:
    """What a store keeps of clips, under :func:`feature_key`: what the encoder's frozen half gives, or the features
    that the method needs when it has no halves."""
    return method.encoder.below(clips) if has_halves(method) else method.encode(clips)


def contents(method: Method) -> Contents:
    """Kind and names of what :func:`to_store` gives."""
    if has_halves(method):
        return Contents(LowerHalf, tuple(f"layer {layer}" for layer in method.encoder.kept_layers))
    return Contents(Features, method.needs)


def feature_key(method: Method, training: bool = False) -> dict[str, Any]:
    """What turns a clip into what is stored for this method: its name in a feature store, as plain values.

    These are the encoder's name, the mean and deviation of its pixels, and a sha256 that covers these and the weights.
    An encoder with a frozen and a trained half has a key of the frozen half alone: training leaves it as it is, and
    methods that differ above share it.

    Args:
        method: asked for its encoder.
        training: what is stored is to take the place of pixels in training.

    Raises:
        ValueError: when nothing that could be stored would serve, because support clips are encoded together with their
            class's name, or because the encoder is trained from its first block on.
    """
    encoder = method.encoder
    about = {"mean": list(encoder.mean), "std": list(encoder.std)}
    if has_halves(method):
        return {"name": encoder.lower_identity, **about, "sha256": encoder.lower_fingerprint()}
    if method.text_conditioned:
        raise ValueError(method.store_refusal)
    if training and not encoder.frozen:
        raise ValueError(
            "data.features takes the place of pixels, but this encoder has no frozen lower half to store: it is "
            "trained from its first block on, or at its class embedding (D2STAdapter, unless tune_ends is false), or "
            "it is no ViT of open_clip or timm. Train the last blocks only (last of fsar.encoders.Adapted, tune of "
            "ClipEncoder), set tune to frozen, or leave out data.features."
        )
    digest = hashlib.sha256(encoder.fingerprint(trained=True).encode())
    if type(method).encode is not Method.encode:
        own = {name: x for name, x in method.state_dict().items() if not name.startswith("encoder.")}
        digest.update(f"{type(method).__qualname__} {hash_tensors(own)}".encode())
    return {"name": encoder.identity, **about, "sha256": digest.hexdigest()}


def cache_key(method: Method, device: torch.device, precision: str = "32-true") -> dict[str, Any] | None:
    """What turns a clip into features, where a cache of them can serve; None where they are not of the clip alone, or
    not of frozen weights that the encoder's hash covers.

    Args:
        method: asked for its encoder.
        device: it computes on.
        precision: of the trainer.
    """
    own = type(method).encode is not Method.encode
    if own or method.text_conditioned or not method.encoder.frozen or has_halves(method):
        return None
    needs = {} if tuple(method.needs) == Method.needs else {"needs": " ".join(method.needs)}
    return {**feature_key(method), "precision": precision, "device": device.type, "torch": torch.__version__, **needs}
