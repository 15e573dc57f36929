"""Video networks of transformers, from a local folder: VideoMAE, V-JEPA 2, TimeSformer, ViViT, X-CLIP's image part."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from einops import rearrange
from torch import Tensor

from episodes.framing import Resize
from fsar.encoders.image_networks import Own
from fsar.encoders.video.network import Made, VideoNetwork, pooled
from fsar.encoders.weights.state import list_names

_PIXELS = ("video_preprocessor_config.json", "preprocessor_config.json")
_INTERPOLATION: dict[int, Any] = {2: "bilinear", 3: "bicubic"}  # as Pillow counts them


class _TransformersKind(NamedTuple):
    model: str  # class of transformers
    look: Callable[[Any, Tensor], Made]
    blocks: tuple[str, ...]
    frames: str = "num_frames"  # options of its configuration
    size: str = "image_size"
    fixed: bool = True  # built for one number of frames
    part: str = ""  # what is kept of it


def build(folder: str, size: int | None, frames: int | None, pretrained: bool) -> tuple[VideoNetwork, str, int]:
    """The network of a folder, what it is called, and the size of its frames.

    Args:
        folder: with ``config.json``, as ``save_pretrained`` writes it.
        size: of the frames; by default its own.
        frames: of a clip; likewise.
        pretrained: read the folder's weights too; else they are random.

    Raises:
        ImportError: transformers is not installed.
        ValueError: no such folder, an architecture that is not known here, or weights that do not fit.
    """
    name, kind = _kind(folder)
    try:
        import transformers
    except ImportError as error:
        raise ImportError(
            "library='transformers' needs transformers, which is not installed: pip install 'fsar[video]'"
        ) from error
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    own = getattr(config, "vision_config", config)
    if frames and not kind.fixed:
        raise ValueError(f"frames={frames}: {name} takes clips of any even length. Leave frames out, set data.frames.")
    for option, value in ((kind.frames, frames), (kind.size, size)):
        if value:
            setattr(own, option, value)
    stride = getattr(own, "tubelet_size", 1)
    stride = stride if isinstance(stride, int) else stride[0]
    count = getattr(own, kind.frames) if kind.fixed else None
    if count and count % stride:
        raise ValueError(f"frames={count}: {name} makes one step of {stride} frames; give a multiple.")
    side = getattr(own, kind.size)
    made = _tuned(folder) or kind.model
    with _quiet(transformers.logging):
        maker = getattr(transformers, made)
        model = _pretrained(maker, folder, config, kind.part) if pretrained else maker(config)
    body = model.get_submodule(kind.part).eval()
    for unread in _UNREAD:
        if hasattr(body, unread):
            setattr(body, unread, None)
    blocks = tuple(f"videomae.{place}" for place in kind.blocks) if made == _TUNED else kind.blocks
    heads = f"{own.num_hidden_layers} layers of {own.num_attention_heads} heads"
    about = f"transformers {name} ({heads}{f', {count} frames' if count else ''})"
    return VideoNetwork(body, kind.look, blocks, stride, count), about, side if isinstance(side, int) else side[0]


def own_pixels(folder: str, size: int, given: bool) -> Own:
    """What the folder says of the pixels: ``preprocessor_config.json``, or the one for videos before it.

    Args:
        folder: as in :func:`build`.
        size: of the frames.
        given: whether mean and deviation are told.

    Raises:
        ValueError: the folder says nothing of mean and deviation, and they were not given.
    """
    file = next((path for name in _PIXELS if (path := Path(folder, name)).is_file()), None)
    how: dict[str, Any] = json.loads(file.read_text()) if file else {}
    if not given and not {"image_mean", "image_std"} <= how.keys():
        raise ValueError(
            f"{folder} does not say mean and std of its pixels ({' or '.join(_PIXELS)} with image_mean and image_std): "
            "copy that file beside config.json, or give mean and std."
        )
    scale, offset = 255 * how.get("rescale_factor", 1 / 255), float(bool(how.get("offset")))
    plain = how.get("do_normalize", True)
    means = how.get("image_mean", [0.5] * 3) if plain else [0.0] * 3
    stds = how.get("image_std", [0.5] * 3) if plain else [1.0] * 3
    # theirs is ((x scale - offset) - mean) / std for x in 0..1
    mean, std = tuple((offset + m) / scale for m in means), tuple(s / scale for s in stds)
    wanted = how.get("size", {})
    wanted = {"shortest_edge": wanted} if isinstance(wanted, int) else wanted
    resize: Resize = "short_side" if "shortest_edge" in wanted or not wanted else "squash"
    crop = how.get("crop_size", size)
    crop = crop if isinstance(crop, int) else crop["height"]
    edge = wanted.get("shortest_edge", wanted.get("height", crop))
    return Own(mean, std, size, edge / crop, resize, _INTERPOLATION.get(how.get("resample", 2), "bilinear"))


def _kind(folder: str) -> tuple[str, _TransformersKind]:
    """What the folder's configuration names.

    Raises:
        ValueError: it names nothing that is known here, or brings code of its own.
    """
    file = Path(folder, "config.json")
    if not file.is_file():
        raise ValueError(
            f"model={folder!r}: with library='transformers' it is a folder on this machine with config.json, as "
            "`hf download NAME --local-dir FOLDER` makes it. Nothing is fetched here."
        )
    config = json.loads(file.read_text())
    name = config.get("model_type", "")
    if "auto_map" in config:
        raise ValueError(
            f"{file} asks for code of its own (auto_map), which would run whatever its author wrote: such code is "
            f"never loaded. Networks that transformers itself has: {', '.join(_KINDS)}."
        )
    if name not in _KINDS:
        raise ValueError(f"{file} is of model_type {name!r}; video networks known here: {', '.join(_KINDS)}.")
    return name, _KINDS[name]


def _tuned(folder: str) -> str | None:
    """The class that brings the norm before VideoMAE's classifier, where a folder is of one."""
    written = json.loads(Path(folder, "config.json").read_text()).get("architectures")
    return _TUNED if written == [_TUNED] else None


