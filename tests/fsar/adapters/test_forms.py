"""ST-Adapter's places and clip feature, and D2ST-Adapter's form for ResNets."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from episodes.clips import Streams
from fsar.adapters import AIM, D2STAdapter, D2STResNetAdapter, STAdapter
from fsar.alignment import BiMHM, FrameMean
from fsar.encoders import ClipEncoder, ImageEncoder
from fsar.encoders.adapted import Adapted
from fsar.encoders.cost import added_cost
from fsar.methods import D2ST

Tiny = Callable[..., ClipEncoder]


def trained_names(encoder: torch.nn.Module) -> list[str]:
    return [name for name, parameter in encoder.named_parameters() if parameter.requires_grad]


def clips(*lead: int, side: int = 32) -> Tensor:
    return torch.rand(*lead, 3, side, side, generator=torch.Generator().manual_seed(3))


def resnet() -> ImageEncoder:
    torch.manual_seed(1)
    return ImageEncoder("resnet18", None, frames_per_chunk=8)


def test_the_place_of_st_adapter(tiny: Tiny) -> None:
    names = {
        (True, False): {"attention"},
        (False, True): {"mlp"},
        (True, True): {"attention", "mlp"},
    }
    for (attention, mlp), parts in names.items():
        encoder = Adapted(tiny(), STAdapter(16, attention, mlp))
        found = {n.split("adapter.")[1].split(".")[0] for n in trained_names(encoder)}
        assert found == parts
    with pytest.raises(ValueError, match="before_attention, before_mlp or both"):
        STAdapter(before_attention=False)


@pytest.mark.parametrize("project", [True, False])
def test_a_clip_feature_is_the_closing_norm_of_the_mean_class_token(tiny: Tiny, project: bool) -> None:
    encoder = Adapted(tiny(frames_per_chunk=16), STAdapter(), project=project, output="video").eval()
    frames = Adapted(tiny(), STAdapter(), project=project).eval()
    x = clips(3, 8)
    with torch.no_grad():
        found = encoder(x)
        tokens = frames.features(Streams(frames=x), ("layer -1",))["layer -1"]
        expected = frames.visual.ln_post(tokens[:, :, 0].mean(1))
        expected = expected @ frames.visual.proj if project else expected
        mean = frames(x).mean(1)
    assert found.shape == (3, 1, expected.shape[-1])
    torch.testing.assert_close(found.squeeze(1), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found.squeeze(1), mean, rtol=1e-3, atol=1e-3)  # not the mean of the frames' norms
    assert encoder.fingerprint() != frames.fingerprint()
    assert added_cost(encoder, 8) == added_cost(frames, 8)


def test_a_clip_feature_from_stored_layers_is_the_same(tiny: Tiny) -> None:
    encoder = Adapted(tiny(), AIM(drop_path=0), last=1, output="video").eval()
    with torch.no_grad():
        found = encoder.above(encoder.below(Streams(frames=clips(2, 8))))["frames"]
        torch.testing.assert_close(found, encoder(clips(2, 8)), rtol=1e-4, atol=1e-5)
    assert found.shape == (2, 1, 48)


def test_d2st_in_a_resnet_is_the_resnet_at_first_and_trains_nothing_else() -> None:
    encoder = Adapted(resnet(), D2STResNetAdapter()).train()
    x = clips(1, 4, side=224)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x), resnet().eval()(x), rtol=1e-4, atol=1e-5)
    assert encoder.channels == 512
    assert encoder.text is None
    assert all(".adapter." in name for name in trained_names(encoder))
    assert not any(m.training for m in encoder.modules() if isinstance(m, nn.BatchNorm2d))
    before = {n: x.clone() for n, x in encoder.state_dict().items() if ".adapter." not in n}
    encoder(x).square().sum().backward()
    for stage in (1, 2, 3, 4):
        assert encoder.visual.get_submodule(f"layer{stage}").adapter.up.weight.grad.abs().sum() > 0
    assert all(torch.equal(x, before[n]) for n, x in encoder.state_dict().items() if n in before)


def test_d2st_in_a_resnet_sees_time_and_no_other_clip() -> None:
    encoder = Adapted(resnet(), D2STResNetAdapter()).eval()
    with torch.no_grad():
        for block in encoder.blocks:
            block.adapter.up.weight.normal_(std=0.05)
        x = clips(2, 4, side=224)
        both, other = encoder(x), x[1:].clone()
        torch.testing.assert_close(encoder(x[1]), both[1], rtol=1e-4, atol=1e-5)
        other[:, 3] = 1 - other[:, 3]
        assert not torch.allclose(encoder(other)[0, 0], both[1, 0], rtol=1e-3, atol=1e-4)
    assert D2ST(encoder, BiMHM(), class_weight=0.0).encoder.channels == 512


def test_number_of_weights_of_d2st_in_a_resnet_50() -> None:
    encoder = Adapted(ImageEncoder("resnet50", None), D2STResNetAdapter())
    cost = added_cost(encoder)
    assert cost.trained == 5_683_776
    assert 0 < cost.added < cost.tower


def test_the_order_of_colours_stays_the_networks(tiny: Tiny) -> None:
    torch.manual_seed(1)
    encoder = ImageEncoder("resnet18", None, channel_order="bgr", frames_per_chunk=8)
    x = clips(1, 4, side=224)
    with torch.no_grad():
        expected = encoder(x)
        torch.testing.assert_close(Adapted(encoder, D2STResNetAdapter()).eval()(x), expected)


def test_what_does_not_fit_is_said(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="D2STResNetAdapter needs a ResNet"):
        Adapted(tiny(), D2STResNetAdapter())
    with pytest.raises(ValueError, match="needs a ViT of plain blocks"):
        Adapted(resnet(), D2STAdapter())
    with pytest.raises(ValueError, match="no adapter yet"):
        Adapted(Adapted(resnet(), D2STResNetAdapter()), D2STResNetAdapter())
    with pytest.raises(ValueError, match="leave out last, project and output"):
        Adapted(resnet(), D2STResNetAdapter(), project=False)
    with pytest.raises(ValueError, match="224 pixels in a ResNet"):
        Adapted(ImageEncoder("resnet18", None, image_size=64), D2STResNetAdapter())(clips(1, 4, side=64))


def test_clip_features_are_scored(tiny: Tiny) -> None:
    features = Adapted(tiny(), STAdapter(), output="video").eval()(clips(4, 8))
    assert FrameMean()(features[:2], features[2:]).shape == (2, 2)
