"""``fsar predict``: name clips by a few labelled ones, on the command line."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from episodes.listing import class_folders, resolve_names
from episodes.splits import query_split, support_split
from episodes.splits.rows import read_rows
from episodes.video import limits
from episodes.words import pluralise
from fsar.commands.look.answers import describe, describe_explanation, describe_known
from fsar.evaluation.calibration import explain
from fsar.inference.answer import Answers, write_csv
from fsar.inference.explain import explain as explain_answer
from fsar.inference.known import draw_known
from fsar.inference.predictor import load_named
from fsar.inference.threshold import KEEP
from fsar.reporting.insight import draw_heats
from fsar.terminal.failure import Options, one_message
from fsar.terminal.files.config_files import read_yaml
from fsar.terminal.outputs import output_file, output_folder
from fsar.terminal.shown import shown
from fsar.terminal.user_code import find_user_code

DESCRIPTION = """Name the clips of --query by the labelled clips of --support, one folder per class with one clip or
more in it. The classes need not have been trained on. With --shots K in place of --query, K clips of each class are the
support and all the others are named, which says how well these classes are told apart."""
EPILOG = """The method is a trained run (--run), a configuration without training (-c FILE ...), or a frozen encoder
(--encoder): a CLIP as MODEL[:PRETRAINED], by open_clip's names or a file, or an image network as timm:NAME[:FILE] or
torchvision:NAME[:FILE], whose weights without a FILE are looked for in the library's cache. Any --model.X and --data.X
of `fsar test` may follow.

Class names, which some methods read, are the folders' names with spaces for underscores, unless classes.yaml in the
support folder (or the file given as --classes) says otherwise, with a line `folder: name` for each that differs."""


def main(args: list[str]) -> None:
    """Run the command line; any failure is one message, and exit status 2 or 1."""
    find_user_code()
    own, overrides = read(args)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that cannot be shown does not cost the answer
    with one_message(own.debug):
        if own.max_pixels is not None:
            os.environ[limits.VARIABLE] = str(own.max_pixels)
        notes: list[str] = []
        listed = own.support.suffix == ".csv"
        support = listed_support(own.support) if listed else read_support(own.support, own.classes, notes)
        truth: dict[Path, str] | None = None
        if own.shots is None:
            if listed and own.query.suffix == ".csv":
                clips = [Path(row.values["file"]) for row in read_rows(own.query, {"label": "file"})]
            elif listed:
                clips = [own.query]
            else:
                queries = query_split(own.query, tuple(support), notes)
                clips = [queries.root / path for path in queries.paths]
        else:
            support, truth = draw_known(support, own.shots, own.seed)
            clips = list(truth)
        for note in notes:
            print(shown(note), file=sys.stderr)
        predictor = load_named(
            own.run, own.config, own.encoder, own.checkpoint, overrides, own.device, own.trust_classes
        )
        predictor.seconds, predictor.keep = own.seconds, own.keep
        answers = predictor.predict(support, clips, skip_unreadable=True, progress=not own.json)
        known = None if truth is None else {str(clip): name for clip, name in truth.items()}
        if own.csv is not None:
            write_csv(own.csv, answers, known)
        asked = own.explain or own.heat is not None
        whys = [explain_answer(predictor, support, answer.clip) for answer in answers] if asked else []
        if own.heat is not None:
            draw_heats(own.heat, predictor, answers, whys)
        if own.json:
            counts = {name: len(clips) for name, clips in support.items()}
            said = report(answers, counts, notes, known)
            for record, why in zip(said["answers"], whys, strict=False):
                record["explanation"] = why.record()
            print(json.dumps(said, indent=1))
        elif known:
            print(shown(describe_known(answers, known, own.shots, own.seed)))
        else:
            lines = [describe(answer) for answer in answers]
            for i, why in enumerate(whys):
                lines[i] += "\n" + describe_explanation(why)
            print(shown("\n\n".join(lines)))
            if answers:
                print(f"\n{explain(answers[0].calibration)}\n{answers[0].threshold.explain()}")
        if broken := answers.unreadable:
            names = "".join(f"\n  {clip}: {cause}" for clip, cause in broken.items())
            place = "--query" if truth is None else "--support"
            sys.exit(
                f"fsar: {len(broken)} of {pluralise(len(clips), 'clip')} of {place} could not be read:{shown(names)}"
            )


def options() -> Options:
    """The command's own options."""
    parser = Options(DESCRIPTION, EPILOG, prog="fsar predict")
    parser.add_argument(
        "--support",
        type=Path,
        required=True,
        help="one folder of clips per class, in a folder; of imported features a .csv",
    )
    parser.add_argument(
        "--query", type=Path, help="a clip, or a folder of clips; of imported features a name, or a .csv"
    )
    parser.add_argument(
        "--shots", type=int, metavar="K", help="in place of --query: K clips of each class are support, the rest a test"
    )
    parser.add_argument("--seed", type=int, default=0, help="which K clips (0)")
    parser.add_argument("--run", help="run folder, published folder, or Hugging Face repository user/name")
    parser.add_argument("--checkpoint", default="best", choices=("best", "last"), help="of a run folder")
    parser.add_argument(
        "--trust-classes", action="store_true", help="run the code of classes that a published configuration names"
    )
    parser.add_argument(
        "-c",
        "--config",
        action="append",
        default=[],
        help="configuration of an untrained method: a file, or a name of `fsar configs`",
    )
    parser.add_argument(
        "--encoder", metavar="MODEL[:WEIGHTS]", help="a frozen encoder alone: ViT-B-16:openai, timm:NAME, a YAML"
    )
    parser.add_argument("--classes", type=Path, help="YAML with `folder: name` lines")
    parser.add_argument("--device", default="auto", help="cpu, cuda, ...; by default a GPU when there is one")
    parser.add_argument("--seconds", type=float, default=60.0, help="time limit to read one clip (60)")
    parser.add_argument("--max_pixels", type=int, help=f"of one frame; more is refused undecoded ({limits.PIXELS:,})")
    parser.add_argument(
        "--keep", type=float, default=KEEP, help=f"share of new clips of the classes to keep ({KEEP:g})"
    )
    parser.add_argument(
        "--explain", action="store_true", help="ask again backwards, shuffled, and without each frame; is slower"
    )
    parser.add_argument(
        "--heat",
        type=output_folder,
        metavar="DIR",
        help="--explain, and a picture of each query: what speaks for its class",
    )
    parser.add_argument("--csv", type=output_file, metavar="FILE", help="write a table: file, class, probability, ...")
    parser.add_argument("--json", action="store_true", help="print JSON, with the alignment maps")
    return parser


