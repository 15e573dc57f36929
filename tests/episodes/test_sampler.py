"""Episode lists: arithmetic only, no file is touched."""

from __future__ import annotations

import numpy as np
import pytest

from episodes.sampler import EpisodeSampler, StridedSampler, draw_distinct, hash_words

LABELS = np.repeat(np.arange(8), [12, 9, 15, 7, 20, 11, 8, 10])[::-1].copy()  # not sorted by class


def naive_mix(state: int) -> int:
    """splitmix64 in Python's own integers."""
    mask = (1 << 64) - 1
    state = (state + 0x9E3779B97F4A7C15) & mask
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & mask
    state = (state ^ state >> 27) * 0x94D049BB133111EB & mask
    return state ^ state >> 31


def naive_draw(words: list[int], below: int) -> list[int]:
    """Take from a list of what is left, one after the other."""
    left = list(range(below))
    return [left.pop(((word >> 32) * len(left)) >> 32) for word in words]


def test_hash_is_splitmix64() -> None:
    assert int(hash_words(1234567)[0]) == 6457827717110365317  # first output of the published generator for this seed
    assert int(hash_words(7, 3, 5)[0]) == naive_mix(naive_mix(naive_mix(7) ^ 3) ^ 5)
    assert int(hash_words(-1, 2**40)[0]) == naive_mix(naive_mix(2**64 - 1) ^ 2**40)


def test_distinct_draws_equal_popping_from_a_list() -> None:
    words = hash_words(0, np.arange(50)[:, None], np.arange(6))
    drawn = draw_distinct(words, np.arange(50) + 6)
    assert drawn.tolist() == [naive_draw(row.tolist(), 6 + i) for i, row in enumerate(words)]


def test_first_episode_is_this_one() -> None:
    """If this literal ever has to change, every published episode list changes: raise the version and say so."""
    draw = EpisodeSampler(np.repeat(np.arange(24), 120), ways=5, shots=1, queries=1, seed=0).episodes([0])
    assert draw.classes.tolist() == [[3, 5, 17, 8, 11]]
    assert draw.support.tolist() == [[380, 616, 2139, 1062, 1332]]
    assert draw.query.tolist() == [[375, 702, 2146, 985, 1390]]


def test_fingerprint_is_this_one() -> None:
    sampler = EpisodeSampler(np.repeat(np.arange(24), 120), ways=5, shots=5, queries=2, seed=3)
    golden = "fdd147e399081473320657f54d4807c5ffcc6ae434c33dcd982e3e64e7b1aedf"
    assert sampler.fingerprint(1000) == golden
    other = EpisodeSampler(np.repeat(np.arange(24), 120), ways=5, shots=5, queries=2, seed=4)
    assert other.fingerprint(1000) != golden
    assert sampler.fingerprint(999) != golden


@pytest.mark.parametrize(("ways", "shots", "queries"), [(2, 1, 1), (5, 1, 5), (8, 5, 2), (3, 6, 1)])
def test_episodes_are_well_formed(ways: int, shots: int, queries: int) -> None:
    sampler = EpisodeSampler(LABELS, ways, shots, queries, seed=11)
    classes, support, query = sampler.episodes(np.arange(300))
    assert classes.shape == (300, ways)
    assert support.shape == (300, ways * shots)
    assert query.shape == (300, ways * queries)
    assert all(len(set(row)) == ways for row in classes.tolist())
    for s, q in zip(support.tolist(), query.tolist(), strict=True):
        assert len({*s, *q}) == ways * (shots + queries)  # distinct, and support and query share none
    assert np.array_equal(LABELS[support], classes[:, sampler.support_labels])
    assert np.array_equal(LABELS[query], classes[:, sampler.query_labels])


def test_an_episode_depends_on_its_number_alone() -> None:
    sampler = EpisodeSampler(LABELS, 5, 2, 2, seed=1)
    whole = sampler.episodes(np.arange(500))
    some = sampler.episodes([499, 0, 123])
    for a, b in zip(whole, some, strict=True):
        assert np.array_equal(a[[499, 0, 123]], b)
    other = EpisodeSampler(LABELS, 5, 2, 2, seed=2).episodes(np.arange(500))
    assert (whole.query != other.query).any(axis=1).mean() > 0.99
    for far in (2**16, 2**32):
        for a, b in zip(whole, sampler.episodes(np.arange(500) + far), strict=True):
            assert (a != b).any(axis=1).mean() > 0.99


def test_more_shots_and_more_ways_extend_the_same_episodes() -> None:
    small = EpisodeSampler(LABELS, 3, 1, 2, seed=5).episodes(np.arange(100))
    large = EpisodeSampler(LABELS, 5, 4, 2, seed=5).episodes(np.arange(100))
    assert np.array_equal(small.classes, large.classes[:, :3])
    assert np.array_equal(small.query, large.query[:, :6])
    assert np.array_equal(small.support, large.support.reshape(100, 5, 4)[:, :3, 0])


