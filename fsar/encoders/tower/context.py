"""A learned context in front of, around or behind a class name, on its way through the frozen text tower.

Zhou et al. 2022, "Learning to Prompt for Vision-Language Models", https://arxiv.org/abs/2109.01134, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fsar.encoders.tower.text_tower import TextEncoder

Position = Literal["end", "middle", "front"]
PLACEHOLDER = "X"  # one token, whose embedding the context replaces


class LearnedContext(nn.Module):
    """Context vectors and the way they enter the text tower; the tower itself is not part of it.

    Args:
        text: the encoder whose tower reads the prompts.
        length: number ``M`` of vectors, drawn from N(0, 0.02).
        words: text whose token embeddings the vectors start from instead, such as "a photo of a"; decides ``M``.
        position: of the class name: after the context, in the middle of it, or before it.
        classes: names that get a context of their own each; None for the one shared context.

    Raises:
        ValueError: for a tower that is not open_clip's text transformer.
    """

    def __init__(
        self,
        text: TextEncoder,
        length: int = 16,
        words: str | None = None,
        position: Position = "end",
        classes: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        check_tower(text)
        embedding: Any = text.tower.token_embedding
        if words is None:
            start = 0.02 * torch.randn(length, embedding.embedding_dim)
        else:
            tokens = text.tokenize([words])[0, 1 : text.length(words) - 1]
            start = embedding(tokens.to(embedding.weight.device)).detach().clone()
        self.position: Position = position
        self.classes = None if classes is None else tuple(classes)
        self.vectors = nn.Parameter(start if classes is None else start.repeat(len(tuple(classes)), 1, 1))

    def forward(self, text: TextEncoder, names: Sequence[str], shift: Tensor | None = None) -> Tensor:
        """Features of the prompts of ``C`` class names.

        Args:
            text: the encoder whose tower reads them.
            names: of the classes.
            shift: ``(b w)`` added to all context vectors, one for each of ``b`` images (CoCoOp).

        Returns:
            ``(C d)``, or ``(b C d)`` with a shift; un-normalised.

        Raises:
            ValueError: a prompt that is longer than the tower reads; a class that has no context of its own.
        """
        tokens, places = self.layout(text, names)
        tower: Any = text.tower
        words = tower.token_embedding(tokens)  # (C l w)
        context = self.of_classes(names)  # (C M w)
        if shift is not None:
            context = context + shift[:, None, None, :]  # (b C M w)
            words = words.expand(len(shift), *words.shape)
        index = places[..., None].expand(context.shape)
        prompts = words.scatter(-2, index, context.to(words.dtype))
        ends = tokens.argmax(-1).expand(prompts.shape[:-2])
        return through_tower(tower, prompts.reshape(-1, *prompts.shape[-2:]), ends.flatten()).unflatten(
            0, prompts.shape[:-2]
        )

    def of_classes(self, names: Sequence[str]) -> Tensor:
        """``(C M w)`` context vectors."""
        if self.classes is None:
            return self.vectors.expand(len(names), -1, -1)
        if unseen := [name for name in names if name not in self.classes]:
            raise ValueError(
                f"the context is class-specific: it was learned for {len(self.classes)} classes and says nothing about "
                f"{', '.join(map(repr, unseen[:3]))}. Few-shot test classes are never seen in training: use the shared "
                "context (class_specific=null)."
            )
        return self.vectors[[self.classes.index(name) for name in names]]

    def layout(self, text: TextEncoder, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokens ``(C l)``, with placeholders for the context, cut after the last end; their places ``(C M)``."""
        count = self.vectors.shape[-2]
        before = {"end": count, "middle": count // 2, "front": 0}[self.position]
        marks = [PLACEHOLDER] * count
        prompts, places = [], []
        for name in (name.replace("_", " ") for name in names):
            prompt = " ".join([*marks[:before], name, *marks[before:]]) + "."
            if not text.fits(prompt):
                raise ValueError(
                    f"the class {name!r} with {count} context vectors has {text.length(prompt)} tokens, but the text "
                    f"tower reads {text.context_length}: use fewer vectors or a shorter name."
                )
            inside = text.length(name) - 2
            prompts.append(prompt)
            places.append([1 + i + (inside if i >= before else 0) for i in range(count)])
        device = next(text.tower.parameters()).device
        tokens = text.tokenize(prompts).to(device)
        return tokens[:, : int(tokens.argmax(-1).max()) + 1], torch.tensor(places, device=device)


def check_tower(text: TextEncoder) -> None:
    """Refuse a text tower that is not CLIP's causal transformer.

    Raises:
        ValueError: says which part is missing.
    """
    parts = ("token_embedding", "positional_embedding", "transformer", "ln_final", "attn_mask")
    missing = [part for part in parts if getattr(text.tower, part, None) is None]
    if missing or getattr(text.tower, "pool_type", "argmax") != "argmax":
        raise ValueError(
            f"a learned context needs CLIP's own text transformer; the tower of {text.model} has no "
            f"{', '.join(missing) or 'feature at the end token'}. Use an OpenAI- or LAION-like CLIP such as ViT-B-16."
        )


def through_tower(tower: Any, prompts: Tensor, ends: Tensor) -> Tensor:
    """Token embeddings ``(b l w)`` and the places ``(b)`` of their ends -> features ``(b d)``.

    What stands after the end is cut off, which a causal tower does not notice.
    """
    length = prompts.shape[1]
    with torch.autocast(prompts.device.type, enabled=False):
        states = prompts.float() + tower.positional_embedding[:length]
        states = tower.transformer(states, attn_mask=tower.attn_mask[:length, :length])
        states = tower.ln_final(states)[torch.arange(len(states), device=states.device), ends]
        projection = tower.text_projection
        if projection is None:
            return states
        return projection(states) if isinstance(projection, nn.Linear) else states @ projection