def read(args: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Our own options, and those that are handed on to the configuration."""
    parser = options()
    own, rest = parser.own_and_others(args)
    if sum(map(bool, (own.run, own.config, own.encoder))) != 1:
        parser.error("name the method by one of --run RUN, -c FILE ..., or --encoder MODEL[:WEIGHTS].")
    if (own.query is None) == (own.shots is None):
        parser.error("give either --query CLIP, or --shots K to test on the clips of --support.")
    if own.shots is not None and own.shots < 1:
        parser.error(f"--shots must be 1 or more, found {own.shots}.")
    if not own.seconds > 0:
        parser.error(f"--seconds must be more than 0, found {own.seconds:g}.")
    if not 0 < own.keep < 1:
        parser.error(
            f"--keep must lie between 0 and 1, found {own.keep:g}: 0.9 keeps nine in ten clips of the classes."
        )
    if own.encoder and rest:
        parser.error(f"{rest[0]} goes with --run or -c; --encoder stands for a fixed method.")
    return own, rest


def read_support(folder: Path, classes: Path | None = None, notes: list[str] | None = None) -> dict[str, list[Path]]:
    """``{class name: clips}`` of a folder of class folders.

    Args:
        folder: with one folder per class.
        classes: YAML of ``folder: name`` lines, all taken as text; ``classes.yaml`` in the folder when there is one.
        notes: gets lines on what was left out and what is there twice.

    Raises:
        FileNotFoundError: for a folder or file that is not there, or a name in it that is no class folder.
        ValueError: for a class without clips, a YAML file of another form, or two classes of one name.
    """
    folders = class_folders(folder)
    names: dict[str, str] = {}
    if classes is None and (folder / "classes.yaml").is_file():
        classes = folder / "classes.yaml"
    if classes is not None:
        content = read_yaml(classes, texts=True) or {}
        if not isinstance(content, dict) or not all(isinstance(name, str) for name in content.values()):
            raise ValueError(f"{classes} must hold lines `folder: name`, both text.")
        names = resolve_names(content, folders, str(classes), folder)
    split = support_split(folder, names, notes)
    support: dict[str, list[Path]] = {name: [] for name in split.class_names}
    for path, label in zip(split.paths, split.labels, strict=True):
        support[split.class_names[label]].append(folder / path)
    return support


def listed_support(table: Path) -> dict[str, list[Path]]:
    """``{class name: clips}`` of a table of clips of a store, with columns file and label."""
    support: dict[str, list[Path]] = {}
    for row in read_rows(table, {}):
        support.setdefault(row.values["label"].replace("_", " "), []).append(Path(row.values["file"]))
    return support


def report(
    answers: Answers, support: dict[str, int], notes: Sequence[str] = (), truth: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """All answers, for JSON: clips per class, answers with their true class where it is known, the threshold, what
    could not be read, and what was left out."""
    threshold, calibration = (answers[0].threshold, answers[0].calibration) if answers else (None, None)
    return {
        "support": support,
        "answers": [answer.record() | ({"truth": truth[answer.clip]} if truth else {}) for answer in answers],
        "calibration": {
            "temperature": calibration and calibration.temperature,
            "source": calibration and calibration.source,
            "explanation": explain(calibration),
        },
        "threshold": threshold
        and {
            "bounds": dict(threshold.bounds),
            "keep": threshold.keep,
            "telling": threshold.telling,
            "explanation": threshold.explain(),
        },
        "unreadable": answers.unreadable,
        "notes": list(notes),
    }
