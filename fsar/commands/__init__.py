"""What a person types: one file a command; nothing else reads the command line.

The table below is all that ``fsar --help`` needs. A command's module is imported when it is called; its ``main(args)``
takes what stands after the command's name.
"""

from __future__ import annotations

import difflib
from typing import NamedTuple


class Command(NamedTuple):
    """A row of ``fsar --help``.

    Args:
        group: the heading it stands under.
        module: where its ``main`` is, below this package.
        summary: what it does, in a line.
        named: the module serves several commands, and is told which by the first argument.
    """

    group: str
    module: str
    summary: str
    named: bool = False


SLOW = {
    "fit",
    "validate",
    "test",
    "sweep",
    "protocol",
    "reproduce",
    "baselines",
    "rank",
    "train-supervised",
    "post-train",
}
SLOW |= {"extract", "cluster", "predict", "report", "map", "robustness", "plot-alignment", "play", "sketch"}
"""Commands that import a network before they can say anything."""
TRAIN, DATA, LOOK, SHARE = "train and test", "data", "look", "share"
COMMANDS = {
    "fit": Command(
        TRAIN, "train.fit", "train a method on episodes; the best checkpoint is chosen on validation classes", True
    ),
    "validate": Command(TRAIN, "train.fit", "accuracy on the validation classes", True),
    "test": Command(TRAIN, "train.fit", "accuracy on the test classes, with its 95 % interval", True),
    "sweep": Command(TRAIN, "measure.sweep", "accuracy over ways, shots and inference modes, every video encoded once"),
    "protocol": Command(TRAIN, "measure.protocol", "open-set, generalized, cross-domain, many-way and other protocols"),
    "reproduce": Command(
        TRAIN, "measure.reproduce", "a table of published numbers again: ours beside them, and what it will cost"
    ),
    "baselines": Command(
        TRAIN, "measure.baselines", "CLIP's own few-shot family on the same episodes: what has to be beaten"
    ),
    "rank": Command(
        TRAIN,
        "measure.rank",
        "heads trained on stored features over several divisions of the classes, before and after",
    ),
    "train-supervised": Command(
        TRAIN, "train.train_supervised", "ActionCLIP on clips of the same classes, as published"
    ),
    "post-train": Command(
        TRAIN, "train.post_train", "post-train an encoder on frames without labels, by a frozen diffusion model"
    ),
    "configs": Command(TRAIN, "train.configs", "list the configurations that come with fsar, or print one"),
    "demo": Command(TRAIN, "train.demo", "render videos, train CLIP-FSAR on them, test it beside two baselines"),
    "init": Command(DATA, "data.init", "look at a folder of clips and write a commented configuration for it"),
    "describe": Command(DATA, "data.describe", "a prompt for texts about your classes, and a check of the answer"),
    "check-videos": Command(DATA, "data.check_videos", "find videos that cannot be read or are short"),
    "prepare-videos": Command(
        DATA, "data.prepare_videos", "turn a data set into what trains fast, or measure whether it is worth it"
    ),
    "splits": Command(DATA, "data.splits", "get the published lists of a benchmark"),
    "check-benchmark": Command(
        DATA, "data.check_benchmark", "is a copy of a data set the benchmark that was published?"
    ),
    "episodes": Command(DATA, "data.episodes", "write the test episodes to a file, or verify one"),
    "import-features": Command(
        DATA,
        "data.import_features",
        "features that were computed elsewhere, by any model, as a store to run methods on",
    ),
    "extract": Command(DATA, "data.extract", "encode all videos once and keep what no training changes"),
    "cluster": Command(DATA, "data.cluster", "a list of training clips whose classes are clusters of stored features"),
    "predict": Command(LOOK, "look.predict", "name the clips of --query from the labelled clips of --support"),
    "report": Command(LOOK, "look.report", "a run, or several side by side, on one page"),
    "compare": Command(LOOK, "look.compare", "results side by side, and how sure a difference is"),
    "map": Command(LOOK, "look.map", "clips as an encoder sees them: by class, mixed up, mislabelled, twice there"),
    "robustness": Command(LOOK, "look.robustness", "what breaks a run: accuracy while its clips are changed"),
    "plot-alignment": Command(LOOK, "look.plot_alignment", "draw how a metric aligns two clips"),
    "play": Command(LOOK, "look.play", "a film of two clips playing along their path"),
    "sketch": Command(LOOK, "look.sketch", "draw a frame as a few strokes that an encoder takes for it"),
    "check-alignment": Command(LOOK, "look.check_alignment", "put an alignment of your own through the property tests"),
    "weights": Command(SHARE, "share.weights", "weights that can be had: list them, get them, look at a file"),
    "check-method": Command(LOOK, "look.check_method", "put a method through the property tests that ours pass"),
    "web": Command(SHARE, "share.web", "a page on this machine, to name clips in a browser"),
    "convert": Command(SHARE, "share.convert", "make a run of a checkpoint as its authors saved it"),
    "publish": Command(SHARE, "share.publish", "pack a run into a folder or a Hugging Face repository"),
}


def list_commands() -> str:
    """All commands with their summaries, under the headings of their groups."""
    width = max(map(len, COMMANDS))
    lines: list[str] = []
    for group in dict.fromkeys(command.group for command in COMMANDS.values()):
        rows = [f"  {name:{width}}  {each.summary}" for name, each in COMMANDS.items() if each.group == group]
        lines += [f"{group}:", *rows, ""]
    return "\n".join(lines)


def suggest_command(word: str) -> str:
    """``; did you mean ... ?`` of the nearest command, "" when none is near."""
    close = difflib.get_close_matches(word.replace("_", "-"), COMMANDS, 1)
    return f"; did you mean {close[0]} ?" if close else ""
