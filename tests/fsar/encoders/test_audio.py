"""Log-mel spectrograms against scipy, and a sound encoder's shapes, masks and refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fsar.encoders import AudioEncoder
from fsar.encoders.audio import log_mel, make_mel_filters, mean_of_modalities

RATE, WINDOW, HOP = 16000, 400, 160


def test_the_spectrogram_is_that_of_scipy() -> None:
    signal = pytest.importorskip("scipy.signal")
    sound = torch.randn(2, 2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    filters = make_mel_filters(20, WINDOW, RATE).double()
    found = log_mel(sound, filters, WINDOW, HOP)
    transform = signal.ShortTimeFFT(signal.windows.hann(WINDOW, sym=False), HOP, RATE)
    padded = np.pad(sound.numpy(), ((0, 0), (WINDOW // 2, WINDOW // 2)))
    columns = [padded[:, i * HOP : i * HOP + WINDOW] * transform.win for i in range(found.shape[-1])]
    power = np.abs(np.fft.rfft(np.stack(columns, 1))) ** 2
    wanted = np.log(power @ filters.numpy().T + 1e-6).swapaxes(1, 2)
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-9)
    inside = transform.spectrogram(sound.numpy(), p0=2, p1=9)
    np.testing.assert_allclose(np.exp(found[..., 2:9].numpy()) - 1e-6, filters.numpy() @ inside, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("tone", [300.0, 1000.0, 4000.0])
def test_the_loudest_band_is_at_the_tone(tone: float) -> None:
    sound = torch.sin(2 * math.pi * tone * torch.arange(8000, dtype=torch.float64) / RATE)
    filters = make_mel_filters(200, 2048, RATE).double()
    loudest = int(log_mel(sound, filters, 2048, HOP)[:, 20].argmax())
    top = 2595 * math.log10(1 + RATE / 2 / 700)
    middle = 700 * (10 ** (top * (loudest + 1) / 201 / 2595) - 1)
    assert middle == pytest.approx(tone, rel=0.03)


def test_shapes_a_missing_track_and_the_batch() -> None:
    torch.manual_seed(0)
    encoder = AudioEncoder(6, mels=16, width=16, layers=1, heads=2).eval()
    sound = torch.randn(2, 3, 4000)
    there = torch.tensor([[True, False, True], [True, True, True]])
    found = encoder(sound, there)
    assert found.shape == (2, 3, 3, 6)
    assert float(found[0, 1].detach().abs().max()) == 0
    torch.testing.assert_close(found[1, 2], encoder(sound[1, 2]), atol=1e-5, rtol=1e-5)
    found.sum().backward()
    assert all(weight.grad is not None for weight in encoder.parameters())


def test_what_cannot_be_heard_is_refused() -> None:
    encoder = AudioEncoder(6, mels=16, width=16, layers=1, heads=2)
    with pytest.raises(ValueError, match="made for 16000 samples a second, found 44100"):
        encoder(torch.zeros(1, 4000), rate=44100)
    with pytest.raises(ValueError, match="at least window=400 samples"):
        encoder(torch.zeros(1, 100))
    with pytest.raises(ValueError, match="200 mel bands are more"):
        AudioEncoder(6, mels=200)
    with pytest.raises(ValueError, match="rate is whole samples a second, at least 1, found 0"):
        AudioEncoder(6, rate=0)


def test_modalities_are_averaged_where_both_clips_have_them() -> None:
    costs = torch.stack([torch.full((2, 3), 1.0), torch.full((2, 3), 5.0)])
    query = torch.tensor([[True, True], [True, False]])
    support = torch.tensor([[True, True, True], [False, True, True]])
    assert mean_of_modalities(costs, support, query).tolist() == [[1, 3, 3], [1, 1, 1]]
    with pytest.raises(ValueError, match="share no modality"):
        mean_of_modalities(costs, support & False, query)
