"""CLIP's image tower as a frame encoder, with its text tower beside it."""

from __future__ import annotations

from collections.abc import Sequence

from fsar.encoders.frame import FrameEncoder, Tune
from fsar.encoders.tower.attention import split_heads
from fsar.encoders.tower.blocks import checkpoint_blocks, drop_branches
from fsar.encoders.tower.precision import Precision
from fsar.encoders.tower.text_tower import TextEncoder
from fsar.encoders.weights.load import load_clip


class ClipEncoder(FrameEncoder):
    """CLIP and its kin: any architecture of open_clip, its projected frame features and its text tower.

    Args:
        model: a name of ``open_clip.list_models()`` ("ViT-B-16", "RN50", "ViT-B-16-SigLIP"...), "fsar-tiny", the path
            of a model config in JSON, or what open_clip publishes whole: "hf-hub:USER/NAME" (in the Hugging Face cache)
            or "local-dir:FOLDER"; these bring their weights, and take no ``pretrained``.
        pretrained: a tag of open_clip ("openai") that is in the Hugging Face cache; a file: OpenAI's archive, a
            checkpoint of open_clip's training, a state dict (.pt, .bin, .safetensors), or what another system made of
            CLIP (Hugging Face, DIVA, DreamLIP, AudioCLIP, VeCLIP's image tower, see fsar.encoders.weights.variants); or
            null for random weights.
        tune: "frozen"; a number: that many last blocks, the closing norm and the projection are trained; or "full".
        tune_text: train the text tower as well.
        precision: of the frozen image tower's weights; "bf16" is for GPUs and for CPUs with units for it, "int8" for
            any CPU, but not under adapters. Text stays float32. Times: docs/encoders.md, "Weights in fewer bits".
        quick_gelu: the activation, for weights that do not tell. Tags and OpenAI's files do.
        templates: sentences that hold {} for the class name.
        mean: pixel mean per channel on the scale 0..1, when the weights were trained with another than their family.
        std: pixel standard deviation, likewise.
        frames_per_chunk: frames that pass together when no graph is needed; by default 8 of 224 pixels on a CPU.
        download: fetch what a tag or a tokenizer needs and the cache lacks.
        checkpointing: keep no activations inside a ViT's blocks for the backward pass, but compute them again: a
            fraction of the memory for about a third more time.
        drop_path: largest probability that a frame skips a branch of a trained block in training.

    Raises:
        FileNotFoundError: weights that are neither in the cache nor a file.
        ValueError: an unknown model; weights that do not fit it; a contradiction between the arguments.

    >>> encoder = ClipEncoder("fsar-tiny", "shapes")
    >>> clips = torch.zeros(2, 8, 3, 64, 64, dtype=torch.uint8)
    >>> encoder(clips).shape, encoder.text.encode(["a circle"]).shape
    (torch.Size([2, 8, 64]), torch.Size([1, 64]))
    """

    def __init__(
        self,
        model: str,
        pretrained: str | None,
        tune: Tune = "frozen",
        tune_text: bool = False,
        precision: Precision = "fp32",
        quick_gelu: bool | None = None,
        templates: Sequence[str] = ("a photo of {}",),
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
        frames_per_chunk: int | None = None,
        download: bool = False,
        checkpointing: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        parts = load_clip(model, pretrained, quick_gelu, download)
        split_heads(parts.visual)
        if checkpointing:
            checkpoint_blocks(parts.visual, parts.name)
        drop_branches(parts.visual, drop_path, parts.name)
        super().__init__(
            visual=parts.visual,
            channels=parts.channels,
            image_size=parts.image_size,
            mean=mean or parts.mean,
            std=std or parts.std,
            text=None if parts.text is None else TextEncoder(parts.text, model, templates, tune_text, download),
            tune=tune,
            precision=precision,
            frames_per_chunk=frames_per_chunk,
            identity=f"{parts.name} {'QuickGELU' if parts.quick_gelu else 'GELU'}",
        )
        self.logit_scale = parts.logit_scale  # what CLIP multiplies cosines with; 100 for most weights
        self.logit_bias = parts.logit_bias  # SigLIP's, else None
