"""The answers of ``fsar predict`` as lines of text."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping

from episodes.words import pluralise
from fsar.inference.answer import Answer, Answers
from fsar.inference.explain import Explanation, draw_words
from fsar.reporting.classes import Share

BAR, LEAST, BESIDE = 24, 8, 12
"""Columns of a full bar, where names are short and where they are long; and of all else in its line."""


def describe(answer: Answer) -> str:
    """An answer as lines of text: the ranking with bars, and which frames were matched. A name that is too long for the
    terminal goes on in the next line."""
    room = shutil.get_terminal_size().columns - BESIDE
    width = min(max(len(name) for name, _ in answer.ranking), max(room - LEAST, LEAST))
    full = min(BAR, max(room - width, LEAST))
    sure = answer.unlike_all and answer.threshold.telling
    lines = [answer.clip + ("   unlike all of them" if sure else "")]
    for name, number in answer.ranking:
        lines += row(f"  {answer.amount(number, 1):>6}  ", name, width, block() * round(full * number))
    best = answer.ranking[0][0]
    if best in answer.alignments:
        lines.append(f"  {answer.alignments[best].describe(best)}")
    if answer.note:
        lines.append(f"  {answer.note}")
    return "\n".join(lines)


def row(before: str, name: str, width: int, after: str) -> list[str]:
    """A line with a name in a column, and one more for each part of the name beyond its width."""
    begun, *rest = textwrap.wrap(name, width, break_on_hyphens=False) or [name]
    return [f"{before}{begun:{width}}  {after}".rstrip(), *(" " * len(before) + part for part in rest)]


def describe_explanation(why: Explanation) -> str:
    """What becomes of the answer when the clip is changed, and which frames carry it."""
    lines = []
    for one in why.variants[1:]:
        kept = f"still {why.name}" if one.name == why.name else f"{one.name}, no longer {why.name}"
        before, after = why.variants[0].number_of(why.name), one.number_of(why.name)
        lines.append(f"  {one.what}: {kept} ({why.name} {before:.2f} -> {after:.2f})")
    most = max(range(len(why.frames)), key=why.frames.__getitem__)
    shares = " ".join(f"{x:+.2f}" for x in why.frames)
    lines.append(f"  lead lost without each frame: {shares} (of {why.lead:.2f})")
    lines.append(f"  frame {most + 1} matters most" if why.frames[most] > 0 else "  no frame is needed")
    if why.words is not None:
        called = " ".join(str(int(i) + 1) for i in why.words.argmax(0))
        listed = ", ".join(f"{i} {name}" for i, name in enumerate(why.names, 1))
        lines.append(f"  by the class names alone its frames are {called} ({listed})")
    if why.steps:
        lines.append(f"  its frames over the steps of {why.name}, in order: {'; '.join(map(str, why.steps))}")
    lines += [f"  frames that show {row}" for row in draw_words(why.shown)]
    return "\n".join(lines)


def block() -> str:
    """What bars are made of: "#" where the output cannot show the block."""
    try:
        "█".encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return "#"
    return "█"


def describe_known(answers: Answers, truth: Mapping[str, str], shots: int, seed: int) -> str:
    """The share of clips of known classes that were named right, by class and in all."""
    hits: dict[str, list[bool]] = {name: [] for name in truth.values()}
    for answer in answers:
        hits[truth[answer.clip]].append(answer.ranking[0][0] == truth[answer.clip])
    width = min(max(map(len, hits)), max(shutil.get_terminal_size().columns - BESIDE - LEAST, LEAST))
    lines = [line for name, n in hits.items() for line in row("  ", name, width, f"{sum(n)} of {len(n)}")]
    right = sum(map(sum, hits.values()))
    if not answers:
        return "no clip could be read"
    share = Share(right / len(answers), len(answers))
    low, high = share.ends
    return "\n".join(
        [
            f"named right: {share.value:.1%} ({right} of {pluralise(len(answers), 'clip')}; 95 % interval "
            f"{low:.1%} to {high:.1%}), chance {1 / len(hits):.1%}",
            *lines,
            f"{pluralise(len(hits), 'class')}, {pluralise(shots, 'clip')} of each as support, drawn by --seed "
            f"{seed}; all others were named.",
        ]
    )
