"""The symmetric contrast with several positives against CLIP's own loss and a loop."""

from __future__ import annotations

import open_clip
import torch
from torch.nn.functional import cross_entropy, normalize

from fsar.objectives import both_directions, multi_positive_kl


def test_one_positive_each_is_clips_loss() -> None:
    video, text = (normalize(torch.randn(6, 8), dim=-1) for _ in range(2))
    theirs = open_clip.ClipLoss()(video, text, torch.tensor(14.3))
    torch.testing.assert_close(both_directions(14.3 * video @ text.T, torch.eye(6).bool()), theirs)


def test_several_positives_against_a_loop() -> None:
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 0, 0, 1])
    positive = labels[:, None] == torch.arange(3)  # no clip of class 2
    rows = cross_entropy(logits, labels)
    columns = [
        -logits[:, c].log_softmax(0)[labels == c].mean() - (labels == c).sum().log()  # less the entropy of the target
        for c in (0, 1)
    ]
    torch.testing.assert_close(both_directions(logits, positive), (rows + sum(columns) / 2) / 2)


def test_episodes_may_be_stacked() -> None:
    logits, positive = torch.randn(2, 5, 4), torch.rand(2, 5, 4) > 0.4
    positive[..., 0, :] = positive[..., :, 0] = True
    each = torch.stack([both_directions(x, p) for x, p in zip(logits, positive, strict=True)])
    torch.testing.assert_close(both_directions(logits, positive), each.mean())


def test_a_row_without_positives_counts_nothing() -> None:
    logits, positive = torch.randn(3, 4), torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]], dtype=torch.bool)
    for temperature in (None, 10.0):
        expected = multi_positive_kl(logits[[0, 2]], positive[[0, 2]], temperature)
        torch.testing.assert_close(multi_positive_kl(logits, positive, temperature), expected)


def test_halves_are_counted_in_float32() -> None:
    logits, positive = torch.randn(5, 4).bfloat16(), torch.rand(5, 4) > 0.4
    assert torch.equal(both_directions(logits, positive), both_directions(logits.float(), positive))
