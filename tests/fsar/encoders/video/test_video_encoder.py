"""Video networks as encoders: what all of them promise, on tiny or random ones of every kind."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import torchvision
from torchvision.models.video.mvit import MSBlockConfig, MViT

from episodes.clips import Streams
from episodes.episode import Episode
from fsar.adapters import AIM, LoRA
from fsar.alignment import OTAM, FrameMean
from fsar.alignment.covariance import AlphaDistance
from fsar.encoders import Adapted, VideoEncoder
from fsar.encoders.video.network import VIDEO_NETWORKS, VideoNetwork, _mvit, own_pixels
from fsar.methods import Prototype
from fsar.temporal import TemporalTransformer
from fsar.training.joining import check_joined

BOTH = ("frames", "patches")


class Case(NamedTuple):
    """A network, a clip that it takes, and what it makes of it."""

    model: str
    frames: int
    steps: int
    blocks: int
    side: int = 32

    @property
    def ours(self) -> bool:
        return self.model in VIDEO_NETWORKS


CASES = (
    Case("r3d_18", 8, 1, 4),
    Case("mc3_18", 3, 3, 4),
    Case("r2plus1d_18", 8, 1, 4),
    Case("s3d", 16, 2, 16, side=64),
    Case("swin3d_t", 4, 2, 7, side=64),
    Case("videomae", 4, 2, 2),
    Case("videomae_tuned", 4, 2, 2),
    Case("vjepa2", 6, 3, 2),
    Case("timesformer", 4, 4, 2),
    Case("vivit", 4, 2, 2),
    Case("xclip", 4, 4, 2),
)
every = pytest.mark.parametrize("case", CASES, ids=lambda case: case.model)
Make = Callable[..., VideoEncoder]


@pytest.fixture
def make(folders: Callable[..., str]) -> Make:
    """The encoder of a case: random weights of torchvision, a folder's own of transformers."""

    def made(case: Case, **options: Any) -> VideoEncoder:
        if case.ours:
            return VideoEncoder(case.model, None, image_size=case.side, **options)
        return VideoEncoder(folders(case.model), folders(case.model), "transformers", **options)

    return made


def pixels(case: Case, *lead: int) -> Streams:
    return Streams(frames=torch.randint(0, 256, (*lead, case.frames, 3, case.side, case.side), dtype=torch.uint8))


@every
def test_clips_become_steps(case: Case, make: Make) -> None:
    encoder, clips = make(case), pixels(case, 2, 1)
    found = encoder.features(clips, BOTH)
    assert found["frames"].shape == (2, 1, case.steps, encoder.channels)
    assert found["patches"].shape == (2, 1, case.steps, 4, encoder.widths["patches"])
    assert encoder.grid == (2, 2)
    assert encoder.steps(case.frames) == case.steps
    share = case.frames // case.steps
    assert encoder.spans(case.frames) == [(i * share, (i + 1) * share - 1) for i in range(case.steps)]
    assert len(encoder.blocks) == case.blocks
    if case.model not in ("xclip", "videomae_tuned"):  # a class token; a norm behind the mean
        torch.testing.assert_close(found["patches"].mean(-2), found["frames"])
    assert not found["frames"].requires_grad
    assert encoder.frozen
    one = encoder.features(clips.at(slice(1, 2)))["frames"]
    torch.testing.assert_close(found["frames"][1:], one, rtol=1e-4, atol=1e-5)
    encoder.frames_per_chunk = 1
    torch.testing.assert_close(encoder(clips["frames"]), found["frames"], rtol=1e-4, atol=1e-5)
    scale = found["frames"].abs().max()
    turned = encoder(clips["frames"].flip(-4)).flip(-2)  # steps of single frames would be the same
    differs = bool((turned - found["frames"]).abs().max() > 1e-3 * scale)
    assert differs == (case.model != "xclip")  # whose frames exchange messages that have no order
    last = clips["frames"].clone()
    last[..., -1, :, :, :] = 0
    assert (encoder(last) - found["frames"])[..., 0, :].abs().max() > 1e-4 * scale


