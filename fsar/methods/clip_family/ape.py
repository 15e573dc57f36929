"""APE: keep the channels that tell classes apart, compare query, text and cache in them; and its trained form.

Zhu et al. 2023, "Not All Features Matter", https://arxiv.org/abs/2304.01195 (ICCV), sections 3.1-3.3;
https://github.com/yangyangyang127/APE. With ' for the kept channels, normalised again::

    J_j    = -w_0 · similarity of classes in channel j + w_1 · variance of the texts in channel j
    κ_s    = KL(label of key s || softmax_c(F' W'))                       no temperature
    logits = 100 f W + α exp(-β (1 - f' F'ᵀ)) diag(exp(γ κ)) L            APE
    logits = 100 f W̃ + α exp(-β (1 - f F̃ᵀ)) diag(r) L                    APE-T: W_c and the keys of c plus res_c

The softmax over cosines without temperature is nearly uniform, so κ is nearly log2 n for every key and γ mostly
rescales α. In an episode the variance over n = 5 texts is noisy: by default the channels are chosen from the texts of
the split's classes. The release computes the criterion in O(C² k²) loops, keeps it on disk under a name that leaves out
the mode, takes the training-free channels in training, and cannot reach its own APE-T; none of that is copied.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from episodes.clips import Features
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

Weights = tuple[float, float]


def channel_scores(text: Tensor, weights: Weights, keys: Tensor | None = None, values: Tensor | None = None) -> Tensor:
    """The refinement criterion ``J`` (section 3.1) of every channel; the most useful ones have the largest.

    The mean product over all pairs of samples of different classes, a quadruple loop in the release, is
    ``[(Σ_c S_c)² - Σ_c S_c²] / [(Σ_c M_c)² - Σ_c M_c²]`` with ``S_c`` the sum of a class's ``M_c`` samples, its text
    and its keys.

    Args:
        text: ``(... n d)`` unit vectors.
        weights: of similarity and variance.
        keys: ``(... s d)`` unit vectors; without them the texts alone count.
        values: ``(... s n)`` one-hot labels of the keys.

    Returns:
        ``(... d)``.
    """
    sums, counts = text, torch.ones_like(text[..., :1])
    if keys is not None and values is not None:
        sums, counts = text + values.mT @ keys, 1 + values.sum(-2)[..., None]
    pairs = counts.sum(-2).square() - counts.square().sum(-2)
    similarity = (sums.sum(-2).square() - sums.square().sum(-2)) / pairs
    return -weights[0] * similarity + weights[1] * text.var(-2)


def kept_channels(scores: Tensor, count: int) -> Tensor:
    """``(... d) -> (... count)`` channels of the largest scores, ascending.

    Raises:
        ValueError: when there are not as many.
    """
    if not 1 <= count <= scores.shape[-1]:
        raise ValueError(f"channels={count} must lie in 1..{scores.shape[-1]}, the channels of the features.")
    return scores.topk(count).indices.sort(-1).values


def take_channels(x: Tensor, channels: Tensor) -> Tensor:
    """``(... v d)`` and ``(... Q)`` -> ``(... v Q)``."""
    index = channels.unsqueeze(-2).expand(*x.shape[:-1], channels.shape[-1])
    return x.gather(-1, index)


def ape_logits(
    query: Tensor,
    text: Tensor,
    keys: Tensor,
    values: Tensor,
    channels: Tensor,
    alpha: Strength,
    beta: Strength,
    gamma: Strength,
    temperature: float = 100.0,
) -> Tensor:
    """APE's logits from unit vectors.

    Args:
        query: ``(... q d)``.
        text: ``(... n d)``.
        keys: ``(... s d)``.
        values: ``(... s n)`` one-hot labels of the keys.
        channels: ``(... Q)`` or ``(Q)``, those that are kept.
        alpha: factor α of the cache.
        beta: sharpness β of the cache.
        gamma: weight γ of a key's own divergence.
        temperature: factor of the text cosine.

    Returns:
        ``(... q n)``.
    """
    query_kept, text_kept, keys_kept = (normalize(take_channels(x, channels), dim=-1) for x in (query, text, keys))
    probability = (keys_kept @ text_kept.mT).softmax(-1)  # (... s n)
    divergence = (values * ((values + 1e-6) / (probability + 1e-6)).log2()).sum(-1)  # (... s)
    weighted = (gamma * divergence[..., None]).exp() * values
    cache = cache_logits(query_kept @ keys_kept.mT, weighted, beta)
    return temperature * query @ text.mT + alpha * cache


class APE(PooledMethod):
    """APE, training-free.

    Args:
        encoder: an image-text encoder.
        channels: how many are kept, ``Q``; the release keeps 400-800 of 1024. None keeps three quarters.
        texts: what is said about a class; the encoder's own templates when not given.
        alpha: factor α of the cache.
        beta: sharpness β of the cache.
        gamma: weight γ of a key's own divergence.
        weights: of similarity and variance in the criterion.
        criterion: what chooses the channels: the texts of all classes of the split, those of the episode, or those
            of the episode with its support clips (the paper's).
        channel_classes: class names whose texts choose the channels in place of the split's, such as the training
            classes.
        temperature: factor of the text cosine.

    >>> APE(encoder, channels=16).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        channels: int | None = None,
        texts: TextBank | None = None,
        alpha: float = 1.0,
        beta: float = 1.0,
        gamma: float = 0.1,
        weights: Weights = (0.7, 0.3),
        criterion: Literal["split_text", "episode_text", "episode"] = "split_text",
        channel_classes: list[str] | None = None,
        temperature: float = 100.0,
    ) -> None:
        super().__init__(encoder, texts)
        if channel_classes is not None and criterion != "split_text":
            raise ValueError(f"channel_classes speaks for criterion='split_text', found criterion={criterion!r}.")
        self.channels = 3 * encoder.channels // 4 if channels is None else channels
        self.alpha: Strength = alpha
        self.beta: Strength = beta
        self.gamma: Strength = gamma
        self.weights = weights
        self.criterion = criterion
        self.channel_classes = channel_classes
        self.temperature = temperature

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        keys, values = support["pooled"], membership(episode.support_labels, episode.ways)
        channels = self.choose(text, episode, keys, values)
        logits = ape_logits(
            query["pooled"],
            text[episode.classes],
            keys,
            values,
            channels,
            self.alpha,
            self.beta,
            self.gamma,
            self.temperature,
        )
        return Scores(logits, logits)

    def choose(self, text: Tensor, episode: Task, keys: Tensor, values: Tensor) -> Tensor:
        """``(... Q)`` kept channels; text of the split ``(C d)``."""
        if self.criterion == "episode":
            scores = channel_scores(text[episode.classes], self.weights, keys, values)
        elif self.criterion == "episode_text":
            scores = channel_scores(text[episode.classes], self.weights)
        else:
            names = self.channel_classes
            reference = text if names is None else self.class_text(names)
            scores = channel_scores(reference, self.weights).expand(*episode.classes.shape[:-1], -1)
        return kept_channels(scores, self.channels)


