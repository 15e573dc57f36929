"""Tip-Adapter: the support clips as a cache of keys and labels, added to zero-shot CLIP; and its fine-tuned form.

Zhang et al. 2022, https://arxiv.org/abs/2207.09519 (ECCV), equations 4-7; https://github.com/gaopengcuhk/Tip-Adapter.
With f a query, W the class texts, F the keys, L their one-hot labels, all unit vectors::

    logits = 100 f W + α exp(-β (1 - f Fᵀ)) L

In an episode the cache holds the n k support clips. The fine-tuned form (Tip-Adapter-F) learns F on them, afresh for
every episode, so it looks at nothing that the training-free form does not; where the release sees a clip under many
augmentations, here its frames are the examples. The release picks its best epoch, and α and β, on the test set: here
the number of steps is fixed, and α and β come from validation episodes (:mod:`fsar.methods.clip_family.tuning`).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torchvision.transforms.v2.functional import InterpolationMode, horizontal_flip, resized_crop

from episodes.clips import Features, Streams
from episodes.episode import Task
from fsar.encoders.frame import FrameEncoder
from fsar.method import Parts, Scores
from fsar.methods.clip_family.pooled import (
    AdamWSettings,
    PooledMethod,
    Strength,
    cache_logits,
    fit_each,
    membership,
    pool,
    summed_cross_entropy,
)
from fsar.text import TextBank


def tip_logits(
    query: Tensor,
    text: Tensor,
    keys: Tensor,
    values: Tensor,
    alpha: Strength,
    beta: Strength,
    temperature: float = 100.0,
) -> Tensor:
    """Tip-Adapter's logits from unit vectors.

    Args:
        query: ``(... q d)``.
        text: ``(... n d)``.
        keys: ``(... s d)``.
        values: ``(... s n)``.
        alpha: factor α of the cache.
        beta: sharpness β of the cache.
        temperature: factor of the text cosine.

    Returns:
        ``(... q n)``.
    """
    return temperature * query @ text.mT + alpha * cache_logits(query @ keys.mT, values, beta)


class TipAdapter(PooledMethod):
    """Tip-Adapter, training-free.

    Args:
        encoder: an image-text encoder.
        texts: what is said about a class; the encoder's own templates when not given.
        alpha: factor α of the cache.
        beta: sharpness β of the cache.
        temperature: factor of the text cosine.
        keys: one key per support clip, or one per frame, which gives slack in time (their sum is divided by t).

    >>> TipAdapter(encoder).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        texts: TextBank | None = None,
        alpha: float = 1.0,
        beta: float = 1.0,
        temperature: float = 100.0,
        keys: Literal["clip", "frame"] = "clip",
    ) -> None:
        super().__init__(encoder, texts)
        self.alpha: Strength = alpha
        self.beta: Strength = beta
        self.temperature = temperature
        self.keys = keys

    def support_parts(self, features: Features, text: Tensor) -> Parts:
        frames = features["frames"]
        return {"keys": pool(frames)[..., None, :] if self.keys == "clip" else normalize(frames, dim=-1)}

    def cache(self, support: Parts, episode: Task) -> tuple[Tensor, Tensor]:
        """Keys ``(... s d)`` and values ``(... s n)`` of an episode; with frame keys there are ``s t`` of them."""
        values = membership(episode.support_labels, episode.ways)
        per_clip = support["keys"].shape[-2]
        return support["keys"].flatten(-3, -2), values.repeat_interleave(per_clip, -2) / per_clip

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        keys, values = self.cache(support, episode)
        logits = tip_logits(
            query["pooled"], text[episode.classes], keys, values, self.alpha, self.beta, self.temperature
        )
        return Scores(logits, logits)


