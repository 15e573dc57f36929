"""Post-train an encoder on frames without labels, before any few-shot training.

    fsar post-train --objective diffusion --denoiser fsar.training.diva.StableDiffusion \\
        --denoiser-options '{folder: sd21}' --out runs/diva -c data/kinetics100 -c method/clip_fsar

``diffusion`` is DIVA: a frozen diffusion model is told of a frame by the tower's tokens alone and has to find the noise
in the frame; what it cannot find is what the tower does not tell. Trained are the encoder's last blocks (``tune``) or
the adapters in it, and a projection that is dropped in the end. An anchor to the tower as it was keeps its space, so
that the class texts still fit; ``--anchor 0`` is the release. The denoiser is any class, see ``--denoiser``. Takes the
files and options of ``fsar test`` as well.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn
from torch.utils.data import DataLoader, Dataset

from episodes.clips import Streams, combined
from episodes.dataset import ClipDataset
from episodes.files import write_atomically
from episodes.words import pluralise
from fsar.build import build_with_trainer
from fsar.encoders.weights.state import hash_tensors
from fsar.terminal.failure import Options, one_message
from fsar.terminal.outputs import output_folder
from fsar.training.diva.denoisers import make_model
from fsar.training.diva.diffusion import DiffusionFeedback
from fsar.training.diva.post_training import PostTraining, write_encoder


class UnlabelledBatches(Dataset[Streams]):
    """Item ``i`` is the clips of step ``i``, ``frames (b t c h w)``, each a random view of its own; no label."""

    def __init__(self, clips: ClipDataset, size: int, steps: int, seed: int) -> None:
        generator, rounds = np.random.default_rng(seed), -(-steps * size // len(clips))
        self.clips, self.size, self.steps = clips, size, steps
        self.order = [int(video) for _ in range(rounds) for video in generator.permutation(len(clips))]

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Streams:
        drawn = self.order[step * self.size :][: self.size]
        return combined(torch.stack, [self.clips.clip(video, step) for video in drawn])


def make_parser() -> Options:
    """The options beside those of ``fsar test``."""
    parser = Options(__doc__, prog="fsar post-train")
    parser.add_argument("--objective", choices=("diffusion",), default="diffusion", help="what the frames are used for")
    parser.add_argument("--denoiser", required=True, help="class of the diffusion model, module.Class")
    parser.add_argument("--denoiser-options", default="{}", help="its arguments, as YAML: '{folder: sd21}'")
    parser.add_argument("--out", type=output_folder, required=True, help="new, for the weights and post_training.json")
    parser.add_argument("--split", choices=("train", "val", "test"), default="train", help="whose frames")
    parser.add_argument("--steps", type=int, default=4600, help="of the optimizer")
    parser.add_argument("--batch", type=int, default=8, help="clips a step, all of whose frames are seen")
    parser.add_argument("--lr", type=float, default=1e-4, help="of SGD, falling as a cosine")
    parser.add_argument("--momentum", type=float, default=0.9, help="of SGD")
    parser.add_argument("--draws", type=int, default=2, help="of noise, for every frame of a step")
    parser.add_argument("--tokens", choices=("drawn", "half", "all"), default="drawn", help="patches that are told")
    parser.add_argument("--replacement", action="store_true", help="draw patches with replacement, as released")
    parser.add_argument("--mean-null", action="store_true", help="average the null text over its tokens")
    parser.add_argument("--anchor", type=float, default=0.01, help="weight of the distance to the tower as it was")
    parser.add_argument("--seed", type=int, default=0, help="of clips, views and noise")
    return parser


def hash_model(model: object) -> str | None:
    """sha256 of the diffusion model's weights; None for one that is no module."""
    return hash_tensors(model.state_dict()) if isinstance(model, nn.Module) else None


def summarise(seen: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Mean losses of the first and the last tenth of the steps."""
    tenth = max(1, len(seen) // 10)
    return {
        name: {key: float(np.mean([step[key] for step in part])) for key in part[0]}
        for name, part in (("first_tenth", seen[:tenth]), ("last_tenth", seen[-tenth:]))
    }


@one_message(program="fsar post-train")
def main(args: list[str]) -> dict[str, Any]:
    """Train, write the weights, and give what is written about them."""
    parser = make_parser()
    own, rest = parser.parse_known_args(args)
    if own.out.exists():
        parser.error(f"{own.out} exists already: name a new folder with --out.")
    if min(own.steps, own.batch, own.draws) < 1:
        parser.error("--steps, --batch and --draws must be at least 1")
    options = yaml.safe_load(own.denoiser_options)
    if not isinstance(options, dict):
        parser.error(f"--denoiser-options must be a mapping, such as '{{folder: sd21}}', found {options!r}")
    learner, data, trainer, _ = build_with_trainer(rest, "fsar post-train")
    model, encoder = make_model(own.denoiser, options), learner.method.encoder
    feedback = DiffusionFeedback(
        model, model.null_text, encoder.channels, model.kept, own.tokens, own.replacement, own.mean_null, own.anchor
    )
    module = PostTraining(encoder, model, feedback, own.steps, own.lr, own.momentum, draws=own.draws, seed=own.seed)
    before, split = hash_model(model), data.load().split(own.split)
    batches = UnlabelledBatches(data.clips(split, training=True), own.batch, own.steps, own.seed)
    trainer.fit_loop.max_epochs = 1  # all steps are one list of batches
    trainer.fit(module, DataLoader(batches, batch_size=None, num_workers=data.worker_count))
    if not all(bool(torch.isfinite(weight).all()) for weight in encoder.parameters()):
        raise FloatingPointError("weights of the encoder are no longer finite after the last step: lower --lr.")
    if (after := hash_model(model)) != before:
        raise ValueError(f"{own.denoiser} changed while it was to stay frozen: {before} before, {after} after.")
    result = {
        "objective": own.objective,
        "denoiser": own.denoiser,
        "denoiser_sha256": after,
        "anchor": own.anchor,
        "steps": own.steps,
        "split": own.split,
        "videos": len(split),
        **summarise(module.seen),
    }
    own.out.mkdir(parents=True)
    learner.trained_classes = split.class_names  # their frames were seen, if not their names
    checkpoint = {"state_dict": learner.state_dict()}
    learner.on_save_checkpoint(checkpoint)
    with write_atomically(own.out / "weights.ckpt") as part:
        torch.save(checkpoint, part)
    option = write_encoder(encoder, own.out / "encoder.safetensors")
    with write_atomically(own.out / "post_training.json") as part:
        part.write_text(json.dumps(result, indent=1))
    first, last = (result[key]["diffusion"] for key in ("first_tenth", "last_tenth"))
    print(
        f"\nthe denoiser's error went from {first:.4f} to {last:.4f} over {pluralise(own.steps, 'step')}; its "
        "weights are the same"
    )
    if option:
        gelu = f" and quick_gelu: {str('QuickGELU' in encoder.identity).lower()}" if option == "pretrained" else ""
        print(f"{own.out / 'encoder.safetensors'}: for the encoder's {option}{gelu}")
    print(f"{own.out / 'weights.ckpt'}: for --ckpt_path with the same configuration")
    return result