@every
def test_the_last_block_is_trained_and_all_that_is_trained_gets_a_gradient(case: Case, make: Make) -> None:
    method = Prototype(make(case, tune=1), FrameMean())
    clips = pixels(case, 4)
    support, query = clips.split_at(2, 0)
    labels = torch.arange(2)
    episode = Episode(support, query, labels, labels, labels, ("a", "b"), torch.tensor(0))
    trained = {name: p for name, p in method.named_parameters() if p.requires_grad}
    before = {name: p.detach().clone() for name, p in trained.items()}
    optimizer = torch.optim.SGD(trained.values(), lr=1.0)
    features = method.features_of(support), method.features_of(query)
    text = method.class_text(("a", "b"))
    scores = method.score(method.support_parts(features[0], text), method.query_parts(features[1]), episode, text)
    loss = scores.logits.square().sum() + features[1]["frames"].square().sum()
    loss.backward()
    optimizer.step()
    assert 0 < len(trained) < len(list(method.parameters()))
    assert [name for name, p in trained.items() if p.grad is None] == []
    assert any(not torch.equal(before[name], p) for name, p in trained.items())


@pytest.mark.parametrize("target", ["qkv", "mlp", "all"])
@pytest.mark.parametrize("case", [case for case in CASES if not case.ours], ids=lambda case: case.model)
def test_low_rank_changes_are_nothing_at_first_and_all_get_a_gradient(case: Case, make: Make, target: Any) -> None:
    encoder, clips = make(case), pixels(case, 2)
    plain = encoder.features(clips, BOTH)
    adapted = copy.deepcopy(Adapted(encoder, LoRA(rank=2, target=target))).eval()
    found = adapted.features(clips, BOTH)
    for name, value in found.items():
        torch.testing.assert_close(value, plain[name], rtol=1e-4, atol=1e-5)
    assert (adapted.steps(case.frames), adapted.spans(case.frames)) == (case.steps, encoder.spans(case.frames))
    sum(value.square().sum() for value in found.values()).backward()  # type: ignore[union-attr]
    trained = {name: weight for name, weight in adapted.named_parameters() if weight.requires_grad}
    assert trained
    assert all(name.endswith((".a", ".b")) for name in trained)
    assert [name for name, weight in trained.items() if weight.grad is None] == []
    assert [name for name, x in trained.items() if name.endswith(".b") and not bool(x.grad.any())] == []  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.model in ("mc3_18", "swin3d_t")], ids=lambda c: c.model
)
def test_the_mean_over_steps_is_what_torchvisions_classifier_reads(case: Case, tmp_path: Path) -> None:
    network = torchvision.models.get_model(case.model, weights=None).eval()
    torch.save(network.state_dict(), tmp_path / "w.pt")
    encoder, clips = VideoEncoder(case.model, str(tmp_path / "w.pt"), image_size=case.side), pixels(case, 1)
    setattr(network, "head" if case.model.startswith("swin") else "fc", torch.nn.Identity())
    with torch.no_grad():
        expected = network(encoder.normalise(clips["frames"]).transpose(1, 2))
    torch.testing.assert_close(encoder(clips["frames"]).mean(-2), expected, rtol=1e-4, atol=1e-4)


def test_tokens_of_an_mvit_are_those_after_its_class_token() -> None:
    blocks = [
        MSBlockConfig(1, 8, 16, [], [3, 3, 3], [], [1, 2, 2]),
        MSBlockConfig(2, 16, 16, [3, 3, 3], [3, 3, 3], [1, 2, 2], [1, 1, 1]),
    ]
    body = MViT((32, 32), 4, blocks, residual_pool=False, residual_with_cls_embed=True, rel_pos_embed=True,
                proj_after_attn=True).eval()  # fmt: skip
    network, seen = VideoNetwork(body, _mvit, ("blocks",), 2, 4), []
    body.norm.register_forward_hook(lambda module, inputs, output: seen.append(output))
    clips = torch.randn(2, 4, 3, 32, 32)
    with torch.no_grad():
        frames, patches = network(clips)
        body(clips.transpose(1, 2))
    torch.testing.assert_close(patches, seen[1][:, 1:].unflatten(1, (2, 16)))
    torch.testing.assert_close(frames, patches.mean(-2))


@pytest.mark.parametrize("model", VIDEO_NETWORKS)
def test_pixels_are_those_of_torchvisions_transforms(model: str) -> None:
    own, how = own_pixels(model, None), next(iter(torchvision.models.get_model_weights(model))).transforms()
    framing = own.framing("x")
    assert (framing.size, framing.resize_to) == (how.crop_size[0], how.resize_size[0])
    assert (list(own.mean), list(own.std), framing.interpolation) == (how.mean, how.std, "bilinear")


