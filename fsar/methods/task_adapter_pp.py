"""Task-Adapter++: adapters through which the clips of a task and the steps of a class see each other, two scores.

Cao et al. 2025, "Task-Adapter++: Task-specific Adaptation with Order-aware Alignment for Few-shot Action Recognition",
https://arxiv.org/abs/2505.06002; formulas of the released code, https://github.com/Jaulin-Bage/Task-Adapter-pp (MIT).
The towers are those of :mod:`fsar.adapters.task_adapter`. With F the frame features ``(8 d)`` of a clip and E the
features ``(3 d)`` of the three steps of a class, in their order::

    visual      cos( mean_t F_q, mean over the shots' mean_t F )                      (q n)
    stages      G_f = softmax( F_·,f F_·,f+1ᵀ / √d ) F_·,f+1 + F_·,f+1,  f = 0..6      over the queries of the episode
    semantic    mean over i, j = 0..2 of cos( E_c,i , G_2i+j,q )                      (n q)
    logits      64 · visual(q, c) · semantic(c, q)

Differs from the released code, which is transductive and uses the true class of a query. There clips of a call see each
other in the tower (``across_clips`` of :class:`fsar.adapters.TaskAdapter`), queries do in G (``published_stages``; here
each is alone), and the two tables are multiplied element by element without turning one of them
(``published_product``), so that row q holds the text of q's **own class** beside every other query: no system that is
asked can form it. Cosines are taken in float16 there, in float32 here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from episodes.clips import Features, Streams
from episodes.episode import Task
from fsar.adapters.task_adapter import OrderAdapter
from fsar.encoders.frame import FrameEncoder
from fsar.functional import cosine, rename_released
from fsar.method import Method, Parts, Scores
from fsar.shots import shot_mean
from fsar.text import TextBank

STEPS, FRAMES = 3, 8
SENTENCE = "A video of action about {name}: {step}"


def stage_features(frames: Tensor, norm: nn.Module | None = None, together: bool = False) -> Tensor:
    """``G (... q t-1 d)`` of queries ``(... q t d)``.

    Args:
        frames: of the queries.
        norm: of what is attended to, in the released configuration of SSv2-Full alone.
        together: the softmax runs over all queries of the episode, as released; each is alone without.
    """
    now, then = frames[..., :-1, :], frames[..., 1:, :]
    attended = then
    if together:
        a, b = (x.transpose(-3, -2) for x in (now, then))  # (... t-1 q d)
        attended = ((a @ b.mT / frames.shape[-1] ** 0.5).softmax(-1) @ b).transpose(-3, -2)
    return (attended if norm is None else norm(attended)) + then


def semantic_scores(stages: Tensor, steps: Tensor) -> Tensor:
    """``(... n q)``: three steps of each class ``(... n 3 d)`` with the three transitions that each stands for, of
    ``G (... q 7 d)``."""
    places = 2 * torch.arange(STEPS)[:, None] + torch.arange(3)  # (i j)
    chosen = nn.functional.normalize(stages[..., places, :], dim=-1)  # (... q i j d)
    return torch.einsum("...nid,...qijd->...nq", nn.functional.normalize(steps, dim=-1), chosen) / 9


def own_class_product(visual: Tensor, semantic: Tensor, labels: Tensor) -> Tensor:
    """``visual (... q n) ⊙ semantic (... n q)`` as released, queries in class order; put back into theirs.

    Raises:
        ValueError: for other than one query of each class.
    """
    ways = visual.shape[-1]
    order = labels.argsort(-1)
    expected = torch.arange(ways, device=labels.device)
    if labels.shape[-1] != ways or not bool((labels.gather(-1, order) == expected).all()):
        raise ValueError(
            "published_product multiplies tables of queries and classes of one size: it needs one query of each of "
            f"the {ways} classes (data.queries 1, data.test_queries 1), found {labels.shape[-1]} queries."
        )
    rows = order.unsqueeze(-1).expand_as(visual)
    turned = semantic.gather(-1, order.unsqueeze(-2).expand_as(semantic))  # columns in class order
    product = visual.gather(-2, rows) * turned
    return torch.zeros_like(product).scatter(-2, rows, product)


class TaskAdapterPlusPlus(Method):
    """Task-Adapter++.

    Args:
        encoder: ``fsar.encoders.Adapted`` with a ``fsar.adapters.TaskAdapter`` in the last 2 blocks of a frozen ViT, 6
            for SSv2 as released.
        text_blocks: last blocks of the text tower that are adapted; 8 as released, 2 for SSv2.
        steps: a file of three steps of each class or more, or a pack that ships (ssv2, kinetics100, ucf101, hmdb51,
            shapes), see :class:`fsar.text.TextBank`; without one all three sentences are the class's name.
        scale: of the product.
        norm: normalise what G attends to, as released for SSv2-Full.
        published_stages: queries see each other in G, as released: scores then depend on the others.
        published_product: the released product, which holds the true class of every query; needs one query of each
            class. No clip of unknown class can be named so.

    >>> TaskAdapterPlusPlus(encoder, text_blocks=1).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        text_blocks: int = 8,
        steps: str | None = None,
        scale: float = 64.0,
        norm: bool = False,
        published_stages: bool = False,
        published_product: bool = False,
    ) -> None:
        super().__init__(encoder)
        tower: Any = encoder.require_text().tower
        if not hasattr(tower, "token_embedding") or not hasattr(tower, "attn_mask"):
            raise ValueError(
                f"TaskAdapterPlusPlus adapts CLIP's own text tower, which {encoder.identity} has not: use a ViT of "
                "open_clip whose text is a Transformer of its own, such as ViT-B-16."
            )
        blocks = len(tower.transformer.resblocks)
        if not 0 <= text_blocks <= blocks:
            raise ValueError(f"TaskAdapterPlusPlus: text_blocks={text_blocks}, but the text tower has {blocks} blocks.")
        self.order = OrderAdapter(tower.token_embedding.embedding_dim, text_blocks)
        self.texts = TextBank(descriptions=steps, kinds=["step"]) if steps else None
        self.scale = scale
        self.norm = nn.LayerNorm(encoder.channels) if norm else None
        self.published_stages, self.published_product = published_stages, published_product
        self.across_clips: bool = getattr(encoder, "across_clips", False)
        self.gives = () if self.across_clips else None  # pixels are no features
        self.averages_shots = not self.across_clips
        self.sees_other_queries = self.across_clips or published_stages or published_product
        self.reads_query_labels = self.one_query_each = published_product

    @property
    def released_options(self) -> dict[str, int]:
        """Which adapters of a released file are in use here, see :func:`convert_released`."""
        adapted = {name.split(".adapter.")[0] for name in self.encoder.visual.state_dict() if ".adapter." in name}
        return {"blocks": len(adapted), "text_blocks": len(self.order.order)}

    def encode(self, clips: Streams, text: Tensor | None = None) -> Features:
        """Frame features; where clips see each other, the pixels, which are encoded with their episode."""
        if not self.across_clips:
            return super().encode(clips, text)
        pixels = clips["frames"]
        return Features(frames=pixels.float().mean((-2, -1)), pixels=pixels)

    def class_text(self, names: Sequence[str]) -> Tensor:
        """``(C 3 d)``: the steps of each class, as they see each other."""
        text: Any = self.encoder.text
        sentences = [SENTENCE.format(name=name, step=step) for name in names for step in self.steps_of(name)]
        tokens = text.tokenize(sentences).unflatten(0, (len(names), STEPS))
        return self.order(text.tower, tokens.to(text.tower.positional_embedding.device))

    def steps_of(self, name: str) -> list[str]:
        """Three steps of a class; where the file gives more, neighbours are joined, those at the end first.

        Raises:
            ValueError: when the file gives fewer, or none.
        """
        if self.texts is None:
            return [name] * STEPS
        found = self.texts.texts(name)
        if len(found) < STEPS:
            raise ValueError(
                f"{self.texts.source} gives {len(found)} of the kind step for {name!r}; Task-Adapter++ needs {STEPS}."
            )
        ends = [len(found) * i // STEPS for i in range(STEPS + 1)]
        return [", ".join(found[a:b]) for a, b in pairwise(ends)]

    def query_parts(self, features: Features) -> Parts:
        return dict(features) if self.across_clips else {"frames": features["frames"]}

    def support_parts(self, features: Features, text: Tensor) -> Parts:
        return self.query_parts(features)

    def frames_of(self, parts: Parts) -> Tensor:
        """``(... v t d)``, of the clips of each episode and role together."""
        if not self.across_clips:
            return parts["frames"]
        pixels = parts["pixels"]
        episodes = pixels.flatten(0, -6) if pixels.dim() > 5 else pixels[None]
        found = torch.stack([self.encoder(clips) for clips in episodes])
        return found.reshape(*pixels.shape[:-3], found.shape[-1])

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        supports, frames = self.frames_of(support), self.frames_of(query)
        if frames.shape[-2] != FRAMES:
            raise ValueError(
                f"Task-Adapter++ lays three steps over {FRAMES} frames, but the clips have {frames.shape[-2]}: give "
                f"data.frames {FRAMES}."
            )
        classes = shot_mean(supports.mean(-2), episode.support_labels, episode.ways)  # (... n d)
        visual = cosine(frames.mean(-2), classes)
        stages = stage_features(frames, self.norm, self.published_stages)
        semantic = semantic_scores(stages, text[episode.classes])
        if self.published_product:
            logits = self.scale * own_class_product(visual, semantic, episode.query_labels)
        else:
            logits = self.scale * visual * semantic.mT
        return Scores(logits, logits)


ADAPTERS = {"t_adapter": "temporal", "s_adapter": "spatial", "task_adapter": "task", "MLP_adapter": "joint"}
VISUAL, TEXT = r"(?:module\.)?(?:model\.)?visual\.", r"(?:module\.)?(?:model\.)?"
RELEASED_NAMES: dict[str, str | None] = {
    VISUAL + r"temporal_embedding$": "encoder.visual.frame_positions.weight",
    **{
        VISUAL + rf"transformer\.resblocks\.(\d+)\.{name}\.D_fc{i}\.": (
            rf"encoder.visual.transformer.resblocks.\1.adapter.{ours}.{place}."
        )
        for name, ours in ADAPTERS.items()
        for i, place in ((1, "down"), (2, "up"))
    },
    VISUAL + r"transformer\.resblocks\.(\d+)\.": r"encoder.visual.transformer.resblocks.\1.block.",
    VISUAL: "encoder.visual.",
    TEXT + r"transformer\.resblocks\.(\d+)\.sub3_adapter\.D_fc1\.": r"order.order.\1.down.",
    TEXT + r"transformer\.resblocks\.(\d+)\.sub3_adapter\.D_fc2\.": r"order.order.\1.up.",
    TEXT + r"logit_scale$": None,  # never used
    TEXT
    + r"(?=transformer\.|token_embedding\.|positional_embedding$|text_projection$|ln_final\.)": "encoder.text.tower.",
    TEXT + r"(?:layer_)?norm\.": "norm.",
}


def convert_released(state: dict[str, Tensor], blocks: int = 2, text_blocks: int = 8) -> dict[str, Tensor]:
    """Weights of the authors' checkpoint under the names of :class:`TaskAdapterPlusPlus`.

    Args:
        state: names and tensors as their authors saved them; adapters stand in all blocks there.
        blocks: last blocks of the visual tower whose adapters are in use; 6 for SSv2.
        text_blocks: of the text tower; 2 for SSv2.

    Raises:
        ValueError: for a name that the released model does not have.
    """
    renamed = rename_released(
        state, RELEASED_NAMES, "Task-Adapter++: visual.*, transformer.*.sub3_adapter.* and CLIP's text"
    )
    first, first_text = _first(renamed, "encoder.visual.", blocks), _first(renamed, "order.order.", text_blocks)
    converted = {}
    for name, value in renamed.items():
        number = re.search(r"(?:resblocks|order\.order)\.(\d+)\.", name)
        index = int(number[1]) if number else 0
        if ".adapter." in name and index < first:
            continue
        if name.startswith("order.order."):
            if index >= first_text:
                converted[name.replace(f"order.order.{index}.", f"order.order.{index - first_text}.")] = value
            continue
        converted[name] = value.squeeze(0) if name.endswith("frame_positions.weight") else value
    return converted


def _first(names: Iterable[str], start: str, used: int) -> int:
    """The first of the last so many blocks of a tower."""
    found = [
        int(m[1])
        for m in (re.search(r"\.(\d+)\.", n.removeprefix(start[:-1])) for n in names if n.startswith(start))
        if m
    ]
    return max(found, default=-1) + 1 - used
