"""``fsar`` on the command line, also ``python -m fsar``."""

from __future__ import annotations

import sys

HELP = """usage: fsar {fit,validate,test,predict} [-c FILE ...] [--run FOLDER] [--key value ...]

Few-shot video action recognition.

  fit       train a method on episodes of the training classes; the best checkpoint is chosen on validation classes
  validate  accuracy on the validation classes
  test      accuracy on the test classes, with its 95 % interval
  predict   name the clips of --query from the labelled clips of --support (one folder per class)

  -c FILE       a YAML file; several are laid over each other: trainer, data, method
  --run FOLDER  the run folder (default: runs/<date>_<time>). For the others its config.yaml and best checkpoint
                are used unless others are named.
  --debug       show the traceback of an error
  --completion  print a script that completes options in bash and zsh

examples:
  fsar fit  --run runs/demo -c configs/trainer.yaml -c configs/data/shapes_motion.yaml -c configs/method/clip_fsar.yaml
  fsar test --run runs/demo
  fsar fit  -c configs/method/clip_fsar.yaml --model.alignment.help OTAM
  fsar predict --run runs/demo --support my_classes --query clip.mp4

`fsar SUBCOMMAND --help` lists every option; `fsar SUBCOMMAND ... --print_config` prints the configuration.
"""


def main(args: list[str] | None = None) -> None:
    """Entry point. Help is answered before anything heavy is imported."""
    args = sys.argv[1:] if args is None else args
    if not args or args[0] in ("-h", "--help"):
        print(HELP, end="")
        return
    if args[0] == "--version":
        from fsar import __version__

        print(__version__)
        return
    if args[0] == "predict":
        from fsar import predict

        predict.run(args[1:])
        return
    from fsar.cli import run

    run(args)


if __name__ == "__main__":
    main()