class APET(APE):
    """APE-T: a residual of the kept channels for each class and a weight for each key, learned on the support frames.

    They are learned afresh for every episode: residuals of training classes say nothing about new ones. At the start
    the logits are Tip-Adapter's.

    Args:
        encoder: an image-text encoder.
        channels: how many are kept, ``Q``. None keeps three quarters.
        texts: what is said about a class; the encoder's own templates when not given.
        alpha: factor α of the cache when queries are scored.
        beta: sharpness β of the cache when queries are scored.
        weights: of similarity and variance in the criterion, which sees texts alone.
        channel_classes: class names whose texts choose the channels in place of the split's.
        temperature: factor of the text cosine.
        steps: of AdamW on all support frames at once (the release: 20-60 epochs).
        train_alpha: α while it learns.
        train_beta: β while it learns.
        optimizer: AdamW's settings; by default weight decay 0.1 and eps 0.001, as released.

    >>> APET(encoder, channels=16, steps=2).eval()(episode).logits.shape  # those of fsar.methods
    torch.Size([1, 2])
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        channels: int | None = None,
        texts: TextBank | None = None,
        alpha: float = 1.0,
        beta: float = 1.0,
        weights: Weights = (0.2, 0.8),
        channel_classes: list[str] | None = None,
        temperature: float = 100.0,
        steps: int = 20,
        train_alpha: float = 1.0,
        train_beta: float = 1.0,
        optimizer: AdamWSettings | None = None,
    ) -> None:
        super().__init__(
            encoder,
            channels,
            texts,
            alpha,
            beta,
            weights=weights,
            channel_classes=channel_classes,
            temperature=temperature,
        )
        self.steps = steps
        self.train_alpha, self.train_beta = train_alpha, train_beta
        self.optimizer = optimizer or AdamWSettings(eps=1e-3, weight_decay=0.1)

    def support_parts(self, features: Features, text: Tensor) -> Parts:
        return {"pooled": pool(features["frames"]), "frames": normalize(features["frames"], dim=-1)}

    def score(self, support: Parts, query: Parts, episode: Task, text: Tensor) -> Scores:
        with torch.inference_mode(False), torch.enable_grad():
            keys, class_text = support["pooled"].detach().clone(), text[episode.classes].detach().clone()
            frames = support["frames"].flatten(-3, -2).detach().clone()
            values = membership(episode.support_labels, episode.ways)
            channels = self.choose(text, episode, keys, values)
            targets = episode.support_labels.repeat_interleave(support["frames"].shape[-2], -1)
            residual = keys.new_zeros(*class_text.shape[:-1], self.channels).requires_grad_()
            importance = keys.new_ones(keys.shape[:-1]).requires_grad_()

            def refined(clips: Tensor, alpha: Strength, beta: Strength) -> Tensor:
                shift = spread_channels(residual, channels, keys.shape[-1])  # (... n d)
                words, cache = class_text + shift, keys + values @ shift
                attention = cache_logits(clips @ cache.mT, importance[..., None] * values, beta)
                return self.temperature * clips @ words.mT + alpha * attention

            fit_each(
                [residual, importance],
                lambda: summed_cross_entropy(refined(frames, self.train_alpha, self.train_beta), targets),
                self.steps,
                self.optimizer,
            )
        with torch.no_grad():
            logits = refined(query["pooled"], self.alpha, self.beta)
        return Scores(logits, logits)


def spread_channels(kept: Tensor, channels: Tensor, width: int) -> Tensor:
    """``(... v Q)`` at channels ``(... Q)`` of ``width`` -> ``(... v d)``, zero elsewhere: undoes take_channels."""
    index = channels.unsqueeze(-2).expand(kept.shape)
    return kept.new_zeros(*kept.shape[:-1], width).scatter(-1, index, kept)
