"""Support and query in two passes of the encoder, or in one: what BatchNorm makes of it."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from episodes.clips import Features, Streams
from episodes.episode import Episode
from fsar.alignment import OTAM
from fsar.encoders.frame import FrameEncoder
from fsar.method import Scores
from fsar.methods import ClipFSAR

RECIPES = sorted((Path(__file__).resolve().parents[3] / "configs" / "method" / "clip_fsar").glob("*.yaml"))
TEXT = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))


class Text(nn.Module):
    def forward(self, names: object) -> Tensor:
        return TEXT


def make(separate_passes: bool) -> ClipFSAR:
    torch.manual_seed(0)
    tower = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    encoder = FrameEncoder(tower, 8, 8, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), text=Text(), tune="full")  # type: ignore[arg-type]
    method = ClipFSAR(encoder, OTAM(temperature=0.5), separate_passes=separate_passes)
    for module in method.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return method.train()


def episode() -> Episode:
    generator = torch.Generator().manual_seed(2)
    support = torch.rand(3, 4, 3, 8, 8, generator=generator)
    query = torch.rand(6, 4, 3, 8, 8, generator=generator) ** 2  # darker: other statistics
    labels, clips = torch.arange(3), [Streams(frames=frames) for frames in (support, query)]
    return Episode(*clips, labels, labels.repeat(2), labels, ("a", "b", "c"), torch.tensor(0))


def in_two_passes(method: ClipFSAR, episode: Episode) -> Scores:
    """By hand: the tower on the support frames, then on the query frames."""
    features = []
    for clips in (episode.support["frames"], episode.query["frames"]):
        frames = (clips.flatten(0, 1) - 0.5) / 0.2
        features.append(Features(frames=method.encoder.visual(frames).unflatten(0, clips.shape[:2])))
    text = TEXT[episode.support_classes]
    return method.score(method.support_parts(features[0], text), method.query_parts(features[1]), episode, TEXT)


def learnt(method: ClipFSAR, scores: Scores, episode: Episode) -> dict[str, Tensor]:
    """Logits, gradients and running statistics of a training step."""
    method.loss(scores, episode)["loss"].backward()
    norm = method.encoder.visual[1]
    found = {"logits": scores.few_shot.detach(), "mean": norm.running_mean, "variance": norm.running_var}
    return found | {name: p.grad for name, p in method.named_parameters() if p.grad is not None}


def test_two_passes_are_two_passes_and_one_is_another_thing() -> None:
    separate, joint = make(True), make(False)
    by_hand = copy.deepcopy(separate)
    clips = episode()
    expected = learnt(by_hand, in_two_passes(by_hand, clips), clips)
    found = learnt(separate, separate(clips), clips)
    assert found.keys() == expected.keys()
    assert "encoder.visual.1.weight" in found
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6, msg=name)
    assert int(separate.encoder.visual[1].num_batches_tracked) == 2
    other = learnt(joint, joint(clips), clips)
    for name in ("logits", "encoder.visual.1.weight", "mean", "variance"):
        assert (other[name] - expected[name]).abs().max() > 1e-2 * expected[name].abs().max(), name


def test_without_training_it_makes_no_difference() -> None:
    separate, joint = make(True).eval(), make(False).eval()
    torch.testing.assert_close(separate(episode()).logits, joint(episode()).logits)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_released_recipes_train_in_two_passes(recipe: Path) -> None:
    method = yaml.safe_load(recipe.read_text())["model"]["method"]["init_args"]
    assert method["separate_passes"] is True
    assert ClipFSAR.separate_passes is False
