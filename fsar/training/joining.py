"""What is joined fits: the frames of the clips, the channels of the encoder, and the trainer's precision."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence

import torch
from einops import EinopsError
from torch import Tensor, nn

from episodes.clips import Features
from episodes.datamodule import EpisodicDataModule
from episodes.words import pluralise
from fsar.adapters.base import FramePositions
from fsar.adapters.d2st import DeformableAttention
from fsar.adapters.evl import EVLNetwork
from fsar.alignment.covariance import AlphaDistance
from fsar.alignment.per_query.cross_tuple import TupleAttention
from fsar.encoders.audio import WithSound
from fsar.encoders.frame import FrameEncoder
from fsar.fusion.base import Fusion
from fsar.method import Method
from fsar.methods import Prototype, TaskAdapterPlusPlus
from fsar.methods.vision_only.strm import FrameEnrichment
from fsar.objectives.base import NO_CAPTIONS, Objective
from fsar.temporal import TemporalTransformer
from fsar.temporal.frame_motion import FrameMotion
from fsar.temporal.motion import MotionBranch
from fsar.temporal.video_heads import ClassTokenTransformer
from fsar.temporal.warp import TemporalWarp

PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")
SPELLINGS = {*PRECISIONS, "32", "16", "bf16", "None"}
"""Of these, as Lightning takes them."""


def check_joined(method: Method, frames: int) -> None:
    """Look whether the parts of a method were made for the clips and for the encoder that they are joined to.

    Args:
        method: as it was built.
        frames: of a clip.

    Raises:
        ValueError: naming the part and the option.
    """
    method.encoder.steps(frames)  # refuses a length that the encoder does not take
    for name, part in method.named_modules():
        steps, told = frames, f"data.frames is {frames}"
        if not name.startswith("encoder.") and (steps := method.encoder.steps(frames)) != frames:
            told += f", of which {type(method.encoder).__name__} makes {steps} step{'s' if steps > 1 else ''}"
        made_for = _frames_of(part)
        if made_for is not None and made_for != steps:
            whole = made_for * (frames // steps)
            raise ValueError(
                f"{told}, but {type(part).__name__} was made for clips of {pluralise(made_for, 'frame')}: set "
                f"data.frames to {whole}, or frames of that part (model.{name.split('.')[0]}) to {steps}."
            )
        fewest, why = _fewest_of(part, type(method).__name__)
        if steps < fewest:
            raise ValueError(f"{told}, but {why}: set data.frames to {fewest * (frames // steps)} or more.")
        if isinstance(part, TupleAttention) and steps < part.cardinality:
            raise ValueError(
                f"{told}, but TRX compares tuples of {pluralise(part.cardinality, 'frame')}: set data.frames to "
                f"{part.cardinality * (frames // steps)} or more, or cardinalities of TRX to no more than {steps}."
            )
        if isinstance(part, TemporalTransformer) and part.positions is not None:
            text = method.text_tokens
            option = "positions" if text else f"{name}.positions"
            if len(part.positions) < (tokens := steps + text):
                told += " (and a text)" if text else ""
                raise ValueError(
                    f"{told}, but {type(part).__name__} has {len(part.positions)} positions: give "
                    f"--model.{option} {tokens}, or fewer frames."
                )
    temporal = getattr(method, "temporal", None)
    channels = getattr(temporal, "channels", None)
    if isinstance(temporal, nn.Module) and isinstance(channels, int) and channels != method.encoder.channels:
        raise ValueError(
            f"{type(method.encoder).__name__} gives features of {method.encoder.channels} channels, but "
            f"{type(temporal).__name__} was made for {channels}: give --model.temporal.channels "
            f"{method.encoder.channels}, or the encoder that the configuration names."
        )
    if type(method) is Prototype and method.fusion is None:
        _check_head(method.temporal, method.encoder.steps(frames), method.encoder.channels)
    if isinstance(fusion := getattr(method, "fusion", None), Fusion):
        _check_levels(fusion, method.encoder, frames, temporal, channels)


def _check_levels(fusion: Fusion, encoder: FrameEncoder, frames: int, temporal: object, channels: object) -> None:
    """A clip of zeros passes the fusion, which refuses frames and patches that it was not made for.

    Raises:
        ValueError: the fusion's own, or for levels that the temporal module does not take.
    """
    if any(name.split()[0] not in ("frames", "patches", "projected", "layer") for name in fusion.needs):
        return  # of a shape that is not known here
    steps, clip = encoder.steps(frames), Features()
    for name in fusion.needs:
        tokens = () if name.startswith("frames") else (encoder.grid[0] * encoder.grid[1],)
        wide = encoder.widths["patches"] if tokens and name != "projected" else encoder.channels
        clip[name] = torch.zeros(1, steps, *tokens, wide)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        levels = copy.deepcopy(fusion).eval().fuse(clip)
    for name, level in levels.items():
        if isinstance(channels, int) and level.shape[-1] != channels:
            raise ValueError(
                f"{type(temporal).__name__} was made for {channels} channels, but {type(fusion).__name__} gives {name} "
                f"of {level.shape[-1]}: give --model.temporal null, or levels of {channels} channels."
            )


def _check_head(head: nn.Module, steps: int, channels: int) -> None:
    """Let black clips pass, by themselves and as an episode's: parts of other methods, which read more or other things,
    are modules as well.

    Raises:
        ValueError: naming what a temporal module is.
    """
    weight = next(head.parameters(), None)
    clips = torch.zeros(2, steps, channels, device=None if weight is None else weight.device)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            tried = copy.deepcopy(head).eval()
            made = [(x, tried(x)) for x in (clips, clips[None])]
        good = all(isinstance(y, Tensor) and y.dim() == x.dim() and y.shape[:-2] == x.shape[:-2] for x, y in made)
        reason = "" if good else "what it makes is another"
    except (AttributeError, AssertionError, TypeError, IndexError, RuntimeError, EinopsError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
    if reason:
        raise ValueError(
            f"{type(head).__name__} is no temporal module by itself, which makes features (... t d) of (... t d); of "
            f"({steps}, {channels}): {reason}. Give --model.temporal one such as fsar.temporal.TemporalTransformer, or "
            "null."
        )


def check_queries(method: Method, queries: int, option: str = "data.test_queries") -> None:
    """Look whether a method can score so many queries.

    Args:
        method: as it was built.
        queries: of each class, in an episode.
        option: that says so.

    Raises:
        ValueError: naming the option.
    """
    if method.one_query_each and queries != 1:
        raise ValueError(
            f"{option} is {queries}, but {type(method).__name__} as configured needs one query of each class, since it "
            f"reads whose each is: set {option} to 1."
        )


def check_sound(method: Method, rate: int | None) -> None:
    """Look whether the clips' sound comes at the rate that the encoder of sound was made for: nothing in the samples
    says at which they were taken.

    Args:
        method: as it was built.
        rate: samples a second of the data; None where no sound is read.

    Raises:
        ValueError: naming both options.
    """
    encoder = method.encoder
    wanted = getattr(encoder.sound, "rate", rate) if isinstance(encoder, WithSound) else rate
    if "sound" in method.needs and wanted != rate:
        found = "not given, so that no sound is read" if rate is None else str(rate)
        raise ValueError(
            f"data.sound_rate is {found}, but {type(method).__name__} reads sound through an encoder made for {wanted} "
            f"samples a second: set data.sound_rate to {wanted}, or rate of that encoder to the data's."
        )


def check_said(method: Method, names: Sequence[str], training: bool = False) -> None:
    """Look whether a method's texts speak of all classes, before a video is read.

    Args:
        method: as it was built.
        names: of the classes.
        training: texts are drawn as in training.

    Raises:
        ValueError: names the method and the first class of which nothing, or too few steps, is said.
    """
    bank = method.texts
    if bank is None or not method.uses_text:
        return
    drawn = [[kind] for kind in bank.mix] if training and bank.mix else [bank.kinds]
    for kinds in drawn:
        bank.check(names, kinds, type(method).__name__)
    if isinstance(method, TaskAdapterPlusPlus):
        for name in names:
            method.steps_of(name)


def check_classes(method: Method, objectives: Iterable[nn.Module], data: object, stage: str | None) -> None:
    """As :func:`check_said` and :func:`check_queries`, for all that a stage of the trainer reads; in a fit for its
    objectives, too.

    Args:
        method: as it was built.
        objectives: those of fsar.objectives that it is trained with.
        data: the data module; nothing is asked of another than ours.
        stage: fit, validate or test.

    Raises:
        ValueError: names the method or objective and the first class of which nothing is said.
    """
    if not isinstance(data, EpisodicDataModule):
        return
    if stage == "fit":
        check_queries(method, data.queries, "data.queries")
    if stage in ("fit", "validate", "test"):
        check_queries(method, data.test_queries)
    for name in {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}.get(stage or "", ()):
        check_said(method, data.load().split(name).class_names, name == "train")
    for each in objectives if stage == "fit" else ():
        assert isinstance(each, Objective)
        each.check_classes(data.load().train.class_names, method.encoder.steps(data.frames))
        if "caption" in getattr(each, "kinds", ()) and (data.captions is None or data.features is not None):
            raise ValueError(f"{type(each).__name__}: {NO_CAPTIONS}")


def _frames_of(part: nn.Module) -> int | None:
    """How many frames a clip must have for this part; None for any number."""
    if isinstance(part, ClassTokenTransformer):
        return part.pos_embed.shape[1] - 1
    if isinstance(part, FramePositions):
        return len(part.weight)
    if isinstance(part, AlphaDistance):
        return part.shape[0]
    return part.frames if isinstance(part, EVLNetwork | FrameEnrichment) else None


def _fewest_of(part: nn.Module, method: str) -> tuple[int, str]:
    """How many frames a clip must have for this part at least, and why."""
    if isinstance(part, MotionBranch | FrameMotion):
        return 2, f"the motion that {method} reads is between two of them"
    if isinstance(part, TemporalWarp):
        return 4, "TA2N pools time twice by two"
    if isinstance(part, DeformableAttention):
        return part.kernel[0], f"D2ST-Adapter finds its points by a convolution over {part.kernel[0]} of them"
    return 1, ""


def check_precision(precision: object) -> None:
    """Refuse a trainer's precision in which episodes cannot be trained.

    Raises:
        ValueError: naming those in which they can.
    """
    if str(precision) not in SPELLINGS:
        raise ValueError(
            f"trainer.precision is {precision}, in which all weights and clips would change their type; expected one "
            f"of {', '.join(PRECISIONS)}. (precision of the encoder stores its frozen weights in bf16.)"
        )
