"""Video networks without their classifier: clips to a map of every step, and what each network says of its pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torchvision
from einops import rearrange
from torch import Tensor, nn

from fsar.encoders.image_networks import Own
from fsar.encoders.weights.architecture import close_names
from fsar.encoders.weights.fitting import suggest_networks
from fsar.encoders.weights.state import strict_load

Made = tuple[Tensor, Tensor]
"""``frames (b t' d)`` and ``patches (b t' p w)`` of clips."""


class VideoNetwork(nn.Module):
    """A network of clips, ``(b t c h w)`` normalised to :data:`Made`.

    Args:
        body: the network of a library, without what follows its last map.
        look: ``look(body, clips)`` gives what it makes.
        blocks: where its blocks are, first to last: one name, or several.
        time_stride: frames that become one step.
        frames: of a clip, when it takes one number only.
    """

    def __init__(
        self,
        body: nn.Module,
        look: Callable[[Any, Tensor], Made],
        blocks: tuple[str, ...],
        time_stride: int,
        frames: int | None = None,
    ) -> None:
        super().__init__()
        self.body = body
        self.look, self.places = look, blocks
        self.time_stride, self.frames = time_stride, frames

    @property
    def own_blocks(self) -> nn.Module:
        """See :func:`fsar.encoders.tower.blocks.blocks_of`."""
        found = [self.body.get_submodule(name) for name in self.places]
        return nn.ModuleList(found) if len(found) > 1 else found[0]

    def forward(self, clips: Tensor) -> Made:
        return self.look(self.body, clips)

    def own_input(self, size: int) -> Tensor:
        """A black clip as short as it may be, see :func:`fsar.encoders.tower.precision.hold_in`."""
        return torch.zeros(1, self.frames or 2 * self.time_stride, 3, size, size)

    def shapes(self, size: int) -> tuple[int, int, int]:
        """Channels of a step, number and channels of its patches; nothing is computed.

        Raises:
            ValueError: frames of a size that the network does not take.
        """
        state = {n: torch.empty_like(x, device="meta") for n, x in (*self.named_parameters(), *self.named_buffers())}
        clip = self.own_input(size).to(next(self.parameters()).dtype).to("meta")
        try:
            with torch.no_grad():
                frames, patches = torch.func.functional_call(self, state, (clip,))
        except (AssertionError, RuntimeError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(
                f"{type(self.body).__name__} does not take frames of {size} x {size} pixels ({reason}): leave "
                "image_size out for the network's own, or give another."
            ) from error
        return frames.shape[-1], patches.shape[-2], patches.shape[-1]


class _TorchvisionKind(NamedTuple):
    look: Callable[[Any, Tensor], Made]
    blocks: tuple[str, ...]
    time_stride: int
    head: str  # what the classifier is called
    frames: int | None = None  # of a clip, where it takes one number only
    size: int | None = None  # of the frames, likewise


def build(model: str, size: int, frames: int | None, state: Mapping[str, Tensor] | None, source: str) -> VideoNetwork:
    """A network of ``torchvision.models.video`` for frames of ``size`` pixels, filled with ``state``, which need not
    hold the classifier's weights.

    Raises:
        ValueError: an unknown model, weights that do not fit, or a number of frames that is not for it to choose.
    """
    kind = _kind(model)
    if frames not in (None, kind.frames):
        takes = f"clips of {kind.frames}" if kind.frames else f"any multiple of {kind.time_stride}"
        raise ValueError(f"frames={frames}: {model} takes {takes}. Leave frames out, and set data.frames.")
    if kind.size not in (None, size):
        raise ValueError(f"image_size={size}: torchvision builds {model} for {kind.size} pixels only. Leave it out.")
    body, _ = body_without_head(model)
    if state is not None:
        rest = {k: v for k, v in state.items() if not k.startswith(f"{kind.head}.")}
        strict_load(body, rest, source, f"torchvision video model {model!r}", lambda _: suggest_networks(state))
    return VideoNetwork(body.eval(), kind.look, kind.blocks, kind.time_stride, kind.frames)


def body_without_head(model: str) -> tuple[nn.Module, str]:
    """A network of torchvision with random weights, and what its classifier is called, which it lacks."""
    body, head = torchvision.models.get_model(model, weights=None), _kind(model).head
    setattr(body, head, nn.Identity())
    return body, head


def own_pixels(model: str, weights: str | None) -> Own:
    """What the transforms of torchvision's weights say; of several weights the file's name picks one, as for images.

    Theirs squash r3d_18's kin to 128 x 171 pixels whatever a video's shape; we resize the short side to 128.
    """
    _kind(model)
    known = list(torchvision.models.get_model_weights(model))
    entry = next((e for e in known if weights and Path(e.url).name == Path(weights).name), known[0])
    how = entry.transforms()
    size = how.crop_size[0]
    return Own(tuple(how.mean), tuple(how.std), size, how.resize_size[0] / size, "short_side", how.interpolation.value)


def pooled(patches: Tensor) -> Made:
    """``patches (b t' p w)`` with their mean over each step."""
    return patches.mean(-2), patches


def _kind(model: str) -> _TorchvisionKind:
    if model not in _KINDS:
        raise ValueError(
            f"model={model!r} is no video network of torchvision."
            + (close_names(model, list(_KINDS)) or f" There are {', '.join(_KINDS)}.")
        )
    return _KINDS[model]


def _of_map(made: Tensor) -> Made:
    return pooled(rearrange(made, "b d t h w -> b t (h w) d"))


def _resnet(body: Any, clips: Tensor) -> Made:
    x = body.stem(clips.transpose(1, 2))
    for name in _STAGES:
        x = getattr(body, name)(x)
    return _of_map(x)


def _s3d(body: Any, clips: Tensor) -> Made:
    return _of_map(body.features(clips.transpose(1, 2)))


def _swin(body: Any, clips: Tensor) -> Made:
    x = body.features(body.pos_drop(body.patch_embed(clips.transpose(1, 2))))
    return pooled(body.norm(x).flatten(2, 3))


def _mvit(body: Any, clips: Tensor) -> Made:
    """The tokens behind the closing norm, without the class token, of which there is one for the whole clip."""
    place = body.pos_encoding
    x = place(body.conv_proj(clips.transpose(1, 2)).flatten(2).transpose(1, 2))
    thw = (place.temporal_size, *place.spatial_size)
    for block in body.blocks:
        x, thw = block(x, thw)
    return pooled(body.norm(x)[:, 1:].unflatten(1, (thw[0], -1)))


_STAGES = ("layer1", "layer2", "layer3", "layer4")
_KINDS = {
    "r3d_18": _TorchvisionKind(_resnet, _STAGES, 8, "fc"),
    "mc3_18": _TorchvisionKind(_resnet, _STAGES, 1, "fc"),
    "r2plus1d_18": _TorchvisionKind(_resnet, _STAGES, 8, "fc"),
    "s3d": _TorchvisionKind(_s3d, ("features",), 8, "classifier"),
    "mvit_v1_b": _TorchvisionKind(_mvit, ("blocks",), 2, "head", 16, 224),
    "mvit_v2_s": _TorchvisionKind(_mvit, ("blocks",), 2, "head", 16, 224),
    "swin3d_t": _TorchvisionKind(_swin, ("features",), 2, "head"),
    "swin3d_s": _TorchvisionKind(_swin, ("features",), 2, "head"),
    "swin3d_b": _TorchvisionKind(_swin, ("features",), 2, "head"),
}
VIDEO_NETWORKS = tuple(_KINDS)
