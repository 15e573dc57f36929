"""ActionCLIP as published: trained and tested on clips of the same classes, which the benchmarks here keep apart.

    fsar train-supervised -c data/ucf101 -c method/action_clip --group '_g(\\d+)_'
    fsar train-supervised ... --shots 8         8 training clips of each class (K shots over all classes)
    fsar train-supervised ... --epochs 0        zero-shot

The classes are those of one split. A share of the clips of each is held out; the others are trained on, with the loss
of the paper alone. The answer for a clip is the likeliest of all class texts. No model is chosen on the held-out clips:
the last one is tested. Takes the files and options of ``fsar`` as well.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from episodes.clips import combined
from episodes.dataset import ClipDataset
from episodes.episode import Episode
from episodes.files import write_atomically
from episodes.splits import Split
from episodes.words import pluralise
from fsar.build import build_with_trainer
from fsar.methods import ActionCLIP
from fsar.methods.action_clip import labelled_batch
from fsar.reporting.classes import Share
from fsar.terminal.failure import Options, one_message
from fsar.terminal.outputs import output_folder
from fsar.training.learner import Learner


def divide(split: Split, held_out: float, shots: int | None, group: str, seed: int) -> tuple[list[int], list[int]]:
    """Videos to train on and videos held out, of every class; those of one group stay together.

    Raises:
        ValueError: when a class has too few clips or groups, or a path has no group.
    """
    generator, classes = np.random.default_rng(seed), [defaultdict[str, list[int]](list) for _ in split.class_names]
    for video, (path, label) in enumerate(zip(split.paths, split.labels, strict=True)):
        if not (found := re.search(group, path)):
            raise ValueError(
                f"--group {group!r} does not occur in {path}; expected a part that clips cut together share."
            )
        classes[label][found[found.lastindex or 0]].append(video)
    train: list[int] = []
    test: list[int] = []
    for name, groups in zip(split.class_names, classes, strict=True):
        order = [groups[key] for key in generator.permutation(sorted(groups))]
        cut = max(1, round(held_out * len(order)))
        kept = [video for videos in order[cut:] for video in videos][:shots]
        if not kept or len(kept) < (shots or 0):
            raise ValueError(
                f"class '{name}' keeps {len(kept)} of its clips for training, {len(order)} groups less {cut} held out; "
                f"{shots or 1} are needed. Lower --held-out or --shots, or leave the class out."
            )
        train, test = train + kept, test + [video for videos in order[:cut] for video in videos]
    return train, test


class LabelledBatches(Dataset[Episode]):
    """Item ``i`` is batch number ``i`` of all epochs, as an episode; each clip is a random view of its own."""

    def __init__(self, clips: ClipDataset, videos: list[int], size: int, epochs: int, seed: int) -> None:
        self.clips, self.size, generator = clips, min(size, len(videos)), np.random.default_rng(seed)
        self.order = [(int(v), epoch) for epoch in range(epochs) for v in generator.permutation(videos)]

    def __len__(self) -> int:
        return len(self.order) // self.size

    def __getitem__(self, number: int) -> Episode:
        drawn = self.order[number * self.size :][: self.size]
        labels = torch.tensor([self.clips.split.labels[video] for video, _ in drawn])
        clips = combined(torch.stack, [self.clips.clip(video, epoch) for video, epoch in drawn])
        return labelled_batch(clips, labels, self.clips.split.class_names, number)


class Supervised(LightningModule):
    """Trains a learner's method with the published loss."""

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self.learner = learner

    def training_step(self, batch: Episode, batch_idx: int) -> Tensor:
        method = self.learner.method
        loss = method.loss(method(batch), batch)["video_text_loss"]
        self.log("train_loss", loss, prog_bar=True, batch_size=batch.clip_labels.shape[-1])
        return loss

    def configure_optimizers(self) -> Any:
        return self.learner.configure_optimizers()


@torch.no_grad()
def find_right(method: ActionCLIP, clips: ClipDataset, videos: list[int], device: torch.device, workers: int) -> Tensor:
    """``(v)`` whether the likeliest of all classes is the true one, for each of the videos."""
    method = method.to(device).eval()
    loader = DataLoader(Subset(clips, videos), batch_size=16, num_workers=workers)
    pooled = [method.query_parts(method.encode(clips.to(device)))["video"] for _, clips in loader]
    text = method.class_text(clips.split.class_names)
    truth = torch.tensor([clips.split.labels[video] for video in videos])
    return method.by_text(torch.cat(pooled), text.to(device)).argmax(-1).cpu() == truth


@one_message(program="fsar train-supervised")
def main(args: list[str]) -> dict[str, Any]:
    """Divide, train, test, print, and give what was printed."""
    parser = Options(__doc__, prog="fsar train-supervised")
    parser.add_argument("--split", choices=("train", "val", "test"), default="train", help="whose classes")
    parser.add_argument("--held-out", type=float, default=0.25, help="share of each class that is tested on")
    parser.add_argument(
        "--group", default=".*", help="regular expression: clips for which it finds the same belong together"
    )
    parser.add_argument("--shots", type=int, help="training clips per class; all when not given")
    parser.add_argument("--epochs", type=int, default=10, help="over the training clips; 0 for zero-shot")
    parser.add_argument("--batch", type=int, default=32, help="clips in a batch")
    parser.add_argument("--seed", type=int, default=0, help="of the division, the order and the views")
    parser.add_argument("--out", type=output_folder, help="folder for results.json and weights.ckpt (see --ckpt_path)")
    own, rest = parser.parse_known_args(args)
    learner, data, trainer, _ = build_with_trainer(rest, "fsar train-supervised")
    if not isinstance(method := learner.method, ActionCLIP):
        raise ValueError(f"the configuration builds {type(method).__name__}, but this trains fsar.methods.ActionCLIP.")
    split = data.load().split(own.split)
    train, test = divide(split, own.held_out, own.shots, own.group, own.seed)
    if own.epochs:
        batches = LabelledBatches(data.clips(split, training=True), train, own.batch, own.epochs, own.seed)
        trainer.fit_loop.max_epochs = 1  # all epochs are one list of batches
        trainer.fit(Supervised(learner), DataLoader(batches, batch_size=None, num_workers=data.worker_count))
    found = find_right(method, data.clips(split), test, trainer.strategy.root_device, data.worker_count)
    share = Share(float(found.double().mean()), len(found))
    result = {"accuracy": share.value, "wilson_95": share.ends, "clips": len(test), "classes": len(split.class_names)}
    trained = len(train) if own.epochs else 0
    result |= {
        "trained_on": trained,
        "epochs": own.epochs,
        "shots": own.shots,
        "seed": own.seed,
    }
    low, high = share.ends
    print(
        f"\ntop-1 {100 * share.value:.2f} % ({100 * low:.1f} to {100 * high:.1f}) of {len(test):,} held-out clips, "
        f"{pluralise(len(split.class_names), 'class')}; {pluralise(own.epochs, 'epoch')} over "
        f"{pluralise(trained, 'clip')}"
    )
    if own.out:
        own.out.mkdir(parents=True, exist_ok=True)
        with write_atomically(own.out / "results.json") as part:
            part.write_text(json.dumps(result, indent=1))
        checkpoint = {"state_dict": learner.state_dict()}
        learner.trained_classes = split.class_names if own.epochs else ()
        learner.on_save_checkpoint(checkpoint)
        with write_atomically(own.out / "weights.ckpt") as part:
            torch.save(checkpoint, part)
    return result
