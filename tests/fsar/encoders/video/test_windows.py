"""Windows over clips that are longer than a video network takes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from episodes.clips import Streams
from fsar.adapters import LoRA
from fsar.alignment import OTAM
from fsar.encoders import Adapted, VideoEncoder
from fsar.methods import Prototype
from fsar.temporal import TemporalTransformer
from fsar.training.joining import check_joined


def windowed(plain: VideoEncoder, window: int, stride: int) -> VideoEncoder:
    """The same network, in windows."""
    encoder = VideoEncoder("swin3d_t", None, image_size=32, window=window, window_stride=stride)
    encoder.load_state_dict(plain.state_dict())
    return encoder


@pytest.fixture(scope="module")
def plain() -> VideoEncoder:
    torch.manual_seed(0)
    return VideoEncoder("swin3d_t", None, image_size=32)


@pytest.mark.parametrize(("window", "stride", "frames"), [(4, 4, 12), (4, 2, 8), (8, 2, 14), (8, 6, 20), (6, 6, 6)])
@pytest.mark.parametrize("chunk", [None, 1, 3])
def test_a_step_is_the_mean_over_the_windows_that_see_it(
    plain: VideoEncoder, window: int, stride: int, frames: int, chunk: int | None
) -> None:
    encoder = windowed(plain, window, stride)
    encoder.frames_per_chunk = chunk
    clips = torch.randint(0, 256, (2, 3, frames, 3, 32, 32), dtype=torch.uint8)
    found = encoder.features(Streams(frames=clips), ("frames", "patches"))
    seen: dict[str, list[list[torch.Tensor]]] = {name: [[] for _ in range(frames // 2)] for name in found}
    for start in range(0, frames - window + 1, stride):
        one = plain.features(Streams(frames=clips[:, :, start : start + window]), ("frames", "patches"))
        for name, value in one.items():
            for i in range(window // 2):
                seen[name][start // 2 + i].append(value[:, :, i])
    for name, steps in seen.items():
        wanted = torch.stack([sum(step[1:], start=step[0]) / len(step) for step in steps], 2)
        torch.testing.assert_close(found[name], wanted, rtol=1e-4, atol=1e-5)
    assert encoder.steps(frames) == found["frames"].shape[2]
    assert encoder.spans(frames) == [(i, i + 1) for i in range(0, frames, 2)]


def test_windows_stay_where_weights_are_changed(plain: VideoEncoder) -> None:
    clips = torch.randint(0, 256, (1, 6, 3, 32, 32), dtype=torch.uint8)
    adapted = Adapted(windowed(plain, 4, 2), LoRA(rank=2)).eval()
    torch.testing.assert_close(adapted(clips), windowed(plain, 4, 2)(clips), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="sees 4 frames at a time, each window 2 after the last"):
        check_joined(Prototype(adapted, OTAM()), 7)


def test_methods_of_a_subclass_are_not_dropped_in_silence() -> None:
    class Mine(VideoEncoder):
        pass

    with pytest.raises(ValueError, match="Mine is a VideoEncoder of another class, whose own methods"):
        Adapted(Mine("r3d_18", None, image_size=32), LoRA(rank=2))


def test_windows_side_by_side_are_views_of_what_is_stored(plain: VideoEncoder) -> None:
    clips = torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8)
    stored = windowed(plain, 4, 4)(clips)
    windows = stored.unflatten(0, (3, 2))
    assert windows.data_ptr() == stored.data_ptr()
    torch.testing.assert_close(windows[1], plain(clips[4:8]), rtol=1e-4, atol=1e-5)


def test_gradients_are_those_of_the_windows_one_by_one(plain: VideoEncoder) -> None:
    torch.manual_seed(1)
    trained = VideoEncoder("swin3d_t", None, image_size=32, tune=1, window=4, window_stride=2)
    alone = VideoEncoder("swin3d_t", None, image_size=32, tune=1)
    alone.load_state_dict(copy.deepcopy(trained.state_dict()))
    trained.eval(), alone.eval()
    clips = torch.randint(0, 256, (1, 8, 3, 32, 32), dtype=torch.uint8)
    trained(clips).square().sum().backward()
    first, second, third = (alone(clips[:, i : i + 4]) for i in (0, 2, 4))
    middle = [(first[:, 1] + second[:, 0]) / 2, (second[:, 1] + third[:, 0]) / 2]
    torch.stack([first[:, 0], *middle, third[:, 1]]).square().sum().backward()
    got, wanted = ({n: p.grad for n, p in e.named_parameters() if p.requires_grad} for e in (trained, alone))
    largest = max(float(grad.abs().max()) for grad in wanted.values() if grad is not None)
    for name, grad in wanted.items():
        torch.testing.assert_close(got[name], grad, rtol=1e-3, atol=1e-5 * largest)


def test_a_store_tells_them_apart(plain: VideoEncoder) -> None:
    keys = {windowed(plain, w, s).fingerprint() for w, s in ((4, 4), (4, 2), (8, 4))} | {plain.fingerprint()}
    assert len(keys) == 4
    assert windowed(plain, 4, 4).fingerprint() == windowed(plain, 4, 4).fingerprint()


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("swin3d_t", {"window": 7}, r"window is 7, but VideoEncoder .* of every 2 frames: set window to 6 or 8"),
        ("swin3d_t", {"window": 8, "window_stride": 9}, "=9: expected a multiple of 2, .* from 2 to 8"),
        ("swin3d_t", {"window": 8, "window_stride": -1}, "window_stride=-1: expected a multiple of 2"),
        ("swin3d_t", {"window": 0}, "window is 0, but .* set window to 2 or a multiple"),
        ("swin3d_t", {"window_stride": 4}, "window_stride=4 without window"),
        ("mvit_v2_s", {"window": 8}, r"window is 8, but .* was built for clips of 16: set window to 16"),
    ],
)  # fmt: skip
def test_windows_that_the_network_does_not_take(model: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        VideoEncoder(model, None, **options)


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        (
            4,
            r"data.frames is 4, .* sees 8 frames at a time, .*: set data.frames to 8 or more, or window",
        ),
        (13, r"data.frames is 13, .* each window 4 after the last: set data.frames to 12 or 16, or window"),
    ],
)
def test_windows_longer_than_the_clip(plain: VideoEncoder, frames: int, said: str) -> None:
    encoder = windowed(plain, 8, 4)
    with pytest.raises(ValueError, match=said):
        check_joined(Prototype(encoder, OTAM()), frames)
    with pytest.raises(ValueError, match=said):
        encoder(torch.zeros(frames, 3, 32, 32, dtype=torch.uint8))


def test_parts_see_the_steps_of_all_windows(plain: VideoEncoder) -> None:
    method = Prototype(windowed(plain, 8, 4), OTAM(), TemporalTransformer(plain.channels, positions=8))
    check_joined(method, 16)
    with pytest.raises(ValueError, match=r"data.frames is 20, of which VideoEncoder makes 10 steps, .* 8 positions"):
        check_joined(method, 20)
