"""What `fsar --help` proposes."""

from __future__ import annotations

import shlex

from fsar.__main__ import HELP
from fsar.build import build


def test_the_first_example_needs_no_weights_from_elsewhere() -> None:
    first = HELP.partition("examples:\n")[2].splitlines()[0]
    program, command, *options = shlex.split(first)
    assert (program, command) == ("fsar", "fit")
    run = options.index("--run")
    learner, data = build([*options[:run], *options[run + 2 :]], "cpu")
    assert learner.method.encoder.identity.startswith("fsar-tiny")
    assert data.benchmark is not None
