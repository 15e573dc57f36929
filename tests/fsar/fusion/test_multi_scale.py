"""Levels of a video, and fusions under the prototypes: what each level is, and that episodes know no neighbours."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from episodes.clips import Features
from episodes.episode import Episode
from fsar.alignment import OTAM, Alignment, FrameMean
from fsar.encoders.frame import FrameEncoder
from fsar.fusion import Fusion, GatedCrossAttention, InterView, MultiScale, RegionAttention, TokenGrouping
from fsar.fusion.multi_scale import pool_grid, stride_frames
from fsar.methods import Prototype

D, W, T, P = 16, 24, 8, 16


class Encoder(FrameEncoder):
    """Gives nothing: the episodes hold features."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(1, 1), D, 8, (0.5,) * 3, (0.5,) * 3)

    def check_needs(self, needs: tuple[str, ...], who: str) -> None:
        """All names are there."""


class Named(Prototype):
    """With texts that are class numbers, spread out."""

    def class_text(self, names: object) -> Tensor:
        return torch.linspace(-1, 1, 5 * D).reshape(5, D)


def _episode(lead: tuple[int, ...] = (), ways: int = 3, shots: int = 2, queries: int = 4) -> Episode:
    generator = torch.Generator().manual_seed(4)

    def clips(count: int) -> Features:
        shapes = {"frames": (T, D), "patches": (T, P, W), "projected": (T, P, D), "layer 1": (T, P + 1, W)}
        return Features({k: torch.randn(*lead, count, *s, generator=generator) for k, s in shapes.items()})

    labels = torch.arange(ways).repeat_interleave(shots).expand(*lead, -1)
    truth = torch.randint(ways, (*lead, queries), generator=generator)
    classes = torch.arange(ways).expand(*lead, -1)
    names = tuple("abcde")
    return Episode(
        clips(ways * shots), clips(queries), labels, truth, classes, names, torch.zeros(lead, dtype=torch.int64)
    )


FUSIONS: dict[str, Fusion] = {
    "mean": MultiScale(grids=[1, 2], layers=[1], strides=[2, 3]),
    "weights": MultiScale(grids=[2], fuse="weights"),
    "concat": MultiScale(grids=[2], layers=[1], fuse="concat", channels=D, width=W),
    "inter_view": InterView(D, views=2),
    "grouping": TokenGrouping(W, groups=4, tokens=6, heads=2),
    "clip_groups": TokenGrouping(W, groups=4, tokens=6, heads=2, scope="clip"),
    "words": GatedCrossAttention(D, heads=2, published=True),
    "words_each": GatedCrossAttention(D, heads=2, published=True, queries="each"),
    "regions_that_move": RegionAttention("motion", patches=3),
    "regions_by_text": RegionAttention("text", patches=3),
}


class Nearest(Alignment):
    """The nearest shot of a class, by the mean frame."""

    merges_shots = True

    def forward(
        self, query: Tensor, support: Tensor, query_mask: Tensor | None = None, support_mask: Tensor | None = None
    ) -> Tensor:
        q, s = query.mean(-2), support.mean(-2)  # (... q d), (... n k d)
        return (q[..., :, None, None, :] * s[..., None, :, :, :]).sum(-1).amax(-1)