def test_weights_are_strict_but_for_the_classifier(tmp_path: Path) -> None:
    state = torchvision.models.video.mc3_18(num_classes=7).state_dict()
    for name, left_out in (("seven", "-"), ("none", "fc."), ("bad", "stem.")):
        torch.save({k: v for k, v in state.items() if not k.startswith(left_out)}, tmp_path / f"{name}.pt")
    first, second = (VideoEncoder("mc3_18", str(tmp_path / f"{name}.pt")) for name in ("seven", "none"))
    assert first.fingerprint() == second.fingerprint()
    assert first.fingerprint() != VideoEncoder("mc3_18", None).fingerprint()
    with pytest.raises(ValueError, match=r"bad.pt does not fit torchvision video model 'mc3_18'.*6 missing: stem"):
        VideoEncoder("mc3_18", str(tmp_path / "bad.pt"))
    with pytest.raises(FileNotFoundError, match="weights are read from files"):
        VideoEncoder("mc3_18", "KINETICS400_V1")


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("r3d", {}, r"model='r3d' is no video network of torchvision.*r3d_18"),
        ("resnet18", {}, "no video network of torchvision"),
        ("r3d_18", {"frames": 8}, "takes any multiple of 8. Leave frames out, and set data.frames"),
        ("mvit_v2_s", {"frames": 8}, "mvit_v2_s takes clips of 16"),
        ("mvit_v2_s", {"image_size": 112}, "builds mvit_v2_s for 224 pixels only"),
        ("mc3_18", {"resize_to": 100}, "resize_to=100 is smaller than image_size=112"),
        ("mc3_18", {"tune": 5}, "number of last blocks in 1..4"),
    ],
)
def test_what_cannot_be_is_said(model: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VideoEncoder(model, None, **options)


@pytest.mark.parametrize(
    ("model", "frames", "message"),
    [
        ("swin3d_t", 7, r"data.frames is 7, but VideoEncoder \(torchvision swin3d_t\) .* every 2 frames: .* to 6 or 8"),
        ("r3d_18", 4, "data.frames is 4, .* one step of every 8 frames: set data.frames to 8 or a multiple"),
        ("mvit_v2_s", 8, r"data.frames is 8, .*\(16 frames\)\) was built for clips of 16: set data.frames to 16\.$"),
        ("mvit_v2_s", 7, r"data.frames is 7, but .* was built for clips of 16: set data.frames to 16\.$"),
    ],
)  # fmt: skip
def test_clips_of_another_length_are_refused_before_they_are_read(model: str, frames: int, message: str) -> None:
    encoder = VideoEncoder(model, None)
    with pytest.raises(ValueError, match=message):
        check_joined(Prototype(encoder, OTAM()), frames)
    with pytest.raises(ValueError, match=message):
        encoder(torch.zeros(frames, 3, encoder.image_size, encoder.image_size, dtype=torch.uint8))


def test_parts_are_compared_with_the_steps() -> None:
    encoder = VideoEncoder("swin3d_t", None, image_size=32)
    method = Prototype(encoder, AlphaDistance(encoder.channels), TemporalTransformer(encoder.channels, positions=8))
    check_joined(method, 16)
    with pytest.raises(
        ValueError, match=r"data.frames is 8, of which VideoEncoder makes 4 steps, but Alpha.* set data.frames to 16"
    ):
        check_joined(method, 8)
    with pytest.raises(
        ValueError, match=r"what is asked for reads layers, but VideoEncoder .* gives frames and patches"
    ):
        encoder.features(pixels(Case("swin3d_t", 2, 1, 7)), ("layers",))
    with pytest.raises(
        ValueError,
        match=r"AIM stands in a tower .* swin3d_t sees whole clips",
    ):
        Adapted(encoder, AIM())


def test_the_name_in_a_store_tells_networks_apart() -> None:
    encoder = VideoEncoder("swin3d_t", None, image_size=64)
    other = VideoEncoder("swin3d_t", None, image_size=96)
    other.load_state_dict(encoder.state_dict())
    assert encoder.fingerprint() != other.fingerprint()
