"""Sound -> features over time: a log-mel spectrogram and a small transformer.

The place of AudioCLIP's sound tower (Guzhov et al. 2022, https://arxiv.org/abs/2106.13043); any module of ``(b samples)
-> (b t' d)`` may stand there. With S the power of a windowed Fourier transform, w samples every h, and M triangles on
the mel scale ``2595 log10(1 + f/700)``::

    log-mel = log(M S + 1e-6)                          (m, 1 + samples/h)
    x       = patches of so many columns -> linear + places -> transformer -> linear         (t' d)

:class:`WithSound` has it beside an encoder of pictures. A clip without a track comes with NaN samples and has features
of zeros, which ``fsar.methods.SightAndSound`` and ``fsar.objectives.TrimodalContrast`` leave out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from episodes.clips import Features, Streams
from fsar.encoders.frame import FrameEncoder
from fsar.encoders.weights.state import sha256_of


def make_mel_filters(mels: int, window: int, rate: int) -> Tensor:
    """Triangles ``(m 1+window/2)`` over the frequencies of a transform, equally far apart in mel from 0 to rate/2.

    Raises:
        ValueError: more bands than the window can tell apart.
    """
    top = 2595 * math.log10(1 + rate / 2 / 700)
    corners = 700 * (10 ** (torch.linspace(0, top, mels + 2, dtype=torch.float64) / 2595) - 1)
    frequencies = torch.linspace(0, rate / 2, window // 2 + 1, dtype=torch.float64)
    low, middle, high = (corners[i : i + mels, None] for i in range(3))
    rise, fall = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    filters = torch.minimum(rise, fall).clamp_min(0)
    if bool((filters.sum(1) == 0).any()):
        raise ValueError(
            f"{mels} mel bands are more than a window of {window} samples at {rate} a second can tell apart: take "
            "fewer bands or a longer window."
        )
    return filters.float()


def log_mel(sound: Tensor, filters: Tensor, window: int, hop: int) -> Tensor:
    """Log-mel spectrogram ``(... m 1+samples/hop)`` of samples ``(... samples)``; a column is centred on its time, and
    sound is 0 beyond its ends."""
    shape = torch.hann_window(window, dtype=sound.dtype, device=sound.device)
    flat = sound.reshape(-1, sound.shape[-1])
    spectrum = torch.stft(flat, window, hop, window=shape, pad_mode="constant", return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()
    found = (filters.to(power) @ power + 1e-6).log()
    return found.reshape(*sound.shape[:-1], *found.shape[1:])


class AudioEncoder(nn.Module):
    """Samples ``(... samples)`` -> features ``(... t' d)``.

    Args:
        channels: ``d``, such as the width of the space of images and texts.
        rate: samples a second that the sound must come at.
        mels: bands of the spectrogram.
        window: samples of a transform.
        hop: samples between two.
        patch: columns of the spectrogram in one step: ``t' = ceil((1 + samples/hop) / patch)``.
        width: of the transformer.
        layers: of the transformer.
        heads: of its attention.
        dropout: in training.

    Examples:
        >>> AudioEncoder(channels=12)(torch.zeros(2, 16000)).shape
        torch.Size([2, 11, 12])
    """

    filters: Tensor

    def __init__(
        self,
        channels: int,
        rate: int = 16000,
        mels: int = 64,
        window: int = 400,
        hop: int = 160,
        patch: int = 10,
        width: int = 128,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if rate < 1 or int(rate) != rate:
            raise ValueError(f"AudioEncoder: rate is whole samples a second, at least 1, found {rate}.")
        if width % (2 * heads):
            raise ValueError(f"AudioEncoder: width={width} must be a multiple of 2 · heads={heads}.")
        self.channels, self.rate, self.window, self.hop, self.patch = channels, rate, window, hop, patch
        self.register_buffer("filters", make_mel_filters(mels, window, rate), persistent=False)
        self.enter = nn.Linear(mels * patch, width)
        block = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.leave = nn.Linear(width, channels)

    def forward(self, sound: Tensor, there: Tensor | None = None, rate: int | None = None) -> Tensor:
        """Features of sounds.

        Args:
            sound: ``(... samples)`` in -1..1, one channel.
            there: ``(...)`` bool, false for a clip without a track: its features are all zeros, which matching and
                ``fsar.objectives.TrimodalContrast`` take for none.
            rate: samples a second that the sound has, to be checked.

        Returns:
            ``(... t' d)``.

        Raises:
            ValueError: sound at another rate, or too little of it.
        """
        if rate is not None and rate != self.rate:
            raise ValueError(
                f"AudioEncoder was made for {self.rate} samples a second, found {rate}: resample the sound, or make it "
                f"with rate={rate}."
            )
        if sound.dim() < 1 or not sound.is_floating_point() or sound.shape[-1] < self.window:
            raise ValueError(
                f"sound is (... samples) in floating point with at least window={self.window} samples, found "
                f"{tuple(sound.shape)} {sound.dtype}."
            )
        spectrum = log_mel(sound.reshape(-1, sound.shape[-1]), self.filters, self.window, self.hop)
        lacking = -spectrum.shape[-1] % self.patch
        spectrum = nn.functional.pad(spectrum, (0, lacking), value=math.log(1e-6))
        steps = spectrum.unflatten(-1, (-1, self.patch)).transpose(1, 2).flatten(2)  # (b t' m·patch)
        x = self.enter(steps)
        found: Tensor = self.leave(self.blocks(x + make_places(x.shape[1], x.shape[2]).to(x)))
        found = found.reshape(*sound.shape[:-1], *found.shape[1:])
        return found if there is None else found * there[..., None, None].to(found)


def make_places(steps: int, width: int) -> Tensor:
    """Sines and cosines ``(steps width)`` that tell the steps apart."""
    speed = torch.exp(torch.arange(width // 2) * (-math.log(10000.0) / (width // 2)))
    angle = torch.arange(steps)[:, None] * speed
    return torch.cat([angle.sin(), angle.cos()], -1)


def mean_of_modalities(costs: Tensor, support: Tensor, query: Tensor) -> Tensor:
    """Similarities or costs of modalities ``(m ... q s)`` averaged over those that both clips have.

    Args:
        costs: of each modality, query and support clip.
        support: ``(m ... s)`` bool, which support clips have it.
        query: ``(m ... q)`` bool, likewise.

    Returns:
        ``(... q s)``.

    Raises:
        ValueError: two clips that share no modality.
    """
    both = query[..., :, None] & support[..., None, :]
    count = both.sum(0)
    if bool((count == 0).any()):
        raise ValueError("two clips share no modality, so nothing tells how alike they are; frames are always there.")
    return torch.where(both, costs, torch.zeros_like(costs)).sum(0) / count


class WithSound(FrameEncoder):
    """``frames (... t d)`` as an encoder of pictures gives them, and ``sound (... t' d')``.

    Args:
        encoder: of pictures, such as a frozen ``fsar.encoders.ClipEncoder``; it is taken over, not copied. Adapters and
            networks that see a clip as a whole are not taken.
        sound: of samples at the rate of ``data.sound_rate``.

    Raises:
        ValueError: an encoder with a way of its own through a clip.

    Examples:
        >>> from fsar.encoders import ClipEncoder
        >>> encoder = WithSound(ClipEncoder("fsar-tiny", "shapes"), AudioEncoder(channels=64))
        >>> clips = Streams(frames=torch.rand(2, 4, 3, 64, 64), sound=torch.zeros(2, 16000))
        >>> encoder.features(clips, ("frames", "sound"))
        Features(frames=(2, 4, 64), sound=(2, 11, 64))
    """

    def __init__(self, encoder: FrameEncoder, sound: AudioEncoder) -> None:
        if type(encoder)._pass is not FrameEncoder._pass or type(encoder).features is not FrameEncoder.features:
            raise ValueError(
                f"WithSound takes an encoder of single pictures, but {type(encoder).__name__} sees a clip as a whole: "
                "give it a ClipEncoder or an ImageEncoder."
            )
        super().__init__(
            encoder.visual,
            channels=encoder.channels,
            image_size=encoder.image_size,
            mean=encoder.mean,
            std=encoder.std,
            text=encoder.text,
            tune="full",  # what is trained was settled by the encoder
            frames_per_chunk=encoder.frames_per_chunk,
            identity=f"{encoder.identity} + {type(sound).__name__} {(sound.channels, sound.rate, sound.patch)}",
            framing=encoder.framing,
        )
        self.sound = sound

    @property
    def gives(self) -> tuple[str, ...]:
        return (*super().gives, "sound")

    @property
    def widths(self) -> dict[str, int]:
        return {**super().widths, "sound": self.sound.channels}

    @property
    def kept_layers(self) -> tuple[int, ...]:
        return ()

    @property
    def frozen(self) -> bool:
        """Whether nothing in either tower is trained."""
        return super().frozen and not any(weight.requires_grad for weight in self.sound.parameters())

    def fingerprint(self, trained: bool = False) -> str:
        kept = trained or not any(weight.requires_grad for weight in self.sound.parameters())
        return sha256_of([super().fingerprint(trained)], self.sound.state_dict() if kept else {})

    def features(self, clips: Streams, needs: Sequence[str] = ("frames",), text: Tensor | None = None) -> Features:
        """See :meth:`FrameEncoder.features`; reads ``sound (... samples)`` of the clips where it is needed.

        Raises:
            ValueError: clips without that stream.
        """
        self.check_needs(needs, "what is asked for")
        seen = [name for name in needs if name != "sound"]
        with torch.set_grad_enabled(torch.is_grad_enabled() and not super().frozen):
            found = super().features(clips, seen, text)
        if len(seen) == len(needs):
            return found
        if (samples := clips.get("sound")) is None:
            raise ValueError(
                f"WithSound reads a stream of sound, found {' and '.join(clips)}: set data.sound_rate to "
                f"{self.sound.rate}."
            )
        there = ~samples.isnan().all(-1)
        heard = self.sound(samples.nan_to_num(0.0), there, None)
        return Features({**found, "sound": heard.float()})
