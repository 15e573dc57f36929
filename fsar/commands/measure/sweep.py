"""Accuracy over ways, shots and inference modes from one pass over the videos.

    fsar sweep --run runs/demo --ways 2 3 5 10 --shots 1 2 3 4 5 --inference few_shot text combined
    fsar sweep -c data/hmdb51 -c method/prototype --shots 1 5 --out runs/prototype
    fsar sweep --run runs/demo --texts photo shapes shapes:step
    fsar sweep -c data/hmdb51 -c method/prototype --encoders small base timm:convnext_tiny mine.yaml --out runs/encoders

Every video that any setting needs is encoded once; all settings are scored on what was kept. They share classes and
queries as far as possible (more shots add supports to the same episodes). Each leaves a folder as ``fsar test`` does,
in ``<out>/results``, for fsar compare. ``--encoders`` asks what an encoder is worth: the same method, metric and
episodes over each of them, a table with the paired difference from the first and what the class names alone give; its
runs are ``<out>/encoders/*``, and ``fsar report <out>`` draws them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, get_args, get_type_hints

from episodes.datamodule import EpisodicDataModule
from episodes.dataset import IndexEpisodes, needed_videos
from episodes.features import with_cache
from episodes.words import pluralise
from fsar.build import Built, build_with_trainer
from fsar.commands.measure.encoder_words import name_folders, shorten
from fsar.commands.measure.text_words import check_texts, clean_folder, say_texts
from fsar.encoders.weights.options import options_with
from fsar.evaluation.accuracy import plus_minus
from fsar.evaluation.bank import VideoBank
from fsar.evaluation.calibration import calibration_facts
from fsar.evaluation.comparing.comparison import find, paired_difference
from fsar.evaluation.marks import marks, method_marks
from fsar.evaluation.metrics import EpisodeAccuracy
from fsar.evaluation.provenance import Phases, tell_scoring, time_shares
from fsar.evaluation.results import Predictions, read_record, set_damaged_aside, summarise, write_results
from fsar.terminal.bars import counting
from fsar.terminal.failure import Options, one_message
from fsar.terminal.outputs import output_folder
from fsar.terminal.wrong_use import WrongUse
from fsar.text import parse_texts
from fsar.training.joining import check_queries, check_said
from fsar.training.learner import Learner

Setting = tuple[int, int, str | None]
"""Ways, shots and inference mode."""
Asked = tuple[int | None, int, str | None]
"""The same, with None for the ways of the configuration."""
HEAD = "ways | shots | inference | accuracy, % | minus the first, paired | class names alone, % |" + "\n|" + 7 * "---|"
"""Of the table of several encoders or texts, behind the column that names them."""


def encode(learner: Learner, data: EpisodicDataModule, split: str, videos: list[int], phases: Phases) -> VideoBank:
    """These videos of the split, once."""
    batches = with_cache(data, split, videos)
    cache: Any = getattr(data, "kept", None)
    bank = VideoBank(learner.method, keep=cache and cache.keep)
    with counting("encoding", len(videos)) as tell:
        for batch in batches:
            with phases.measure("encode", learner.device):
                bank.add(batch.to(learner.device))
            tell(len(batch.videos))
    bank.close()
    return bank


def score(bank: VideoBank, learner: Learner, data: EpisodicDataModule, split: str, phases: Phases) -> None:
    """One setting; leaves ``rows`` and ``result`` with the learner, as a test does."""
    predictions, floor = Predictions(), EpisodeAccuracy()
    with counting("scoring", data.counts[split], "episodes") as tell:
        for episodes in IndexEpisodes(data.episode_sampler(split), data.counts[split], data.episode_batch):
            with phases.measure("score", learner.device):
                batch = episodes.to(learner.device)
                predictions.add(batch, learner.scoring(bank, batch).logits)
                if (cosines := bank.zero_shot(batch)) is not None:
                    floor.update(cosines, batch.query_labels)
            tell(len(batch.number))
    learner.rows = predictions.arrays()
    summary = summarise(learner.rows, predictions.class_names)
    said = calibration_facts(learner.rows, learner.calibration)
    learner.result = {
        **summary,
        **said,
        **phases.record(),
        "encoder_forwards": bank.forwards,
    } | learner.scoring.record()
    if floor.update_called:
        mean, interval, _ = floor.compute()
        learner.result |= {"zero_shot_accuracy": mean, "zero_shot_interval_95": interval}


def run(
    learner: Learner,
    data: EpisodicDataModule,
    settings: Sequence[Setting],
    out: Path,
    split: str = "test",
    config: dict[str, Any] | None = None,
    word: str = "",
    first: Mapping[Setting, Path] | None = None,
) -> dict[Setting, Path]:
    """Encode, then score every setting; gives the folder of each one's results.

    Args:
        learner: with the method.
        data: whose ways and shots are set here.
        settings: to score.
        out: results go below it.
        split: of the data.
        config: what results record.
        word: the encoder or texts of the rows that are printed.
        first: results of another of them, to which the rows compare.

    Raises:
        ValueError: when a mode is asked of a method that has none, or the split cannot give such episodes.
    """
    check_modes(learner, settings)
    check_queries(learner.method, data.test_queries)
    set_damaged_aside(out)
    learner.eval()
    learner.scoring.check(learner.device)
    data.setup({"val": "validate", "test": "test"}[split])
    needed: set[int] = set()
    for data.test_ways, data.test_shots, _ in settings:
        needed |= set(needed_videos(data.episode_sampler(split), data.counts[split]))
    phases, folders = Phases(), {}
    bank = encode(learner, data, split, sorted(needed), phases)
    if not word:
        print("| ways | shots | inference | accuracy, % |\n|---|---|---|---|")
    for setting in settings:
        data.test_ways, data.test_shots, mode = setting
        if mode:
            setattr(learner.method, "inference", mode)  # noqa: B010  # a method that has modes, as was checked above
        score(bank, learner, data, split, phases)
        folders[setting] = write_results(out, learner, data, config or {}, split)
        phases.lap("write")
        mark = f", {words}" if (words := marks(method_marks(learner.method))) else ""
        cells = [str(data.test_ways), str(data.test_shots), mode or "", f"{percent(learner.result)}{mark}"]
        if word:
            base = first and first[setting]
            floor = percent(learner.result, "zero_shot_") if "zero_shot_accuracy" in learner.result else "no text"
            cells = [word, *cells, difference(base, folders[setting]) if base else "", floor]
        print(f"| {' | '.join(cells)} |", flush=True)
    if not word:
        scored = len(settings) * data.counts[split]
        shares = time_shares(learner.result, len(needed), data.test_views)
        print(f"\n{shares}; {pluralise(scored, 'episode')} scored")
        say_scoring(folders.values())
    return folders


def say_scoring(folders: Iterable[Path]) -> None:
    """Below the table, what scoring in bfloat16 has changed in these results."""
    if said := tell_scoring(read_record(folder / "results.json") or {} for folder in folders):
        print(f"\n{said}")


def settle(asked: Sequence[Asked], data: EpisodicDataModule) -> list[Setting]:
    """Settings whose ways are numbers."""
    return [(ways or data.test_ways or data.ways, shots, mode) for ways, shots, mode in asked]


def percent(result: Mapping[str, Any], prefix: str = "") -> str:
    """An accuracy with its interval."""
    return plus_minus(result[f"{prefix}accuracy"], result[f"{prefix}interval_95"])


def difference(base: Path, folder: Path) -> str:
    """Of two results on the same episodes, the second minus the first with its interval, episode by episode."""
    mean, half, _ = paired_difference(*find([base, folder]))
    return f"{100 * mean:+.2f} ± {100 * half:.2f}"


def check_modes(learner: Learner, settings: Sequence[Setting]) -> None:
    """Refuse a mode of inference that the method does not have.

    Raises:
        ValueError: naming both.
    """
    name, known = type(learner.method).__name__, get_type_hints(type(learner.method).__init__).get("inference")
    asked = {mode for _, _, mode in settings if mode}
    if asked and known is None:
        raise ValueError(f"{name} has one way of inference: leave out --inference.")
    if unknown := asked - set(get_args(known)):
        raise WrongUse(f"--inference {', '.join(sorted(unknown))}: {name} has {', '.join(get_args(known))}.")


def connect(built: Built) -> Built:
    """Learner, data and trainer as a test would hold them."""
    learner, data, trainer, _ = built
    data.trainer = trainer
    trainer.strategy.connect(learner)  # as a test would; stored features are asked for by the encoder's hash
    learner.trainer = trainer
    learner.to(trainer.strategy.root_device)
    return built


@one_message(program="fsar sweep")
def main(args: list[str]) -> None:
    """Parse, build and run."""
    parser = Options(__doc__, prog="fsar sweep")
    parser.add_argument("--ways", type=int, nargs="+", help="those of the configuration when not given")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5], help="(1 5)")
    parser.add_argument("--inference", nargs="+", default=[], help="modes of a method that has several")
    parser.add_argument("--texts", nargs="+", default=[], help="what is said: templates, packs, files; FILE:step")
    parser.add_argument("--encoders", nargs="+", default=[], help="small, timm:NAME, torchvision:NAME, YAML files, ...")
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--out", type=output_folder, help="folder of the results; the run's by default")
    own, rest = parser.parse_known_args(args)
    asked: list[Asked] = list(product(own.ways or [None], own.shots, own.inference or [None]))
    if own.encoders:
        if own.texts:
            parser.error("--encoders and --texts are two questions: ask one at a time.")
        compare_encoders(own.encoders, rest, asked, own.out, own.split)
        return
    built = build_with_trainer(rest, "fsar sweep")
    learner, data, _, config = built
    out = own.out or (Path(config["run"]) if config["run"] else None)
    if out is None:
        parser.error("say where results go with --out FOLDER (or give --run FOLDER).")
    connect(built)
    settings = settle(asked, data)
    banks = {word: parse_texts(word) for word in own.texts}  # before anything is encoded
    check_texts(learner, own.texts)
    names = data.load().split(own.split).class_names
    for bank in banks.values():
        bank.check(names, bank.kinds, "--texts")
    first, folders = None, list[Path]()
    if banks:
        print(f"| texts | {HEAD}")
    for word, bank in banks.items():
        learner.method.texts = bank
        config["model"]["method"]["init_args"]["texts"] = {
            "class_path": "fsar.text.TextBank",
            "init_args": bank.options,
        }
        place = out / "texts" / clean_folder(word)
        found = run(learner, data, settings, place, own.split, config, say_texts(word, bank), first)
        first, folders = first or found, [*folders, *found.values()]
    say_scoring(folders)
    if not banks:
        check_said(learner.method, names)
        run(learner, data, settings, out, own.split, config)


def compare_encoders(
    words: Sequence[str], args: Sequence[str], asked: Sequence[Asked], out: Path | None, split: str
) -> None:
    """The same settings over each of several encoders, all of which are built before a video is read.

    Raises:
        FileNotFoundError, ValueError: an encoder that is not here, or that does not fit the method; a trained run.
    """
    if out is None or {"--run", "--ckpt_path"} & {arg.partition("=")[0] for arg in args}:
        raise ValueError(
            "--encoders compares encoders under one method of which nothing was trained on any of them: give -c files "
            "and --out FOLDER, not --run or --ckpt_path."
        )
    folders = name_folders(words)
    lines = [options_with(args, word, "--encoders") for word in words]  # what is not here is told first
    built = [build_with_trainer(line, "fsar sweep") for line in lines]
    settings = settle(asked, built[0].data)
    for word, one in zip(words, built, strict=True):
        check_modes(one.learner, settings)
        check_said(one.learner.method, one.data.load().split(split).class_names)
        weights = sum(weight.numel() for weight in one.learner.method.encoder.visual.parameters())
        print(f"{shorten(word)}: {weights / 1e6:.1f} M weights see {one.data.framing.size} px")
    print(f"\n| encoder | {HEAD}")
    first, scored = None, list[Path]()
    for word, one in zip(words, built, strict=True):
        connect(one)
        place = out / "encoders" / folders[word]
        found = run(one.learner, one.data, settings, place, split, one.config, shorten(word), first)
        first, scored = first or found, [*scored, *found.values()]
        one.learner.cpu()
    say_scoring(scored)
    print()
    for word, one in zip(words, built, strict=True):
        seconds, clips = one.learner.result["seconds"], one.learner.result["encoder_forwards"]
        print(f"{shorten(word)}: {pluralise(clips, 'clip')} encoded in {seconds['encode']:.1f} s")
    print(f"\n`fsar report {out}` draws them; `fsar compare {out}/encoders/*` says how sure each difference is.")