@pytest.mark.parametrize("alignment", [OTAM(), FrameMean(), Nearest()], ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("name", FUSIONS)
def test_an_episode_of_a_batch_is_scored_as_alone(name: str, alignment: Alignment) -> None:
    method = Named.__new__(Named)
    fusion = FUSIONS[name]
    reads, fusion.reads_text = fusion.reads_text, False  # the stand-in encoder has no text tower
    Named.__init__(method, Encoder(), alignment, fusion=fusion)
    fusion.reads_text = reads
    method.eval()
    batch = _episode((2,))
    logits = method(batch).logits
    assert logits.shape == (2, 4, 3)
    for e in range(2):
        alone = method(batch.map(lambda x, e=e: x[e])).logits
        torch.testing.assert_close(logits[e], alone, atol=1e-4, rtol=1e-4)
    one_query = method(_episode((), queries=4)).logits
    assert one_query.shape == (4, 3)


def test_a_query_for_each_class_is_what_one_class_alone_gives() -> None:
    fusion = GatedCrossAttention(D, heads=2, published=True, queries="each")
    frames, text = torch.randn(4, T, D), torch.randn(3, D)
    each = fusion.fuse_for_classes(frames, text)
    for c in range(3):
        alone = fusion.fuse_support(Features(frames=frames), text[c].expand(4, -1))["frames"]
        torch.testing.assert_close(each[c], alone)


def test_cells_are_means_of_their_patches_and_each_is_aligned_by_itself() -> None:
    patches = torch.randn(3, T, P, W, dtype=torch.float64)
    assert torch.equal(pool_grid(patches, 4), patches)
    torch.testing.assert_close(pool_grid(patches, 1)[..., 0, :], patches.mean(-2))
    quarter = patches.unflatten(-2, (4, 4))[..., :2, 2:, :].mean((-3, -2))
    torch.testing.assert_close(pool_grid(patches, 2)[..., 1, :], quarter)
    torch.testing.assert_close(pool_grid(patches, 2, rows=2)[..., 0, :], patches[..., :4, :].mean(-2))
    frames = torch.arange(5.0)[:, None]
    assert stride_frames(frames, 2).flatten().tolist() == [0.5, 2.5, 4.0]
    fusion = MultiScale(grids=[2])
    method = Named(Encoder(), FrameMean(), fusion=fusion)
    episode = _episode((), shots=1)
    levels = [fusion.fuse(clips)["grid 2"] for clips in (episode.query, episode.support)]  # type: ignore[arg-type]
    cells = [FrameMean()(levels[0][:, c], levels[1][:, c]) for c in range(4)]
    frames_alone = FrameMean()(episode.query["frames"], episode.support["frames"])
    expected = (torch.stack(cells).mean(0) + frames_alone) / 2
    torch.testing.assert_close(method(episode).logits, expected, atol=1e-5, rtol=1e-5)


def test_learned_weights_start_equal_and_add_up_to_one() -> None:
    part = MultiScale(grids=[1, 2], strides=[2], fuse="weights")
    torch.testing.assert_close(part.weigh(4), torch.full((4,), 0.25))
    part.weigh(4)[0].backward()
    assert part.weights is not None
    assert part.weights.grad is not None


def test_a_small_thing_is_seen_by_a_fine_grid_alone() -> None:
    """Classes differ in one patch of sixteen, in place rather than in content: the mean frame cannot tell them."""
    generator = torch.Generator().manual_seed(1)

    def clip(place: int) -> Features:
        patches = 1 + torch.randn(T, P, W, generator=generator) * 0.1
        patches[:, place] += torch.linspace(-1, 1, W)
        return Features(frames=patches.mean(-2)[:, :D], patches=patches)

    places = [0, 5, 15]
    support = [clip(p) for p in places]
    queries = [(i, clip(places[i])) for i in torch.randint(3, (30,), generator=generator).tolist()]

    def accuracy(fusion: Fusion | None) -> float:
        method = Named(Encoder(), FrameMean(), fusion=fusion)
        right = 0
        for truth, query in queries:
            clips = Features({k: torch.stack([s[k] for s in support]) for k in query})
            one = query.map(lambda x: x[None])
            labels = torch.arange(3)
            task = Episode(clips, one, labels, torch.tensor([truth]), labels, tuple("abcde"), torch.tensor(0))
            right += int(method(task).logits.argmax()) == truth
        return right / len(queries)

    assert accuracy(MultiScale(grids=[4])) > 0.95
    assert accuracy(None) < 0.7


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fuse": "sum"}, "fuse is mean, weights or concat"),
        ({"grids": []}, "give grids, layers or strides"),
        ({"fuse": "concat"}, "needs channels"),
        ({"fuse": "concat", "channels": 4, "width": 4, "strides": [2]}, "no strides"),
    ],
)
def test_wrong_options(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        MultiScale(**options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="12 patches in 3 rows cannot be averaged into 4 x 4"):
        pool_grid(torch.rand(2, 12, 5), 4)
    with pytest.raises(ValueError, match="15 patches in 3 rows cannot be averaged into 2 x 2"):
        pool_grid(torch.rand(2, 15, 5), 2)  # 3 x 5 would have been taken for a square
    assert pool_grid(torch.rand(2, 15, 5), 2, rows=3).shape == (2, 4, 5)
    with pytest.raises(ValueError, match="8 frames do not fall into views=3"):
        InterView(D, views=3).fuse(Features(frames=torch.rand(2, 8, D)))
