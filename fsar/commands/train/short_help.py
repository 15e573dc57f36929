"""What people set of ``fsar fit``, ``validate`` and ``test``, on one page; nothing heavy is imported for it.

A number in parentheses is the default. ``--help all`` prints what Lightning and our own classes take beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

START = """usage: fsar {command} [-c FILE ...] [--run FOLDER] [--key value ...]

{summary}
"""
END = """
more:
  --model.alignment.help OTAM   the options of a part; likewise --model.method.help, --data.benchmark.help
  --print_config                the whole configuration, each value where it came to rest
  --debug                       the traceback of an error
  --help all                    every option there is
"""
FIT_ONLY = {"train", "optimiser"}
GROUPS: dict[str, tuple[str, dict[str, str]]] = {
    "run": (
        "what to run",
        {
            "-c FILE": "YAML; several are laid over each other: trainer, data, method",
            "--run FOLDER": "the run folder; test and validate take its configuration and best checkpoint",
            "--ckpt_path FILE": "fit: go on from there; test: take these weights; null: none",
            "--unknown": "test: how well clips of other classes are told from these, as predict tells them",
            "--splits N": "test: on N class splits of your own clips (from --splits_seed on)",
            "--seed_everything N": "of weights that are random and of dropout",
        },
    ),
    "method": (
        "method",
        {
            "--model.method CLASS": "ClipFSAR, Prototype, ZeroShot, ..., or module.Class of your own",
            "--model.encoder CLASS|FILE": "ClipEncoder, ImageEncoder, Adapted, ..., or a YAML of one",
            "--encoder NAME": "a frozen one: small, base, vision, timm:NAME[:FILE], ViT-B-16:openai, ...",
            "--model.alignment CLASS": "OTAM, FrameMean, SoftDTW, ..., or module.Class of your own",
            "--model.alignment.ARG": "an argument of that part, as of every other",
        },
    ),
    "data": (
        "data",
        {
            "--data.benchmark CLASS": "where clips and classes come from, such as episodes.splits.Folder",
            "--data.benchmark.root FOLDER": "of its videos",
            "--data.ways N": "classes per episode (5)",
            "--data.shots K": "labelled clips per class (1)",
            "--data.test_ways N": "the same in evaluation, where it differs",
            "--data.test_shots K": "the same in evaluation, where it differs",
            "--test_shots K [K ...]": "test, validate: several of them, on videos that are encoded once",
            "--data.frames T": "of a clip (8)",
            "--data.size PIXELS": "side of the frames; by default what the encoder asks for",
            "--data.val_episodes N": "validation episodes (1000)",
            "--data.test_episodes N": "test episodes (10000)",
            "--data.test_queries N": "clips to name per class in evaluation (1)",
            "--data.features FOLDER": "what fsar extract stored, in place of the videos",
            "--data.skip_unreadable BOOL": "leave broken videos out and list them (False)",
            "--data.drop_small_classes BOOL": "leave out classes with too few clips (False)",
            "--data.reader NAME": "auto, pyav, decord, torchcodec (auto)",
            "--data.workers N": "processes that read videos; by default one per free core",
            "--data.video_batch N": "videos encoded together in evaluation (16)",
            "--data.test_seed N": "of the episodes of evaluation (0)",
        },
    ),
    "train": (
        "episodes of training",
        {
            "--data.queries N": "clips to name per class (5)",
            "--data.train_episodes N": "per epoch (1000)",
            "--data.episodes_per_batch N": "of one optimiser step (1)",
            "--data.seed N": "of episodes, frames and crops (0)",
        },
    ),
    "optimiser": (
        "optimiser",
        {
            "--model.optimizer CLASS": "torch.optim's, such as Adam",
            "--model.optimizer.lr RATE": "the base learning rate",
            "--model.lr_scheduler CLASS": "stepped after every optimiser step",
            "--model.lr_factors MAPPING": "of parts of the method, such as {encoder: 0.1}",
            "--model.no_weight_decay LIST": "parts of names that are not decayed",
            "--model.refine CLASS": "test: queries refine one another's scores: fsar.refinement.Trace, ...",
            "--model.objectives LIST": "losses beside the method's own, of fsar.objectives",
            "--trainer.max_epochs N": "how long",
            "--trainer.check_val_every_n_epoch N": "how often it is validated",
            "--trainer.gradient_clip_val X": "largest norm of the gradient",
            "--trainer.accumulate_grad_batches N": "batches of one optimiser step",
            "--trainer.callbacks LIST": "more of them, such as fsar.training.live.Pictures",
            "--trainer.logger CLASS": "TensorBoard and CSV by default; false for none",
        },
    ),
    "machine": (
        "machine",
        {
            "--trainer.accelerator NAME": "auto, cpu, gpu, ...",
            "--trainer.devices N": "how many of them",
            "--trainer.strategy NAME": "ddp for several",
            "--trainer.precision NAME": "32-true, 16-mixed, bf16-mixed",
            "--trainer.enable_progress_bar BOOL": "draw it",
        },
    ),
}


def is_short(args: Sequence[str]) -> bool:
    """Whether a command line asks for help, and not for all of it."""
    asks = [place for place, word in enumerate(args) if word in ("-h", "--help")]
    return bool(asks) and list(args[asks[0] + 1 : asks[0] + 2]) != ["all"]


def write_short(command: str, summary: str) -> str:
    """The page.

    Args:
        command: fit, validate or test.
        summary: what it does.
    """
    lines = [START.format(command=command, summary=f"{summary[0].upper()}{summary[1:]}.")]
    for key, (title, options) in GROUPS.items():
        if command == "fit" or key not in FIT_ONLY:
            lines += [f"{title}:", *(f"  {option:38}{words}" for option, words in options.items())]
    return "\n".join(lines) + "\n" + END
