"""FFF: false negatives become positives, and a sigmoid instead of a softmax lets a clip have several.

Bulat, Ouali, Tzimiropoulos 2024, "FFF: Fixing Flawed Foundations in contrastive pre-training results in very strong
Vision-Language models", https://arxiv.org/abs/2405.10286, sections 4.1 and 4.2. With cosines of a frozen CLIP between
clips and texts (vt), clips (vv) and texts (tt), ``b`` clips and ``c`` texts::

    M_ij = 1 if same class, or vt_ij > p1, or (vv_ij > p2 and vt_ij > p1'), or tt_ij > p3
    z_ij = s cos(v_i, t_j) + β;    loss = -1/b Σ_ij log σ((2 M_ij - 1) z_ij)

``vv_ij`` is of clip i and the clips that own text j (their mean), ``tt_ij`` of text j and the texts of clip i (the
largest). With one text a clip and M = I it is SigLIP's loss. No code was released: the thresholds and the boolean form
are the paper's, as far as they can be told, and depend on the CLIP: look at what was merged.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from fsar.objectives.base import ClipKind, Objective, Step
from fsar.text.bank import TextBank
from fsar.text.kinds import check_kinds

DENIED = (
    *("pretending", "failing", "trying", "almost", "nothing happens", "without"),
    *("left to right", "right to left", "from left", "from right", "left", "right"),
    *("top left", "top right", "bottom left", "bottom right"),
    *("up", "down", "upward", "downward", "into", "out of", "in front of", "behind", "towards", "away from"),
    *("clockwise", "counter", "opening", "closing", "folding", "unfolding"),
    *("covering", "uncovering", "entering", "leaving"),
)
"""Phrases that make another class of a name, whatever a frozen CLIP thinks of it."""


FIRST = 3
"""Steps after which a rule that would merge every pair of other classes, were none denied, is refused."""


def multi_positive_sigmoid(logits: Tensor, positive: Tensor) -> Tensor:
    """``-1/b Σ_ij [M_ij log σ(z_ij) + (1 - M_ij) log σ(-z_ij)]`` of logits ``(... b c)``, mean over ``...``.

    Args:
        logits: ``z``.
        positive: ``M (... b c)``, bool or shares in 0..1. A row or column without positives is legal.

    >>> multi_positive_sigmoid(torch.zeros(2, 2), torch.eye(2).bool())  # 2 ln 2
    tensor(1.3863)
    """
    target = positive.to(logits.dtype if logits.is_floating_point() else torch.float32)
    return (
        binary_cross_entropy_with_logits(logits, target.expand_as(logits), reduction="none")
        .sum((-2, -1))
        .div(logits.shape[-2])
        .mean()
    )


class Assignment(NamedTuple):
    """Which texts are positives of which clips.

    >>> Assignment(torch.eye(2).bool(), {"same": 2}).counts
    {'same': 2}
    """

    positive: Tensor  # (... b c) bool
    counts: dict[str, int]  # of pairs: same class, and merged by each clause alone or with others; denied


@dataclass(frozen=True)
class AssignmentRule:
    """When a clip and a text of another class belong together all the same.

    A threshold of null switches its clause off.

    Args:
        p1: cosine of clip and text above which they do; the paper's is about 0.27.
        p1_near: the lower one that is enough beside ``p2``; about 0.24.
        p2: cosine of the clip and the clips of the text; about 0.92.
        p3: cosine of the text and the texts of the clip; about 0.99.
        deny: two classes are never merged when the name of one holds such a phrase and that of the other does not.

    Raises:
        ValueError: a threshold outside -1..1; ``p2`` without ``p1_near`` or the other way round.

    >>> same = torch.eye(2).bool()
    >>> near = torch.tensor([[0.4, 0.3], [0.1, 0.4]])
    >>> AssignmentRule()(same, near, torch.zeros(2, 2), torch.zeros(2, 2)).positive
    tensor([[ True,  True],
            [False,  True]])
    """

    p1: float | None = 0.27
    p1_near: float | None = 0.24
    p2: float | None = 0.92
    p3: float | None = 0.99
    deny: tuple[str, ...] = DENIED

    def __post_init__(self) -> None:
        for name in ("p1", "p1_near", "p2", "p3"):
            value = getattr(self, name)
            if value is not None and not -1 <= value <= 1:
                raise ValueError(f"AssignmentRule: {name} is a cosine in -1..1 or null, found {value}.")
        if (self.p2 is None) != (self.p1_near is None):
            raise ValueError(
                f"AssignmentRule: p2 and p1_near work together, found p2={self.p2}, p1_near={self.p1_near}: give both "
                "or neither."
            )

    def merges_all(self, what: str) -> str:
        """Why such thresholds are refused."""
        thresholds = f"p1={self.p1}, p1_near={self.p1_near}, p2={self.p2}, p3={self.p3}"
        return f"AssignmentRule({thresholds}) merges {what}: raise the thresholds; they depend on the CLIP."

    def denied(self, names: Sequence[str]) -> Tensor:
        """``(n n)`` bool: pairs of classes that are never merged."""
        words = [f" {' '.join(name.replace('_', ' ').lower().split())} " for name in names]
        holds = torch.tensor([[f" {phrase.lower()} " in name for phrase in self.deny] for name in words])
        holds = holds.reshape(len(names), len(self.deny))
        return (holds[:, None] != holds[None]).any(-1)

    def __call__(self, same: Tensor, vt: Tensor, vv: Tensor, tt: Tensor, denied: Tensor | None = None) -> Assignment:
        """Positives of ``b`` clips among ``c`` texts, each argument ``(... b c)``.

        Args:
            same: bool, the clip is of the text's class; true whatever the rest says.
            vt: frozen cosines of clip and text.
            vv: of the clip and the clips that own the text.
            tt: of the texts that the clip owns and the text.
            denied: bool, never merged.

        Raises:
            ValueError: when every pair of other classes was merged; says how many there are.
        """
        none = torch.zeros_like(same)
        clauses = {
            "image_text": none if self.p1 is None else vt > self.p1,
            "image_image": none if self.p2 is None else (vv > self.p2) & (vt > (self.p1_near or 0)),
            "text_text": none if self.p3 is None else tt > self.p3,
        }
        wanted = torch.stack([clause & ~same for clause in clauses.values()])
        allowed = wanted if denied is None else wanted & ~denied
        merged, others = allowed.any(0), int((~same).sum())
        if others > 2 and int(merged.sum()) == others:
            raise ValueError(self.merges_all(f"all {others} pairs of a clip and a text of another class"))
        counts = {name: int(clause.sum()) for name, clause in zip(clauses, allowed, strict=True)}
        stopped = int((wanted.any(0) & ~merged).sum())
        return Assignment(same | merged, {"same": int(same.sum()), **counts, "denied": stopped})


class MultiPositiveSigmoid(Objective):
    """FFF's loss between the videos of a step and all that is said about their classes.

    Args:
        texts: what is said about a class; CLIP-FSAR's template when not given.
        kinds: which of it; several texts of a class are several positives. "caption" is what data.captions says of
            each clip.
        rule: which texts of other classes are positives, too, by cosines of the encoder as it was before training;
            the labels alone when not given.
        scale: initial value of the learned ``s``.
        bias: of the learned ``β``.
        weight: of the loss.

    >>> sorted(MultiPositiveSigmoid()(step))  # that of fsar.objectives
    ['bias', 'loss', 'merged', 'scale']
    """

    name = "fff"

    def __init__(
        self,
        texts: TextBank | None = None,
        kinds: Sequence[ClipKind] = ("template",),
        rule: AssignmentRule | None = None,
        scale: float = 10.0,
        bias: float = -10.0,
        weight: float = 1.0,
    ) -> None:
        super().__init__(weight)
        if not scale > 0:
            raise ValueError(f"MultiPositiveSigmoid: scale must be above 0, found {scale}.")
        self.texts = TextBank() if texts is None else texts
        self.kinds = check_kinds(kinds, type(self).__name__, ("caption",))
        self.rule = rule
        self.needs_frozen = rule is not None
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.bias = nn.Parameter(torch.tensor(float(bias)))
        self.merged: Counter[tuple[str, str]] = Counter()
        self._first: list[tuple[int, int]] = []  # of the first steps: pairs that the rule wants, and all of them

    def forward(self, step: Step) -> dict[str, Tensor]:
        texts, owner = step.read_texts(self.texts, self.kinds).flat()  # (c d), (c)
        positive, counts = self.assign(step, texts, owner)
        logits = self.log_scale.exp() * step.videos() @ texts.mT + self.bias
        count = sum(value for key, value in counts.items() if key not in ("same", "denied"))
        told = {"merged": torch.tensor(float(count)), "scale": self.log_scale.exp(), "bias": self.bias}
        return {"loss": multi_positive_sigmoid(logits, positive), **{k: x.detach() for k, x in told.items()}}

    @torch.no_grad()
    def assign(self, step: Step, texts: Tensor, owner: Tensor) -> Assignment:
        """Positives among the unit texts ``(c d)`` of classes ``owner (c)``, places in :attr:`Step.classes`."""
        same = step.rows[:, None] == owner
        if self.rule is None:
            return Assignment(same, {"same": int(same.sum())})
        videos = step.videos(frozen=True)
        of_class = (step.rows[:, None] == torch.arange(len(step.classes), device=step.rows.device)).to(videos.dtype)
        near = videos @ videos.mT @ (of_class / of_class.sum(0))  # (b n): mean cosine with the clips of a class
        among = (texts @ texts.mT).masked_fill(owner[:, None] == owner, -1)  # of texts of other classes
        text_text = torch.stack([among[owner == c].amax(0) for c in range(len(step.classes))])  # (n c)
        denied = self.rule.denied(step.names).to(same.device)
        found = self.rule(same, videos @ texts.mT, near[:, owner], text_text[step.rows], denied[step.rows][:, owner])
        names, merged = step.names, found.positive & ~same
        if not self.resumed and len(self._first) < FIRST:
            self._first.append((int(merged.sum()) + found.counts["denied"], int((~same).sum())))
            wanted, others = (sum(counts) for counts in zip(*self._first, strict=True))
            if len(self._first) == FIRST and wanted == others > 0:
                told = f"all {others} pairs of a clip and a text of another class in {FIRST} steps but those denied"
                raise ValueError(self.rule.merges_all(told))
        self.merged.update(
            (names[row], names[column])
            for row, column in {(int(step.rows[i]), int(owner[j])) for i, j in merged.nonzero().tolist()}
        )
        return found

    def summary(self) -> dict[str, int]:
        """Classes whose texts became positives of each other's clips, and in how many steps."""
        return {f"{ours} <- {theirs}": count for (ours, theirs), count in self.merged.most_common()}
