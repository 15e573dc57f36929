"""A network trained on videos as the encoder: clips to steps, each of some frames."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from episodes.clips import Streams
from episodes.files import explain_start
from episodes.framing import Interpolation, Resize
from fsar.encoders.frame import FrameEncoder, Tune
from fsar.encoders.tower.chunks import Encode, Tensors, encode_in_chunks
from fsar.encoders.tower.precision import Precision
from fsar.encoders.video import hugging_face, network
from fsar.encoders.weights.state import read_state

Library = Literal["torchvision", "transformers"]


class VideoEncoder(FrameEncoder):
    """A network trained on videos; its classifier is dropped, and what it makes of a clip is pooled over space alone.

    Of a clip of ``t`` frames it gives ``t' = t / time_stride`` steps: ``frames (... t' d)`` and ``patches (... t' p
    w)``, of which frames are the mean (of X-CLIP the class token of every frame). Every step has seen others than its
    own frames, so that the features of a clip depend on their order and cannot be cut or joined afterwards; but with
    ``window`` each step has seen its window alone, and those of one window lie side by side. It has no text tower, and
    adapters made for image towers refuse it.

    Args:
        model: ``torchvision``: r3d_18, mc3_18, r2plus1d_18, s3d, mvit_v1_b, mvit_v2_s, swin3d_t, swin3d_s or swin3d_b.
            ``transformers``: a folder with ``config.json`` of VideoMAE, V-JEPA 2, TimeSformer, ViViT or X-CLIP (image
            part); nothing is fetched, and code that a folder brings is never run.
        weights: ``torchvision``: a file with the state dict, loaded strictly but for the classifier, which may be
            absent or of any size. ``transformers``: the folder. Null for random weights.
        library: where the network comes from; ``transformers`` is the extra ``video``.
        frames: of a clip, for networks of transformers that are built for one number (VideoMAE, TimeSformer, ViViT,
            X-CLIP); by default their own, for which their weights were made. MViT takes 16, at 224 pixels.
        image_size: side of the square frames, pixels; by default the network's own.
        mean: pixel mean per channel on the scale 0..1; likewise.
        std: pixel standard deviation; likewise.
        tune: "frozen"; a number: that many last blocks with what follows them are trained; or "full".
        precision: of a frozen network's weights.
        clips_per_chunk: clips that pass together when no graph is needed; by default those that have no more than 16
            frames together on a CPU, 256 elsewhere, and one at least.
        resize_to: length of the short side, or of both, before the square is cut out; by default the network's own.
        resize: "short_side" keeps the aspect ratio, "squash" does not; likewise.
        interpolation: "bilinear" or "bicubic"; likewise.
        window: frames of a clip that the network sees at a time, for clips longer than it takes: each window passes by
            itself, and the steps of all stand one behind the other. By default a clip passes as a whole.
        window_stride: frames from the start of a window to that of the next, a multiple of ``time_stride``; by default
            ``window``. A step that several windows see is the mean of what they make of it.

    Raises:
        FileNotFoundError: ``weights`` is no file.
        ImportError: transformers is asked for and not installed.
        ValueError: an unknown model, weights that do not fit it, or a size or number of frames that it does not take.

    >>> encoder = VideoEncoder("r3d_18", None, image_size=32)
    >>> encoder(torch.zeros(1, 8, 3, 32, 32, dtype=torch.uint8)).shape, encoder.steps(8)
    (torch.Size([1, 1, 512]), 1)
    >>> VideoEncoder("r3d_18", None, image_size=32, window=16, window_stride=8).spans(24)
    [(0, 7), (8, 15), (16, 23)]
    """

    def __init__(
        self,
        model: str,
        weights: str | None,
        library: Library = "torchvision",
        frames: int | None = None,
        image_size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        tune: Tune = "frozen",
        precision: Precision = "fp32",
        clips_per_chunk: int | None = None,
        resize_to: int | None = None,
        resize: Resize | None = None,
        interpolation: Interpolation | None = None,
        window: int | None = None,
        window_stride: int | None = None,
    ) -> None:
        if library == "transformers":
            if weights is not None and Path(weights).resolve() != Path(model).resolve():
                raise ValueError(
                    f"weights={weights!r}: with library='transformers' they are those of the folder; give weights "
                    f"{model!r}, or null for random ones."
                )
            visual, identity, side = hugging_face.build(model, image_size, frames, weights is not None)
            own = hugging_face.own_pixels(model, side, given=bool(mean and std))
        else:
            if weights is not None and not Path(weights).is_file():
                raise FileNotFoundError(
                    f"weights={weights!r} is not a file, and weights are read from files. "
                    f"{explain_start(weights, 'model.encoder.weights')}"
                )
            own = network.own_pixels(model, weights)
            side = image_size or own.size
            state = None if weights is None else read_state(Path(weights))[0]
            visual = network.build(model, side, frames, state, str(weights))
            identity = f"torchvision {model}" + (f" ({visual.frames} frames)" if visual.frames else "")
        channels, *patches = visual.shapes(side)
        stride = (window or 0) if window_stride is None else window_stride
        identity += f" in windows of {window} every {stride}" if window else ""
        framing = own.framing(identity, side, resize_to, resize=resize, interpolation=interpolation)
        super().__init__(
            visual=visual,
            channels=channels,
            image_size=side,
            mean=mean or own.mean,
            std=std or own.std,
            tune=tune,
            precision=precision,
            frames_per_chunk=clips_per_chunk,
            identity=identity,
            framing=framing,
        )
        self.time_stride, self.frames = visual.time_stride, visual.frames
        self._of_patches, self.builds_any_length = tuple(patches), library == "transformers"
        self.window, self.window_stride = window, stride
        self._check_windows()

    @property
    def gives(self) -> tuple[str, ...]:
        """``frames`` and ``patches``; what its blocks give has no axis of time that all networks would agree on."""
        return ("frames", "patches")

    def steps(self, frames: int) -> int:
        """How many steps a clip of so many frames becomes.

        Raises:
            ValueError: as :meth:`check_frames`.
        """
        self.check_frames(frames)
        return frames // self.time_stride

    def check_frames(self, frames: int) -> None:
        """Refuse clips of a length that the network, or the windows over them, do not take.

        Raises:
            ValueError: names ``data.frames`` and what it may be.
        """
        if self.window is None:
            self._refuse_length(frames, "data.frames")
        elif frames < self.window or (frames - self.window) % self.window_stride:
            below = frames - (frames - self.window) % self.window_stride
            near = f"{below} or {below + self.window_stride}" if below >= self.window else f"{self.window} or more"
            raise ValueError(
                f"data.frames is {frames}, but {type(self).__name__} ({self.identity}) sees {self.window} frames at a "
                f"time, each window {self.window_stride} after the last: set data.frames to {near}, or window of the "
                "encoder to fewer."
            )

    def _check_windows(self) -> None:
        """Raises ValueError for windows that the network does not take."""
        if self.window is None and self.window_stride:
            raise ValueError(f"window_stride={self.window_stride} without window: say how many frames a window has.")
        if self.window is not None:
            self._refuse_length(self.window, "window")
            if not 0 < self.window_stride <= self.window or self.window_stride % self.time_stride:
                raise ValueError(
                    f"window_stride={self.window_stride}: expected a multiple of {self.time_stride}, the frames of a "
                    f"step, from {self.time_stride} to {self.window}, the frames of a window."
                )

    def _refuse_length(self, frames: int, option: str) -> None:
        """Raises ValueError for a number of frames that the network does not take, naming the ``option`` of it."""
        if self.frames and frames != self.frames:
            free = self.builds_any_length and frames % self.time_stride == 0
            other = f", or frames of the encoder to {frames} where weights allow it" if free else ""
            longer = f", or window of the encoder to {self.frames}" if frames > self.frames and not self.window else ""
            raise ValueError(
                f"{option} is {frames}, but {type(self).__name__} ({self.identity}) was built for clips of "
                f"{self.frames}: set {option} to {self.frames}{longer}{other}."
            )
        if frames % self.time_stride or not frames:
            below = frames - frames % self.time_stride
            near = f"{below} or {below + self.time_stride}" if below else f"{self.time_stride} or a multiple"
            raise ValueError(
                f"{option} is {frames}, but {type(self).__name__} ({self.identity}) makes one step of every "
                f"{self.time_stride} frames: set {option} to {near}."
            )

    def _checked(self, streams: Streams) -> Tensor:
        clips = super()._checked(streams)
        self.check_frames(clips.shape[-4])
        return clips

    def _pass(self, encode: Encode, clips: Tensor, axes: int, text: Tensor | None = None) -> Tensors:
        """See :meth:`FrameEncoder._pass`; what goes through together are whole clips or windows ``(b t *)``."""
        lead = clips.shape[: -axes - 1]
        if self.window is not None:  # (... t *) -> (... windows window *), a view
            clips = clips.unfold(-axes - 1, self.window, self.window_stride).movedim(-1, -axes - 1)
        t = clips.shape[-axes - 1]
        needs_graph = torch.is_grad_enabled() and (clips.requires_grad or not self.frozen)
        size = self.frames_per_chunk or max(1, (16 if clips.device.type == "cpu" else 256) // t)
        whole = clips.reshape(-1, *clips.shape[-axes - 1 :])
        found = encode_in_chunks(encode, whole, self.visual, needs_graph, size)
        found = {name: value.reshape(*lead, -1, *value.shape[1:]) for name, value in found.items()}
        shift = self.window_stride // self.time_stride
        return {name: join_windows(value, shift, len(lead)) for name, value in found.items()}

    def _encode(self, frames: Tensor, needs: Sequence[str]) -> Tensors:
        pooled, patches = self.visual(self._pixels(frames))
        return {"frames": pooled.float(), **({"patches": patches.float()} if "patches" in needs else {})}

    @cached_property
    def _patches(self) -> tuple[int, ...]:
        return self._of_patches


def join_windows(steps: Tensor, shift: int, axis: int) -> Tensor:
    """The steps of windows ``(... v t' *)`` one behind the other, ``(... t *)``; where windows meet, their mean.

    Args:
        steps: of each window.
        shift: steps from the start of a window to that of the next.
        axis: of the windows.
    """
    count, size = steps.shape[axis : axis + 2]
    if count == 1 or shift == size:
        return steps.flatten(axis, axis + 1)
    windows = steps.movedim((axis, axis + 1), (0, 1))
    total = windows.new_zeros((count - 1) * shift + size, *windows.shape[2:])
    seen = windows.new_zeros(len(total), *(1 for _ in windows.shape[2:]))
    for start, window in zip(range(0, len(total), shift), windows, strict=False):
        total[start : start + size] += window
        seen[start : start + size] += 1
    return (total / seen).movedim(0, axis)
