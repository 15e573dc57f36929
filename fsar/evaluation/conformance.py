"""What every method must satisfy, as one function per property; its docstring is what a person reads.

``fsar check-method`` runs them on a user's method, the test suite on every method of the library. Scores of random
clips are compared: what a query's may depend on, and what not. A method that may depend on more says so itself, by
``sees_other_queries`` and ``reads_query_labels``; then the property is looked at and told, and does not fail. One that
can score no episode but of one query of each class (``one_query_each``) is asked those alone, and it is said what was
not asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from episodes.clips import Clips, Features, Streams, combined
from episodes.episode import Episode, IndexEpisode, VideoBatch
from fsar.alignment.properties import Violated, demand
from fsar.encoders.imported import Imported
from fsar.evaluation.bank import VideoBank, score_episodes
from fsar.method import Method

WAYS, SHOTS = 3, 2
NAMES = ("waving", "jumping", "pouring water", "closing a door")
NOISE, MOVED = 1e-5, 1e-3
"""Of the largest score, which float32 may round off; and of the scores' spread, below which nothing depends."""


@dataclass
class TriedMethod:
    """A method and the clips that it is tried on.

    Args:
        method: any.
        frames: of a clip.
    """

    method: Method
    frames: int = 8

    def clips(self, count: int, seed: int) -> Clips:
        """Random clips: coarse coloured fields ``(count t c h w)`` uint8 that drift, with sound for a method that
        hears; numbers of the imported kinds where nothing can be encoded."""
        encoder, generator = self.method.encoder, torch.Generator().manual_seed(seed)
        if isinstance(encoder, Imported):
            shapes = {"frames": encoder.about.shapes[encoder.about.frames], **encoder.about.shapes}
            return Features({name: torch.randn(count, *shape, generator=generator) for name, shape in shapes.items()})
        coarse = torch.rand(count, 3, 4, 4, generator=generator)
        fields = torch.nn.functional.interpolate(coarse, encoder.image_size, mode="bilinear")
        moved = [fields.roll(t * max(1, encoder.image_size // 16), -1 - t % 2) for t in range(self.frames)]
        found = Streams(frames=(255 * torch.stack(moved, 1)).to(torch.uint8))
        if "sound" in self.method.needs:
            samples = int(getattr(getattr(encoder, "sound", None), "rate", 16000))  # of a second
            found["sound"] = torch.rand(count, samples, generator=generator) - 0.5
        return found

    def episode(self) -> Episode:
        """Three of four classes with two clips each, and a query of each class; another of one of them, where the
        method can score that."""
        labels, asked = torch.arange(WAYS).repeat_interleave(SHOTS), [2, 0, 1]
        asked += [] if self.method.one_query_each else [2]
        support, query = (self.clips(count, seed) for seed, count in enumerate((len(labels), len(asked))))
        classes = torch.tensor([3, 0, 2])
        return Episode(support, query, labels, torch.tensor(asked), classes, NAMES, torch.tensor(0))

    @cached_property
    def scored(self) -> tuple[Episode, Tensor]:
        """The episode that every property begins with, and its scores."""
        episode = self.episode()
        return episode, self.score(episode)

    @torch.no_grad()
    def score(self, episode: Episode) -> Tensor:
        """Logits ``(... q n)`` in evaluation mode; what is drawn at random is drawn again."""
        torch.manual_seed(0)
        logits: Tensor = self.method.eval()(episode).logits.float()
        return logits


def differ(found: Tensor, expected: Tensor) -> str:
    """By how much scores differ, in words; "" when they are the same but for rounding."""
    if found.shape != expected.shape:
        return f"shape {tuple(found.shape)} instead of {tuple(expected.shape)}"
    spread = float(expected.max() - expected.min())
    apart = float((found - expected).abs().max())
    if apart <= NOISE * float(expected.abs().max()) + MOVED * spread:
        return ""
    return f"by {apart:.2g}, where the scores of the episode spread over {spread:.2g}"


def same(found: Tensor, expected: Tensor, otherwise: str) -> None:
    """Raise :class:`Violated` unless the scores are the same."""
    apart = differ(found, expected)
    demand(not apart, f"{otherwise}: {apart}.")


def with_queries(episode: Episode, index: list[int], clip: Clips | None = None) -> Episode:
    """The episode with these of its queries, and another of the last one's class behind them."""
    query, labels = episode.query.at(torch.tensor(index)), episode.query_labels[index]
    if clip is not None:
        query, labels = combined(torch.cat, [query, clip]), torch.cat([labels, episode.query_labels[-1:]])
    return replace(episode, query=query, query_labels=labels)


def numbers(subject: TriedMethod) -> str:
    """one finite number for each query and class, the same in two calls; clips are not written into"""
    episode = subject.scored[0]
    before = [x.clone() for clips in (episode.support, episode.query) for x in clips.values()]
    logits = subject.scored[1]
    wanted = (len(episode.query_labels), WAYS)
    demand(logits.shape == wanted, f"shape {tuple(logits.shape)} instead of {wanted}.")
    demand(logits.isfinite().all(), "a score is not finite.")
    same(subject.score(episode), logits, "two calls on the same clips differ")
    after = [x for clips in (episode.support, episode.query) for x in clips.values()]
    demand(all(torch.equal(a, b) for a, b in zip(after, before, strict=True)), "it writes into its clips.")
    marks = (subject.method.sees_other_queries, subject.method.reads_query_labels)
    demand(all(isinstance(mark, bool) for mark in marks), f"its marks must be true or false, found {marks}.")
    return ""


def other_queries(subject: TriedMethod) -> str:
    """changing, adding or removing one query never changes another's scores"""
    (episode, logits), other = subject.scored, subject.clips(1, seed=7)
    first = list(range(len(logits) - 1))
    cases = {"changing one query": (with_queries(episode, first, other), logits[:-1])}
    if not subject.method.one_query_each:
        cases["adding one query"] = with_queries(episode, [*first, len(first)], other), logits
        cases["removing one query"] = with_queries(episode, first), logits[:-1]
        cases["asking for one alone"] = with_queries(episode, [1]), logits[1:2]
    found = {what: differ(subject.score(asked)[: len(before)], before) for what, (asked, before) in cases.items()}
    moved = {what: apart for what, apart in found.items() if apart}
    if subject.method.sees_other_queries:
        said = "marked: it sees other queries" + ("" if moved else ", though none of these moved a score")
        return said + ("; none was added or removed: it needs one of each class" if len(cases) == 1 else "")
    told = "; ".join(f"{what} moves the others' scores {apart}" for what, apart in moved.items())
    demand(not moved, f"{told}. A method that is meant to be transductive sets sees_other_queries = True.")
    return ""


def query_labels(subject: TriedMethod) -> str:
    """the labels of the queries change nothing: permuted, or all the same"""
    episode, logits = subject.scored
    cases = {"permuting": episode.query_labels.flip(0), "changing": torch.zeros_like(episode.query_labels)}
    if subject.method.one_query_each:
        del cases["changing"]
    for what, labels in cases.items():
        apart = differ(subject.score(replace(episode, query_labels=labels)), logits)
        if apart and subject.method.reads_query_labels:
            return f"marked: {what} the labels of the queries moves scores"
        demand(
            not apart,
            f"{what} the labels of the queries moves scores {apart}: they are what is asked for. A method that is "
            "meant to read them, as an upper bound, sets reads_query_labels = True.",
        )
    return "marked: it reads the labels, though these moved no score" if subject.method.reads_query_labels else ""


def classes(subject: TriedMethod) -> str:
    """permuting the classes permutes the columns and changes nothing else"""
    (episode, logits), order = subject.scored, torch.tensor([2, 0, 1])  # label i becomes order[i]
    permuted = replace(
        episode,
        support_labels=order[episode.support_labels],
        query_labels=order[episode.query_labels],
        classes=episode.classes[order.argsort()],
    )
    same(subject.score(permuted)[:, order], logits, "the columns do not follow")
    return ""


def clip_order(subject: TriedMethod) -> str:
    """the order of the clips changes nothing: queries move their rows alone, supports nothing"""
    episode, logits = subject.scored
    order = torch.arange(len(logits)).roll(1)
    turned = replace(episode, query=episode.query.at(order), query_labels=episode.query_labels[order])
    same(subject.score(turned), logits[order], "permuted queries: the rows do not follow")
    mixed = torch.tensor([4, 1, 2, 0, 5, 3])
    support = replace(episode, support=episode.support.at(mixed), support_labels=episode.support_labels[mixed])
    same(subject.score(support), logits, "permuted support clips: the scores change")
    return ""


def duplicates(subject: TriedMethod) -> str:
    """a query that is there twice gets the same scores twice"""
    if subject.method.one_query_each:
        return "not asked: it needs one query of each class"
    episode = subject.episode()
    logits = subject.score(with_queries(episode, [0, 1, 0, 2]))
    same(logits[2:3], logits[:1], "the two rows differ")
    return ""


def batches(subject: TriedMethod) -> str:
    """an episode in a batch scores as it does alone"""
    first, logits = subject.scored
    support, query = (subject.clips(count, seed) for seed, count in ((11, WAYS * SHOTS), (12, len(logits))))
    second = replace(first, support=support, query=query, classes=first.classes.flip(0), number=torch.tensor(1))
    alone = torch.stack([logits, subject.score(second)])
    same(subject.score(Episode.stack([first, second])), alone, "in a batch of two it differs")
    return ""


def evaluation(subject: TriedMethod) -> str:
    """an evaluation, which encodes every video once and keeps its parts, gives what the clips give"""
    (episode, logits), method = subject.scored, subject.method
    clips = combined(torch.cat, [episode.support, episode.query])
    bank, videos = VideoBank(method, floor=False), torch.arange(len(episode.clip_classes))
    torch.manual_seed(0)
    for some in videos.split(4):
        bank.add(VideoBatch(some, clips.at(some), episode.clip_classes[some], NAMES))
    shots = len(episode.support_labels)
    labels = (episode.support_labels, episode.query_labels, episode.classes)
    index = IndexEpisode(videos[:shots], videos[shots:], *labels, NAMES, episode.number)
    torch.manual_seed(0)
    same(score_episodes(bank, index.map(lambda x: x[None])).logits[0].float(), logits, "it gives other scores")
    return ""


PROPERTIES: tuple[Callable[[TriedMethod], str], ...] = (
    numbers,
    other_queries,
    query_labels,
    classes,
    clip_order,
    duplicates,
    batches,
    evaluation,
)


def try_property(each: Callable[[TriedMethod], str], subject: TriedMethod) -> tuple[bool, str]:
    """Whether it holds, and what is to be said of it."""
    try:
        return True, each(subject)
    except Violated as error:
        return False, str(error)
    except Exception as error:
        return False, f"it raises {type(error).__name__}: {error}"


def check(subject: TriedMethod, say: Callable[[str], None] = print) -> int:
    """Try every property, say how each went, return how many failed."""
    failed = 0
    for each in PROPERTIES:
        held, note = try_property(each, subject)
        failed += not held
        say(f"{'ok    ' if held else 'FAILED'}  {each.__doc__}" + (f"\n        {note}" if note else ""))
    return failed
