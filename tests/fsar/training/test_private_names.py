"""What is taken from Lightning under names that it may change at any time: all of it is listed, and there."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path

import lightning
import pytest
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loops.fetchers import _DataFetcher
from lightning.pytorch.utilities.combined_loader import CombinedLoader

ROOT = Path(__file__).resolve().parents[3]
PRIVATE = {
    "trainer._checkpoint_connector.dump_checkpoint": "write interrupted.ckpt without waiting for other processes",
    "trainer.fit_loop._data_fetcher": "know that a step was the last before a validation",
    "trainer.fit_loop.epoch_loop.val_loop._data_fetcher": "end a fit that is stopped while it opens its loaders",
    "trainer.fit_loop.epoch_loop._should_check_val_fx": "know that a step was the last before a validation",
    "fetcher._combined_loader": "end a fit that is stopped while it opens its loaders",
    "loader._iterator": "end a fit that is stopped while it opens its loaders",
    "checkpoint._should_skip_saving_checkpoint": "keep a best checkpoint where nothing is validated",
    "checkpoint._save_topk_checkpoint": "keep a best checkpoint where nothing is validated",
    "checkpoint._monitor_candidates": "keep a best checkpoint where nothing is validated",
    "module._trainer": "know that a learner is not being trained",
    "cli._get": "read the options of a command",
    "cli._dump_config": "keep the configuration of a run that was only tested",
    "cli._prepare_subcommand_kwargs": "test with several numbers of shots",
    "cli._parse_ckpt_path": "let the command line win over a checkpoint",
}
"""Where it is, and what breaks without it. ``_subcommand_parsers``, which completion reads, is an annotation."""
UNDOCUMENTED = {
    "trainer.fit_loop.restarted_on_epoch_end": "count an epoch that was over once",
    "trainer.fit_loop.epoch_progress.increment_completed": "count an epoch that was over once",
    "trainer.fit_loop.on_iteration_done": "count an epoch that was over once",
    "trainer.fit_loop.epoch_loop.on_iteration_done": "count an epoch that was over once",
    "trainer.fit_loop.epoch_loop.val_loop.on_iteration_done": "count an epoch that was over once",
    "trainer.fit_loop.epoch_loop.val_loop.batch_progress.total.reset_on_restart": "finish a validation",
    "trainer.fit_loop.total_batch_idx": "note the place of a validation",
}
OTHERS = {"_subcommand_parsers", "_actions", "_foreach_copy_", "_fields", "_replace", "_asdict"}
"""Of the annotation above, of argparse, torch and named tuples."""


@pytest.fixture(scope="module")
def places() -> dict[str, object]:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False)
    parts = {"trainer": trainer, "fetcher": _DataFetcher(), "loader": CombinedLoader([])}
    return {**parts, "module": LightningModule(), "cli": LightningCLI, "checkpoint": ModelCheckpoint}


@pytest.mark.parametrize(("name", "use"), {**PRIVATE, **UNDOCUMENTED}.items())
def test_lightning_has_what_is_taken_from_it(places: dict[str, object], name: str, use: str) -> None:
    first, _, rest = name.partition(".")
    try:
        attrgetter(rest)(places[first])
    except AttributeError:
        pytest.fail(
            f"lightning {lightning.__version__} has no {name}, which fsar needs to {use}: find what took its place, "
            "or let the bound of lightning in setup.cfg end below this version.",
            pytrace=False,
        )


def test_it_is_called_as_lightning_wants(places: dict[str, object]) -> None:
    inspect.signature(attrgetter("_checkpoint_connector.dump_checkpoint")(places["trainer"])).bind(weights_only=False)
    inspect.signature(attrgetter("fit_loop.epoch_loop._should_check_val_fx")(places["trainer"])).bind(None)
    assert "_subcommand_parsers" in inspect.getsource(LightningCLI)
    place = attrgetter("fit_loop.state_dict")(places["trainer"])()
    for name in ("epoch_loop.batch_progress", "epoch_loop.val_loop.batch_progress"):
        assert set(place[name]["total"]) >= {"ready", "started", "processed", "completed"}


def foreign_names(file: Path) -> Iterator[str]:
    """Names with an underscore that a file reads or imports and does not make itself."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    own = {x.name for x in nodes if isinstance(x, ast.FunctionDef | ast.ClassDef)}
    own |= {x.attr for x in nodes if isinstance(x, ast.Attribute) and isinstance(x.ctx, ast.Store)}
    read = [x.attr for x in nodes if isinstance(x, ast.Attribute)]
    read += [name.name for x in nodes if isinstance(x, ast.ImportFrom) for name in x.names]
    return (x for x in read if x.startswith("_") and not x.startswith("__") and x not in own | OTHERS)


def test_nothing_else_is_taken() -> None:
    files = [file for package in ("fsar", "episodes") for file in (ROOT / package).rglob("*.py")]
    listed = {part for name in PRIVATE for part in name.split(".")}
    for file in files:
        if "from lightning" in file.read_text(encoding="utf-8"):
            new = set(foreign_names(file)) - listed
            assert not new, f"{file.relative_to(ROOT)} takes {new} from Lightning, or from elsewhere: list it here."
