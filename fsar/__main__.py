"""``fsar`` on the command line, also ``python -m fsar``."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from fsar.commands import COMMANDS, SLOW, list_commands, suggest_command
from fsar.commands.train.short_help import is_short, write_short
from fsar.terminal.noise import hush_libraries
from fsar.terminal.user_code import find_user_code

HELP = f"""usage: fsar COMMAND [-c FILE ...] [--run FOLDER] [--key value ...]

Few-shot video action recognition.

{list_commands()}
  -c FILE       a YAML file, or the name of a shipped one; several are laid over each other: trainer, data, method
  --run FOLDER  the run folder (default: runs/<date>_<time>). For the others its config.yaml and best checkpoint
                are used unless others are named.
  --debug       show the traceback of an error
  --completion  print a script that completes commands and options in bash and zsh

examples:
  fsar fit  --run runs/demo -c trainer -c data/shapes_motion -c method/clip_fsar_tiny
  fsar test --run runs/demo
  fsar fit  -c method/clip_fsar --model.alignment.help OTAM
  fsar predict --run runs/demo --support my_classes --query clip.mp4

`fsar COMMAND --help` lists its options, `fsar fit --help all` every one; `fsar fit ... --print_config` prints the
configuration.
"""


def main(args: list[str] | None = None) -> int | None:
    """Entry point; gives the exit status. A Ctrl-C while modules are imported ends it as quietly as any later one."""
    args = sys.argv[1:] if args is None else args
    hush_libraries()
    try:
        return run(args)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("fsar: interrupted.", file=sys.stderr, flush=True)
        return 130


def run(args: list[str]) -> int | None:
    """Answer for help, before anything heavy is imported, or call the command; gives the exit status."""
    if not args or args[0] in ("-h", "--help"):
        print(HELP, end="")
    elif args[0] == "--version":
        from fsar import __version__

        print(__version__)
    elif args[0] == "--completion":
        import_module("fsar.commands.train.fit").main(args)
    elif (command := COMMANDS.get(args[0])) and command.named and is_short(args):
        print(write_short(args[0], command.summary), end="")
    elif command:
        quiet = {"-h", "--help", "--list-options"} & set(args) or os.environ.get("LOCAL_RANK", "0") != "0"
        if args[0] in SLOW and sys.stderr.isatty() and not quiet:
            print(f"fsar {args[0]}: loading PyTorch and the model ...", file=sys.stderr, flush=True)
        find_user_code()
        with uncollected():
            module = import_module(f"fsar.commands.{command.module}")
        status = module.main(args if command.named else args[1:])
        return status if isinstance(status, int) else None
    else:
        hint = suggest_command(args[0]) or "; `fsar --help` lists them."
        print(f"fsar: there is no command {args[0]}{hint}", file=sys.stderr)
        return 2
    return None


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage while modules are imported: there is none, and the looks take a fifth of the time. What was
    imported is not looked at later either."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


if __name__ == "__main__":
    sys.exit(main())
