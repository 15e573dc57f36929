"""What libraries say on their own account, which nobody asked for: adverts, habits, what we say ourselves."""

from __future__ import annotations

import logging
import os
import re
import warnings

WARNINGS = (
    "LightningCLI's args parameter is intended",  # we are the entry point
    r"Found \d+ module\(s\) in eval mode",  # frozen towers stay in evaluation mode on purpose
    r".*isinstance\(treespec, LeafSpec\)",  # Lightning 2.6 with torch 2.15
    "Be aware that when using `ckpt_path`, callbacks used to create",  # nothing is monitored in evaluation
    "Checkpoint directory .* exists and is not empty",  # a run that is resumed
    "The number of training batches .* is smaller than the logging interval",
    "The '.*dataloader' does not have many workers",  # the data module chooses their number
    "No seed found, seed set to",  # stands in the configuration
    "Total length of `.*` across ranks is zero",  # a list or loader of no validation classes, as we say ourselves
)
LINES = re.compile(
    "|".join(
        (
            ".*Tip:",  # adverts of loggers
            "(GPU|TPU|HPU|IPU) available: ",  # a fit says which device it runs on
            r"(\[rank: \d+\] )?Seed set to ",  # stands in the configuration
            "`Trainer.fit` stopped: `max_(epochs|steps)=",  # as was asked
            "Restoring states from the checkpoint path",  # and afterwards that it is done
            "Detected KeyboardInterrupt",  # we say it ourselves
        )
    )
)
LOGGERS = ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed")


def is_wanted(record: logging.LogRecord) -> bool:
    """Whether a line of a library tells a person something."""
    return not LINES.match(str(record.msg))


def hush_libraries() -> None:
    """From here on their noise is not printed; what they warn of otherwise is."""
    os.environ.pop("FORCE_COLOR", None)  # set by notebooks; rich takes their pipe for a terminal and draws bars into it
    for message in WARNINGS:
        warnings.filterwarnings("ignore", message)
    for name in LOGGERS:
        logging.getLogger(name).addFilter(is_wanted)
