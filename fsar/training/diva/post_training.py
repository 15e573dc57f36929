"""Post-training of a visual tower on frames alone, by a frozen diffusion model; see ``diffusion.py``."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from episodes.clips import Streams
from episodes.files import write_atomically
from fsar.encoders import ClipEncoder, FrameEncoder, ImageEncoder
from fsar.training.diva.denoisers import DiffusionModel
from fsar.training.diva.diffusion import DiffusionFeedback

NEEDS = ("frames", "patches")


def project_patches(encoder: FrameEncoder, patches: Tensor) -> Tensor:
    """Patches ``(... w)`` in the space ``(... d)`` of the frames: through the projection of a ViT of open_clip, as they
    are for a tower without one.

    Raises:
        ValueError: a tower whose patches have no way into that space.
    """
    projection = getattr(encoder.visual, "proj", None)
    if isinstance(projection, Tensor):
        return patches @ projection
    if patches.shape[-1] != encoder.channels:
        raise ValueError(
            f"{encoder.identity} has patches of {patches.shape[-1]} channels beside frames of {encoder.channels}, and "
            "no projection that brings one to the other: diffusion feedback needs a ViT such as ViT-B-16 or ViT-L-14."
        )
    return patches


def cosine_with_warmup(step: int, steps: int, share: float) -> float:
    """Factor of the learning rate: rising over the first ``share`` of the steps, then half a cosine down to 0."""
    first = max(1, round(share * steps))
    if step < first:
        return (step + 1) / first
    return 0.5 * (1 + math.cos(math.pi * (step - first) / max(1, steps - first)))


class PostTraining(LightningModule):
    """Trains what is not frozen of an encoder, and the projection to the denoiser's condition.

    Args:
        encoder: its last blocks or adapters are trained; whatever else it holds stays.
        model: the frozen diffusion model.
        feedback: the loss over it.
        steps: in all, for the learning rate.
        lr: of SGD; 1e-4 as released.
        momentum: .9 as released.
        warmup: share of the steps.
        draws: of steps and noise for every batch; 2 as released.
        seed: of all draws.

    Raises:
        ValueError: an encoder of which nothing is trained, or that has no patches.
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        model: DiffusionModel,
        feedback: DiffusionFeedback,
        steps: int,
        lr: float = 1e-4,
        momentum: float = 0.9,
        warmup: float = 0.005,
        draws: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        encoder.check_needs(NEEDS, "diffusion feedback")
        if encoder.frozen:
            raise ValueError(
                "nothing of the encoder is trained: set --model.method.encoder.init_args.tune to a number of last "
                "blocks, or put adapters into it (fsar.encoders.Adapted)."
            )
        self.encoder, self.model, self.feedback = encoder, model, feedback
        self.before = copy.deepcopy(encoder).requires_grad_(False) if feedback.anchor else None
        self.steps, self.lr, self.momentum, self.warmup = steps, lr, momentum, warmup
        self.draws, self.seed = draws, seed
        self.seen: list[dict[str, float]] = []

    def training_step(self, clips: Streams, batch_idx: int) -> Tensor:
        dice = torch.Generator().manual_seed(self.seed * 1_000_003 + batch_idx)
        frames = clips["frames"].flatten(0, -4)
        pixels = frames.float() / 255 if frames.dtype == torch.uint8 else frames
        with torch.no_grad():
            latent = self.model.encode(pixels)
            old = None if self.before is None else self.before.features(clips)["frames"].flatten(0, -2)
        found = self.encoder.features(clips, NEEDS)
        patches = project_patches(self.encoder, found["patches"]).flatten(0, -3)
        pooled = found["frames"].flatten(0, -2)
        draws = [self.feedback(latent, pooled, patches, old, dice) for _ in range(self.draws)]
        losses = {name: torch.stack([each[name] for each in draws]).mean() for name in draws[0]}
        if not torch.isfinite(losses["loss"]):
            raise FloatingPointError(f"the loss of step {batch_idx} is {losses['loss'].item()}: lower --lr.")
        self.seen.append({name: float(value.detach()) for name, value in losses.items()})
        self.log_dict(
            {f"train_{name}": x.detach() for name, x in losses.items()}, prog_bar=True, batch_size=len(frames)
        )
        return losses["loss"]

    def configure_optimizers(self) -> Any:
        visual = [weight for weight in self.encoder.visual.parameters() if weight.requires_grad]
        weights = [*visual, *self.feedback.visual_proj.parameters()]
        optimizer = torch.optim.SGD(weights, lr=self.lr, momentum=self.momentum)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: cosine_with_warmup(step, self.steps, self.warmup)
        )
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


def write_encoder(encoder: nn.Module, path: Path) -> str | None:
    """The weights of an encoder as the file that its own option reads; none for one with adapters in or beside it.

    Returns:
        Name of the option: ``pretrained`` or ``weights``.
    """
    from safetensors.torch import save_file

    if isinstance(encoder, ClipEncoder) and encoder.text is not None:
        state = {f"visual.{name}": x for name, x in encoder.visual.state_dict().items()}
        state |= {f"text.{name}": x for name, x in encoder.text.tower.state_dict().items()}
        state["logit_scale"] = torch.tensor(encoder.logit_scale).log()
        if encoder.logit_bias is not None:
            state["logit_bias"] = torch.tensor(encoder.logit_bias)
        option = "pretrained"
    elif isinstance(encoder, ImageEncoder):
        state, option = dict(encoder.visual.state_dict()), "weights"
    else:
        return None
    with write_atomically(path) as part:
        save_file({name: x.detach().cpu().clone().contiguous() for name, x in state.items()}, part)
    return option
