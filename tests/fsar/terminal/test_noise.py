"""Libraries keep their adverts and habits to themselves; what they warn of is still told."""

from __future__ import annotations

import logging
import warnings
from io import StringIO

import pytest
from rich.console import Console

from fsar.terminal.noise import LOGGERS, hush_libraries


def passes(logger: str, text: str) -> bool:
    return bool(logging.getLogger(logger).filter(logging.makeLogRecord({"name": logger, "msg": text})))


@pytest.mark.parametrize(
    "text",
    [
        "💡 Tip: For seamless cloud logging and experiment tracking, try installing [litlogger]",
        "TPU available: False, using: 0 TPU cores",
        "GPU available: True (cuda), used: True",
        "[rank: 1] Seed set to 0",
        "Seed set to 0",
        "`Trainer.fit` stopped: `max_epochs=1` reached.",
    ],
)
def test_noise_is_not_printed(text: str) -> None:
    hush_libraries()
    assert not any(passes(logger, text) for logger in LOGGERS)


@pytest.mark.parametrize("text", ["`Trainer.fit` stopped: No training batches.", "Restored all states from here"])
def test_what_is_news_is(text: str) -> None:
    hush_libraries()
    assert all(passes(logger, text) for logger in LOGGERS)


@pytest.mark.parametrize("holder", ["list", "DataLoader"])
def test_an_empty_list_of_validation_loaders_is_no_news(holder: str) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        hush_libraries()
        warnings.warn(f"Total length of `{holder}` across ranks is zero. Please make sure", stacklevel=1)
        warnings.warn("the loss is not finite", stacklevel=1)
    assert [str(warning.message) for warning in seen] == ["the loss is not finite"]


def test_a_seed_that_stands_in_the_configuration_is_no_news() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        hush_libraries()
        warnings.warn("No seed found, seed set to 0", stacklevel=1)
    assert not seen


def test_a_notebook_that_asks_for_colour_gets_no_bars_drawn_into_its_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    hush_libraries()
    assert not Console(file=StringIO()).is_terminal
