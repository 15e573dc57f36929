"""Which frames are chosen: ranges, order, the published examples, short videos."""

from __future__ import annotations

import numpy as np
import pytest

from episodes.frames import (
    DenseSpan,
    FrameSampler,
    SegmentCentre,
    SegmentRandom,
    TrimmedLinspace,
    UniformLinspace,
    dense_span,
    segment_centre,
    segment_random,
    trimmed_linspace,
    uniform_linspace,
)

SAMPLERS = [
    SegmentRandom(),
    SegmentCentre(),
    UniformLinspace(),
    DenseSpan(),
    DenseSpan(random=True),
    DenseSpan(rate=4, target_fps=30.0, random=True),
    DenseSpan(truncate=True),
    DenseSpan(random=True, truncate=True),
    TrimmedLinspace(),
    TrimmedLinspace(random=True),
]


def naive_centre(frames: int, t: int) -> list[int]:
    from fractions import Fraction

    return [int((Fraction(i) + Fraction(1, 2)) * frames / t) for i in range(t)]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: f"{type(s).__name__}-{s.random}")
@pytest.mark.parametrize("t", [1, 2, 8, 16])
def test_every_length(sampler: FrameSampler, t: int) -> None:
    for frames in range(1, 1001):
        fps = (12.0, 29.97, 60.0)[frames % 3]
        chosen = sampler(frames, t, np.random.default_rng(frames), fps)
        assert chosen.shape == (t,)
        assert chosen.dtype == np.int64
        assert chosen.min() >= 0
        assert chosen.max() < frames
        assert (np.diff(chosen) >= 0).all()
        if frames >= t:
            assert (np.diff(chosen) > 0).all(), f"{frames} frames are enough for {t} different ones: {chosen}"
        np.testing.assert_array_equal(chosen, sampler(frames, t, np.random.default_rng(frames), fps))


def test_dense_span_worked_example() -> None:
    expected = [2, 39, 77, 114, 151, 188, 226, 263]
    np.testing.assert_array_equal(dense_span(300, 8, 30.0, rate=35, target_fps=12.0), expected)
    np.testing.assert_array_equal(DenseSpan()(300, 8, None, 30.0), expected)


def test_dense_span_that_fits() -> None:
    # 4 * 2 * 30 / 10 = 24 frames of 100; half of the 77 possible starts is 38; the last frame is 38 + 24 - 2.
    np.testing.assert_array_equal(dense_span(100, 4, 30.0, rate=2, target_fps=10.0), [38, 45, 53, 60])


