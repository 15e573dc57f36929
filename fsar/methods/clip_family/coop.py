"""CoOp and CoCoOp: a learned context in place of the words "a photo of".

Zhou et al. 2022, "Learning to Prompt for Vision-Language Models", https://arxiv.org/abs/2109.01134 (IJCV), section 3.2;
Zhou et al. 2022, "Conditional Prompt Learning", https://arxiv.org/abs/2203.05557 (CVPR), section 3.2;
https://github.com/KaiyangZhou/CoOp. What enters the frozen text tower for a class is::

    [begin] v_1 .. v_M [class name] . [end]

where only the vectors v are learned, shared by all classes: here on episodes of the training classes, to be used on
classes never seen. A context of one's own for every class cannot be: it is refused for other classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from episodes.clips import Features
from episodes.episode import Task
from episodes.files import write_atomically
from fsar.encoders.frame import FrameEncoder
from fsar.encoders.tower.context import LearnedContext, Position
from fsar.functional import cross_entropy
from fsar.method import Method, Parts, Scores
from fsar.methods.clip_family.pooled import pool


class CoOp(Method):
    """CoOp with one context shared by all classes, trained on episodes.

    Args:
        encoder: an image-text encoder, frozen.
        length: number of context vectors.
        words: text whose token embeddings the context starts from; decides the length.
        position: of the class name: after the context, in the middle of it, or before it.
        context: a .safetensors file with a context learned before, see :meth:`save_context`.
        class_specific: class names with a context of their own each, for a fixed set of classes; any other class is
            refused.
        over: the loss compares clips with the classes of their episode, or with all classes of the split (CoOp's own).
        temperature: factor of the cosine.

    >>> CoOp(encoder).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        length: int = 16,
        words: str | None = None,
        position: Position = "end",
        context: str | None = None,
        class_specific: list[str] | None = None,
        over: Literal["episode", "split"] = "split",
        temperature: float = 100.0,
    ) -> None:
        super().__init__(encoder)
        self.context = LearnedContext(encoder.require_text(), length, words, position, class_specific)
        self.over = over
        self.temperature = temperature
        if context is not None:
            self.load_context(context)

    def class_text(self, names: Sequence[str]) -> Tensor:
        """``(C d)`` unit vectors; gradients reach the context."""
        return normalize(self.context(self.encoder.require_text(), names), dim=-1)

    def query_parts(self, features: Features) -> Parts:
        return {"pooled": pool(features["frames"])}

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        few_shot = self.temperature * query["pooled"] @ text[episode.classes].mT
        if not self.training:
            return Scores(few_shot, few_shot)
        clips = torch.cat([support["pooled"], query["pooled"]], dim=-2)
        return Scores(few_shot, few_shot, self.temperature * clips @ text.T)

    def loss(self, scores: Scores, episode: Task) -> dict[str, Tensor]:
        """Cross-entropy of all clips, supports too, which zero-shot scoring treats alike."""
        assert scores.class_logits is not None
        if self.over == "split":
            classes = episode.clip_classes
            return {"loss": cross_entropy(scores.class_logits, classes)}
        labels = episode.clip_labels
        index = episode.classes[..., None, :].expand(*labels.shape, -1)
        return {"loss": cross_entropy(scores.class_logits.gather(-1, index), labels)}

    def save_context(self, path: str | Path) -> None:
        """Write what was learned to a small .safetensors file."""
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.learned()}
        metadata = {"method": type(self).__name__, "position": self.context.position}
        with write_atomically(path) as part:
            save_file(tensors, part, metadata)

    def load_context(self, path: str | Path) -> None:
        """Take a context from a file.

        Raises:
            FileNotFoundError: when there is none.
            ValueError: when its tensors are not those of this method.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"context: {path} does not exist; {type(self).__name__}.save_context makes it.")
        found, own = load_file(path), dict(self.learned())
        shapes = {name: tuple(value.shape) for name, value in found.items()}
        wanted = {name: tuple(value.shape) for name, value in own.items()}
        if shapes != wanted:
            raise ValueError(f"context: {path} holds {shapes}, but {type(self).__name__} as configured needs {wanted}.")
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(found[name])

    def learned(self) -> list[tuple[str, nn.Parameter]]:
        """Names and parameters that are learned; the encoder is not among them."""
        return [(name, value) for name, value in self.named_parameters() if not name.startswith("encoder.")]


class CoCoOp(CoOp):
    """CoCoOp: the context of each query is shifted by ``Linear(d/16 → w) ReLU Linear(d → d/16)`` of its clip vector.

    The text tower runs for every pair of a query and a class, ``q · n`` passes per episode, also in evaluation.

    Args:
        encoder: an image-text encoder, frozen.
        length: number of context vectors (the paper: 4).
        words: text whose token embeddings the context starts from; decides the length.
        position: of the class name: after the context, in the middle of it, or before it.
        context: a .safetensors file with context and network learned before.
        temperature: factor of the cosine.
        prompts_per_batch: prompts that pass the text tower together.

    >>> CoCoOp(encoder).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        length: int = 4,
        words: str | None = None,
        position: Position = "end",
        context: str | None = None,
        temperature: float = 100.0,
        prompts_per_batch: int = 512,
    ) -> None:
        super().__init__(encoder, length, words, position, None, None, "episode", temperature)
        hidden = max(1, encoder.channels // 16)
        width = self.context.vectors.shape[-1]
        self.network = nn.Sequential(nn.Linear(encoder.channels, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.prompts_per_batch = prompts_per_batch
        if context is not None:
            self.load_context(context)

    def class_text(self, names: Sequence[str]) -> Tensor:
        """``(C 0)``: nothing is known of a class before the query is seen."""
        return self.no_text(names)

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        clips = query["pooled"].reshape(-1, *query["pooled"].shape[-2:])  # (e q d)
        classes = episode.classes.reshape(-1, episode.ways).tolist()
        step = max(1, self.prompts_per_batch // episode.ways)
        logits = [
            self.of_episode(part, [episode.class_names[c] for c in some])
            for queries, some in zip(clips, classes, strict=True)
            for part in queries.split(step)
        ]
        few_shot = torch.cat(logits).reshape(*query["pooled"].shape[:-1], -1)
        return Scores(few_shot, few_shot)

    def of_episode(self, clips: Tensor, names: list[str]) -> Tensor:
        """Logits ``(q n)`` of unit vectors ``(q d)`` against class names."""
        text = normalize(self.context(self.encoder.require_text(), names, self.network(clips)), dim=-1)  # (q n d)
        return self.temperature * (text @ clips[..., None])[..., 0]

    def loss(self, scores: Scores, episode: Task) -> dict[str, Tensor]:
        """Cross-entropy of the queries against the classes of their episode."""
        return {"loss": cross_entropy(scores.few_shot, episode.query_labels)}
