"""Class names -> text features, computed once per text and remembered while the tower is not trained."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import open_clip
import torch
from torch import Tensor, nn

from fsar.encoders.weights.architecture import FOLDER, architecture, config_of

REMEMBERED = 50_000
"""Texts whose features are kept, at 2 kB each; then all are forgotten."""


class TextTooLong(ValueError):
    """A text has more tokens than the tower reads."""


class TextEncoder(nn.Module):
    """CLIP's text tower behind templates; always float32, whatever the image tower holds.

    What the frozen tower has computed is remembered per text until a weight changes. A tower that is trained
    computes afresh whenever gradients are enabled, and they reach it. The memory is no part of the state dict.

    Args:
        tower: tokens ``(b l)`` to features ``(b d)``.
        model: the architecture's name or JSON file, which decides the tokenizer.
        templates: each holds ``{}`` where the name goes. The default is CLIP-FSAR's: no article, no final period.
        trained: train the tower.
        download: fetch a tokenizer that is not in the Hugging Face cache (SigLIP and other sentencepiece ones).
        texts_per_batch: texts that pass the tower together.

    Raises:
        ValueError: no template, or one without ``{}``.

    >>> from fsar.encoders import ClipEncoder
    >>> text = ClipEncoder("fsar-tiny", "shapes").text
    >>> text(["sitting", "jumping"]).shape
    torch.Size([2, 64])
    """

    def __init__(
        self,
        tower: nn.Module,
        model: str,
        templates: Sequence[str] = ("a photo of {}",),
        trained: bool = False,
        download: bool = False,
        texts_per_batch: int = 64,
    ) -> None:
        super().__init__()
        if isinstance(templates, str) or not templates or any("{}" not in template for template in templates):
            raise ValueError(f"templates must be a list of texts that each hold {{}}, found {templates!r}.")
        self.tower = tower.requires_grad_(trained)
        self.model = model
        self.templates = tuple(templates)
        self.download = download
        self.texts_per_batch = texts_per_batch
        self._memory: dict[str, Tensor] = {}
        self._memory_of: tuple[object, ...] = ()

    def forward(self, names: Sequence[str]) -> Tensor:
        """``C`` names -> ``(C d)`` un-normalised features, the plain mean over the templates."""
        return self.per_template(names).mean(dim=-2)

    def per_template(self, names: Sequence[str]) -> Tensor:
        """``C`` names -> ``(C m d)`` un-normalised features under each of the ``m`` templates."""
        texts = [template.replace("{}", name) for name in names for template in self.templates]
        return self.encode(texts).unflatten(0, (len(names), len(self.templates)))

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Texts as they stand, without a template -> ``(C d)`` un-normalised features.

        Raises:
            ValueError: no text at all, or a text longer than the tower reads.
        """
        if isinstance(texts, str) or not texts:
            raise ValueError(f"The text encoder takes a list of at least one text, found {texts!r}.")
        if self.trained and torch.is_grad_enabled():
            unique = list(dict.fromkeys(texts))
            return self._compute(unique)[torch.tensor([unique.index(text) for text in texts])]
        self._forget_if_changed()
        if len(self._memory) > REMEMBERED:  # texts that are changed at random never come again
            self._memory = {}
        new = [text for text in dict.fromkeys(texts) if text not in self._memory]
        if new:
            # Not inference mode: a remembered feature may take part in a graph later.
            with torch.inference_mode(False), torch.no_grad():
                self._memory.update(zip(new, self._compute(new), strict=True))
        return torch.stack([self._memory[text] for text in texts])

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Texts -> ``(m l)`` int64 token ids with begin, end and padding.

        Raises:
            TextTooLong: names the first text that is longer than the tower reads; nothing is cut off silently.
        """
        encode, count, length = _tokenizer(self.model, self.download)
        for text in texts:
            if count(text) > length:
                raise TextTooLong(
                    f"The text {text[:60]!r}... has {count(text)} tokens, but {self.model} reads {length}. Shorten "
                    f"it, or split it into several texts and average their features."
                )
        return encode(list(texts))

    def length(self, text: str) -> int:
        """Number of tokens of a text, begin and end included."""
        return _tokenizer(self.model, self.download)[1](text)

    @property
    def context_length(self) -> int:
        """How many tokens the tower reads."""
        return _tokenizer(self.model, self.download)[2]

    def fits(self, text: str) -> bool:
        """Whether the tower reads the whole of a text."""
        return self.length(text) <= self.context_length

    @property
    def trained(self) -> bool:
        """Whether any weight of the tower is trained."""
        return any(parameter.requires_grad for parameter in self.tower.parameters())

    def train(self, mode: bool = True) -> TextEncoder:
        """Training mode for a tower that is trained; a frozen one stays in evaluation mode."""
        super().train(mode)
        self.tower.train(mode and self.trained)
        return self

    def _compute(self, texts: list[str]) -> Tensor:
        device = next(self.tower.parameters()).device
        tokens = self.tokenize(texts).to(device)
        with torch.autocast(device.type, enabled=False):
            return torch.cat([self.tower(part).float() for part in tokens.split(self.texts_per_batch)])

    def _forget_if_changed(self) -> None:
        """Every in-place change of a weight (a step, a loaded state dict) counts up its version."""
        weights = list(self.tower.parameters())
        now = (weights[0].dtype, sum(weight._version for weight in weights))
        if now != self._memory_of:
            self._memory, self._memory_of = {}, now

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> TextEncoder:
        super()._apply(fn, recurse)
        device = next(self.tower.parameters()).device
        self._memory = {text: feature.to(device) for text, feature in self._memory.items()}
        return self


@functools.cache
def _tokenizer(model: str, download: bool) -> tuple[Callable[[list[str]], Tensor], Callable[[str], int], int]:
    """Tokenizer, a counter of a text's tokens with begin and end, and how many the tower reads."""
    name = architecture(model)
    hub = config_of(name)["text_cfg"].get("hf_tokenizer_name")
    if not hub:
        plain = open_clip.get_tokenizer(name)
        return plain, lambda text: len(plain.encode(text)) + 2, plain.context_length
    try:
        source = model if model.startswith(FOLDER) else name  # such a folder holds its tokenizer too
        tokenizer = open_clip.get_tokenizer(source, local_files_only=not download)
    except (OSError, ImportError) as error:
        raise FileNotFoundError(
            f"The tokenizer of {name} is {hub!r}, which is not in the Hugging Face cache or needs the packages "
            f"transformers and sentencepiece ({type(error).__name__}). Set download to true to fetch it."
        ) from error
    count = lambda text: len(tokenizer.tokenizer(tokenizer.clean_fn(text)).input_ids)  # noqa: E731
    return tokenizer, count, tokenizer.context_length