class TipAdapterViews(TipAdapter):
    """Tip-Adapter whose keys are means over random views of the support clips, as released; from pixels only.

    Args:
        encoder: an image-text encoder.
        texts: what is said about a class; the encoder's own templates when not given.
        alpha: factor α of the cache.
        beta: sharpness β of the cache.
        temperature: factor of the text cosine.
        keys: one key per support clip, or one per frame.
        views: random crops of each support clip, whose features are averaged before they are normalised.
        flip: let half of the views be mirrored, as the release does; wrong where left and right make the class.

    >>> TipAdapterViews(encoder, views=2).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    text_conditioned = True  # a support clip, the one that has a text, is encoded otherwise than a query
    gives = ("frames",)

    def __init__(
        self,
        encoder: FrameEncoder,
        texts: TextBank | None = None,
        alpha: float = 1.0,
        beta: float = 1.0,
        temperature: float = 100.0,
        keys: Literal["clip", "frame"] = "clip",
        views: int = 10,
        flip: bool = False,
    ) -> None:
        super().__init__(encoder, texts, alpha, beta, temperature, keys)
        if views < 1:
            raise ValueError(f"views must be at least 1, found {views}.")
        self.views, self.flip = views, flip

    def encode(self, clips: Streams, text: Tensor | None = None) -> Features:
        """``frames (... t d)``; support clips, which come with a text, as the mean over their views."""
        if text is None:
            return super().encode(clips)
        pixels = clips["frames"]
        flat = pixels.reshape(-1, *pixels.shape[-4:])
        frames = torch.stack([self.encoder(random_views(clip, self.views, self.flip)).mean(0) for clip in flat])
        return Features(frames=frames.reshape(*pixels.shape[:-3], -1))


class TipAdapterF(TipAdapter):
    """Tip-Adapter-F: the keys are learned on the episode's own support frames, starting from the support clips.

    Args:
        encoder: an image-text encoder.
        texts: what is said about a class; the encoder's own templates when not given.
        alpha: factor α of the cache when queries are scored.
        beta: sharpness β of the cache when queries are scored.
        temperature: factor of the text cosine.
        steps: of AdamW on all support frames at once (the release: 20 epochs).
        train_alpha: α while the keys are learned.
        train_beta: β while the keys are learned.
        optimizer: AdamW's settings; the release has eps 1e-4 because it trains in half precision.

    >>> TipAdapterF(encoder, steps=2).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        texts: TextBank | None = None,
        alpha: float = 1.0,
        beta: float = 1.0,
        temperature: float = 100.0,
        steps: int = 20,
        train_alpha: float = 1.0,
        train_beta: float = 1.0,
        optimizer: AdamWSettings | None = None,
    ) -> None:
        super().__init__(encoder, texts, alpha, beta, temperature)
        self.steps = steps
        self.train_alpha, self.train_beta = train_alpha, train_beta
        self.optimizer = optimizer or AdamWSettings()

    def support_parts(self, features: Features, text: Tensor) -> Parts:
        return {**super().support_parts(features, text), "frames": normalize(features["frames"], dim=-1)}

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        keys, values = self.cache(support, episode)
        learned = self.learn(keys, values, support["frames"], episode.support_labels, text[episode.classes])
        return super().score({"keys": learned[..., None, :]}, query, episode, text)

    def learn(self, keys: Tensor, values: Tensor, frames: Tensor, labels: Tensor, text: Tensor) -> Tensor:
        """Keys ``(... s d)`` that name the support frames ``(... s t d)`` better; not normalised again, as released."""
        with torch.inference_mode(False), torch.enable_grad():
            values, frames, text = values.clone(), frames.flatten(-3, -2).detach().clone(), text.detach().clone()
            targets = labels.repeat_interleave(frames.shape[-2] // labels.shape[-1], -1)
            learned = keys.detach().clone().requires_grad_()

            def loss() -> Tensor:
                logits = tip_logits(frames, text, learned, values, self.train_alpha, self.train_beta, self.temperature)
                return summed_cross_entropy(logits, targets)

            fit_each([learned], loss, self.steps, self.optimizer)
        return learned.detach()


def random_views(clip: Tensor, views: int, flip: bool) -> Tensor:
    """Random resized crops (area 0.5-1, bicubic) of a clip ``(t c h w)`` -> ``(views t c h w)``, one crop per view.

    The draw is decided by the pixels, so that a clip has the same views in every run, batch and process.
    """
    generator = torch.Generator().manual_seed(int(clip.double().sum() * 251) % 2**63)
    height, width = clip.shape[-2:]
    made = []
    for _ in range(views):
        area, shape, top, left, mirror = torch.rand(5, generator=generator).tolist()
        ratio = math.exp((2 * shape - 1) * math.log(4 / 3))
        side = math.sqrt((0.5 + 0.5 * area) * height * width)
        h, w = min(height, round(side / math.sqrt(ratio))), min(width, round(side * math.sqrt(ratio)))
        place = [round(top * (height - h)), round(left * (width - w)), h, w]
        view = resized_crop(clip, *place, [height, width], InterpolationMode.BICUBIC, antialias=True)
        made.append(horizontal_flip(view) if flip and mirror < 0.5 else view)
    return torch.stack(made)