def naive_published_span(frames: int, fps: float) -> list[int]:
    """The released arithmetic for 8 frames, 35 apart at 12 per second, half-way: fractions kept, then cut."""
    from fractions import Fraction

    span = 8 * 35 * Fraction(fps) / 12
    if span > frames:
        span = Fraction(frames // 8 * 8)
    start = max(frames - span + 1, Fraction(0)) / 2
    return [min(int(start + (span - 35) * i / 7), frames - 1) for i in range(8)]


def test_published_dense_span_cuts_fractions_off() -> None:
    published = DenseSpan(truncate=True)
    assert published(299, 8, None, 30.0).tolist() == [2, 39, 76, 113, 151, 188, 225, 263]
    assert published(300, 8, None, 30.0).tolist() == [2, 39, 77, 114, 151, 188, 226, 263]
    assert DenseSpan()(299, 8, None, 30.0).tolist() == [2, 39, 77, 114, 151, 188, 226, 263]
    pairs = [(frames, fps) for frames in range(48, 308) for fps in (15, 24, 25, 30)]
    moved = 0
    for frames, fps in pairs:
        expected = naive_published_span(frames, fps)
        assert published(frames, 8, None, float(fps)).tolist() == expected, (frames, fps)
        shift = np.abs(DenseSpan()(frames, 8, None, float(fps)) - expected).max()
        assert shift <= 1
        moved += int(shift)
    assert 0.4 < moved / len(pairs) < 0.5


def test_trimmed_linspace_is_what_trx_reads() -> None:
    assert trimmed_linspace(100, 8).tolist() == [1, 14, 28, 42, 56, 70, 84, 98]
    assert TrimmedLinspace()(100, 8).tolist() == [1, 14, 28, 42, 56, 70, 84, 98]
    assert trimmed_linspace(8, 8).tolist() == list(range(8))
    assert trimmed_linspace(10, 8).tolist() == [0, 1, 2, 3, 5, 6, 7, 9]  # 1..8 are too few steps: all frames
    assert trimmed_linspace(11, 8).tolist() == [1, 2, 3, 4, 5, 6, 7, 9]


@pytest.mark.parametrize(("frames", "margin"), [(8, 0), (9, 0), (10, 1), (14, 3), (18, 5), (100, 5)])
def test_trimmed_linspace_draws_both_ends(frames: int, margin: int) -> None:
    sampler = TrimmedLinspace(random=True)
    drawn = [sampler(frames, 8, np.random.default_rng(seed)) for seed in range(400)]
    ends = {(int(chosen[0]), int(chosen[-1])) for chosen in drawn}
    last = frames - 1
    wanted = {(a, last - b) for a in range(margin + 1) for b in range(margin + 1)}
    assert ends == {(a, b) if b - a >= 8 else (0, last) for a, b in wanted}
    for chosen in drawn:
        assert chosen.tolist() == [int(x) for x in np.linspace(chosen[0], chosen[-1], 8)]


def test_dense_span_reaches_both_ends() -> None:
    starts = {int(dense_span(30, 2, 10.0, 5, 10.0, np.random.default_rng(seed))[0]) for seed in range(400)}
    assert starts == set(range(21))  # a span of 10 frames in 30


def test_segment_centre_is_exact() -> None:
    for frames in range(1, 200):
        for t in range(1, min(frames, 17)):
            assert segment_centre(frames, t).tolist() == naive_centre(frames, t)
    assert segment_centre(100, 8).tolist() == [6, 18, 31, 43, 56, 68, 81, 93]


def test_segment_random_covers_each_segment_and_never_the_rest() -> None:
    seen: list[set[int]] = [set() for _ in range(4)]
    for seed in range(300):
        for segment, index in zip(seen, segment_random(23, 4, np.random.default_rng(seed)), strict=True):
            segment.add(int(index))
    assert seen == [set(range(start, start + 5)) for start in (0, 5, 10, 15)]


def test_uniform_linspace() -> None:
    assert uniform_linspace(10, 4).tolist() == [0, 3, 6, 9]
    assert uniform_linspace(100, 8).tolist() == [0, 14, 28, 42, 57, 71, 85, 99]


def test_views_differ_by_generator() -> None:
    sampler = SegmentRandom()
    views = {tuple(sampler(300, 8, np.random.default_rng([7, view]))) for view in range(5)}
    assert len(views) == 5


def test_short_videos() -> None:
    for kind in (SegmentRandom, SegmentCentre, UniformLinspace, TrimmedLinspace):
        generator = np.random.default_rng(0)
        assert kind()(3, 8, generator).tolist() == [0, 1, 2, 2, 2, 2, 2, 2]
        assert kind(short="loop")(3, 8, generator).tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
        with pytest.raises(ValueError, match="3 frames, but a clip needs 8"):
            kind(short="error")(3, 8, generator)
        assert kind(short="error")(8, 8, generator).tolist() == list(range(8))


def test_refusals() -> None:
    with pytest.raises(ValueError, match="at least 1 frame"):
        SegmentCentre()(0, 8)
    with pytest.raises(ValueError, match="numpy Generator"):
        SegmentRandom()(20, 8)
    with pytest.raises(ValueError, match="frames per second"):
        DenseSpan()(20, 8)
    with pytest.raises(ValueError, match="'loop'"):
        SegmentCentre(short="pad")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rate >= 1"):
        DenseSpan(rate=0)
    with pytest.raises(ValueError, match="numpy Generator"):
        TrimmedLinspace(random=True)(20, 8)
    with pytest.raises(NotImplementedError, match="choose"):
        FrameSampler()(20, 8)