def _pretrained(maker: Any, folder: str, config: Any, part: str) -> Any:
    """The network with the folder's weights, all of those that are read.

    Raises:
        ValueError: some are missing or of another shape, or the files cannot be read.
    """
    try:
        model, about = maker.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # told below, by name
        )
    except (OSError, RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{folder} cannot be read as weights of {maker.__name__}: {reason}") from error
    wrong = {"missing": about["missing_keys"], "of another shape": [name for name, *_ in about["mismatched_keys"]]}
    for what, names in wrong.items():
        read = sorted(name for name in names if name.startswith(part) and not name.startswith(_UNREAD))
        if read:
            raise ValueError(f"{folder} does not fit {maker.__name__}: {len(read)} {what}: {list_names(read)}.")
    return model


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Without the bars and remarks of transformers; what is missing is told by us."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _videomae(body: Any, clips: Tensor) -> Made:
    network = getattr(body, "videomae", body)
    x = network(pixel_values=clips).last_hidden_state
    frames, patches = pooled(x.unflatten(1, (clips.shape[1] // network.config.tubelet_size, -1)))
    norm = getattr(body, "fc_norm", None)  # of the mean, before the classifier that was fine-tuned
    return (frames if norm is None else norm(frames)), patches


def _vjepa2(body: Any, clips: Tensor) -> Made:
    x = body(pixel_values_videos=clips).last_hidden_state
    return pooled(x.unflatten(1, (clips.shape[1] // body.config.tubelet_size, -1)))


def _timesformer(body: Any, clips: Tensor) -> Made:
    """Its tokens are kept place by place, the frames of a place one after the other; one class token for the clip."""
    x = body(pixel_values=clips).last_hidden_state[:, 1:]
    return pooled(rearrange(x, "b (p t) w -> b t p w", t=clips.shape[1]))


def _vivit(body: Any, clips: Tensor) -> Made:
    x = body(pixel_values=clips).last_hidden_state[:, 1:]
    return pooled(x.unflatten(1, (clips.shape[1] // body.config.tubelet_size[0], -1)))


def _xclip(body: Any, clips: Tensor) -> Made:
    """A frame has a class token of its own here, which has read the messages of the others."""
    made = body(pixel_values=clips.flatten(0, 1))
    patches = body.post_layernorm(made.last_hidden_state[:, 1:])
    b, t = clips.shape[:2]
    return made.pooler_output.unflatten(0, (b, t)), patches.unflatten(0, (b, t))


_UNREAD = ("classifier", "pooler")
_TUNED = "VideoMAEForVideoClassification"
_KINDS = {
    "videomae": _TransformersKind("VideoMAEModel", _videomae, ("encoder.layer",)),
    "vjepa2": _TransformersKind("VJEPA2Model", _vjepa2, ("layer",), "frames_per_clip", "crop_size", False, "encoder"),
    "timesformer": _TransformersKind("TimesformerModel", _timesformer, ("encoder.layer",)),
    "vivit": _TransformersKind("VivitModel", _vivit, ("layers",)),
    "xclip": _TransformersKind("XCLIPModel", _xclip, ("encoder.layers",), part="vision_model"),
}