def test_classes_clips_and_pairs_of_classes_are_uniform() -> None:
    classes, support, query = EpisodeSampler(np.repeat(np.arange(10), 20), 4, 2, 1).episodes(np.arange(20000))
    for position in range(4):
        counts = np.bincount(classes[:, position], minlength=10)
        assert abs(counts / 2000 - 1).max() < 0.12  # the standard deviation of one count is 2.1 %
    pairs = np.bincount(classes[:, 0] * 10 + classes[:, 1], minlength=100).reshape(10, 10)
    assert (np.diag(pairs) == 0).all()
    assert abs(pairs[~np.eye(10, dtype=bool)] / (20000 / 90) - 1).max() < 0.35
    for part, expected in ((support, 800), (query, 400)):
        assert abs(np.bincount(part.ravel(), minlength=200) / expected - 1).max() < 0.25


def test_neighbouring_episodes_and_seeds_are_unrelated() -> None:
    labels = np.repeat(np.arange(10), 20)
    draws = [EpisodeSampler(labels, 2, 1, 1, seed).episodes(np.arange(5000)).query for seed in (0, 1)]
    same = np.mean(draws[0] == draws[1])
    following = np.mean(draws[0][1:] == draws[0][:-1])
    assert 0.002 < same < 0.008  # chance is 1 in 200
    assert 0.002 < following < 0.008


def test_too_few_classes() -> None:
    with pytest.raises(ValueError, match=r"need 9 classes, but this split has 8 classes.*Lower ways"):
        EpisodeSampler(LABELS, 9, 1, 1)


def test_too_few_clips_names_the_classes_and_the_way_out() -> None:
    names = list("abcdefgh")
    with pytest.raises(
        ValueError, match=r"need 10 distinct clips.*'b' \(9\), 'd' \(7\), 'g' \(8\).*drop_small"
    ) as error:
        EpisodeSampler(LABELS[::-1], 5, 5, 5, class_names=names)
    assert "5 of them with 10 clips or more" in str(error.value)
    sampler = EpisodeSampler(LABELS[::-1], 5, 5, 5, class_names=names, drop_small_classes=True)
    assert sampler.left_out == {"b": 9, "d": 7, "g": 8}
    assert sorted(set(sampler.episodes(np.arange(200)).classes.ravel().tolist())) == [0, 2, 4, 5, 7]
    with pytest.raises(ValueError, match=r"Lower shots or queries\.$"):  # dropping would leave too few
        EpisodeSampler(LABELS, 6, 5, 5, drop_small_classes=True)


def test_a_class_without_clips_is_small() -> None:
    with pytest.raises(ValueError, match=r"'ghost' \(0\)"):
        EpisodeSampler([0, 0, 1, 1], 2, 1, 1, class_names=["a", "b", "ghost"])
    with pytest.raises(ValueError, match="0 classes"):
        EpisodeSampler([], 2, 1, 1)


@pytest.mark.parametrize("wrong", [{"ways": 1}, {"shots": 0}, {"queries": 0}])
def test_numbers_too_low(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be at least"):
        EpisodeSampler(LABELS, **{"ways": 2, "shots": 1, "queries": 1, **wrong})


def test_opposites_draws_pairs_in_both_orders() -> None:
    pairs = ((0, 3), (4, 5), (2, 7))
    classes = EpisodeSampler(LABELS, 2, 1, 1, opposites=pairs).episodes(np.arange(3000)).classes
    found, counts = np.unique(classes, axis=0, return_counts=True)
    assert set(map(tuple, found.tolist())) == {*pairs, *((b, a) for a, b in pairs)}
    assert abs(counts / 500 - 1).max() < 0.2


def test_opposites_of_which_one_is_dropped_are_not_drawn() -> None:
    pairs = ((0, 3), (4, 5))  # class 3 has 7 clips
    sampler = EpisodeSampler(LABELS, 2, 5, 3, drop_small_classes=True, opposites=pairs)
    assert set(sampler.episodes(np.arange(50)).classes.ravel().tolist()) == {4, 5}


def test_opposites_errors() -> None:
    with pytest.raises(ValueError, match="2-way; found ways=5"):
        EpisodeSampler(LABELS, 5, 1, 1, opposites=((0, 1),))
    with pytest.raises(ValueError, match="names no two classes"):
        EpisodeSampler(LABELS, 2, 1, 1, opposites=())


@pytest.mark.parametrize("world", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("count", [5, 10, 13])
def test_ranks_partition_exactly(world: int, count: int) -> None:
    shares = [list(StridedSampler(range(count), rank, world)) for rank in range(world)]
    assert sorted(item for share in shares for item in share) == list(range(count))
    assert [len(StridedSampler(range(count), rank, world)) for rank in range(world)] == list(map(len, shares))
    assert shares[0] == list(range(0, count, world))


def test_epochs_renumber_training_episodes_only() -> None:
    training, fixed = StridedSampler(range(6), 1, 2, renumber=True), StridedSampler([4, 7, 9, 12], 1, 2)
    for epoch in (0, 1, 5):
        training.set_epoch(epoch)
        fixed.set_epoch(epoch)
        assert list(training) == [6 * epoch + 1, 6 * epoch + 3, 6 * epoch + 5]
        assert list(fixed) == [7, 12]


def test_each_rank_skips_the_first_of_its_own_items() -> None:
    for rank, rest in enumerate([[4, 6, 8, 10, 12], [5, 7, 9, 11]]):
        sampler = StridedSampler(range(13), rank, 2)
        sampler.skip = 2
        assert list(sampler) == rest


def test_fewer_items_than_processes() -> None:
    with pytest.raises(ValueError, match=r"2 items .* cannot be shared by 3 processes"):
        StridedSampler(range(2), 0, 3)
