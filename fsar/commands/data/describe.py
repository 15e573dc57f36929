"""Texts about classes of your own: a prompt to hand to any language model, and a check of its answer.

    fsar describe --prompt --root my_clips > prompt.txt    # classes are the folders in my_clips
    fsar describe --prompt --classes "pour water" "drink"
    fsar describe --check texts.yaml --root my_clips

Nothing is sent anywhere. The answer goes into a YAML file, which `texts.descriptions` of a method takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import open_clip

from episodes.words import pluralise
from fsar.terminal.failure import Options, one_message
from fsar.text.bank import TextBank

LONGEST = 40
"""Tokens of a text, begin and end included: well inside what every text tower reads."""
DESCRIPTIONS, STEPS = (2, 3), (3, 5)

PROMPT = """For every class of human action below, write what a camera would see. Answer with YAML and nothing else:
one entry a class, its name exactly as it stands here, with two lists in it:

  description: {0} to {1} sentences, each of the whole action as it looks, without the name of the class
  step: {2} to {3} short phrases, what happens first, next and last, in this order

Plain English, at most 25 words a text. Say what is seen (hands, objects, which way things move), not what it is for.
Classes that differ in direction or order (left and right, opening and closing) must differ in every text.

Example:

pour water:
  description: [a liquid runs from a bottle into a glass, a tilted vessel gives off a stream]
  step: [a bottle is lifted, it tilts over a glass, liquid runs out, the bottle is put down]

Classes:
"""


def check_texts(path: Path, classes: Sequence[str]) -> list[str]:
    """What is wrong with a file of descriptions, a line each; nothing when it is as it should be.

    Args:
        path: of YAML or JSON.
        classes: that it must speak of; those that it holds when there are none.

    Raises:
        FileNotFoundError, ValueError: for a file that cannot be read as descriptions.
    """
    bank = TextBank(descriptions=str(path))
    counted = open_clip.get_tokenizer("ViT-B-16")
    wrong, seen = [], dict[tuple[str, ...], str]()
    for name in classes or bank.given:
        said = bank.said_of(name)
        if not said:
            wrong.append(f"{name}: nothing is said about it.")
            continue
        for kind, (least, most) in (("description", DESCRIPTIONS), ("step", STEPS)):
            texts = tuple(each.text for each in said if each.kind == kind)
            if not least <= len(texts) <= most:
                wrong.append(f"{name}: {len(texts)} of kind {kind}, expected {least} to {most}.")
            if texts and (other := seen.setdefault((kind, *texts), name)) != name:
                wrong.append(f"{name}: its {kind}s are those of {other}; no text tower can tell them apart.")
        wrong += [
            f"{name}: {each.text[:50]!r}... has {count} tokens, more than {LONGEST}."
            for each in said
            if (count := len(counted.encode(each.text)) + 2) > LONGEST
        ]
    return wrong


@one_message(program="fsar describe")
def main(args: list[str]) -> None:
    """Print the prompt, or what is wrong with an answer."""
    parser = Options(__doc__, prog="fsar describe")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--prompt", action="store_true", help="print what to ask a language model")
    what.add_argument("--check", type=Path, metavar="FILE", help="look at the answer")
    parser.add_argument("--classes", nargs="+", default=[], help="their names")
    parser.add_argument("--root", type=Path, help="a folder with one folder a class")
    own = parser.parse_args(args)
    if own.root is not None and not own.root.is_dir():
        raise FileNotFoundError(f"--root {own.root}: expected a folder with one folder a class, found none.")
    folders = [] if own.root is None else sorted(p.name for p in own.root.iterdir() if p.is_dir() and p.name[0] != ".")
    classes = [*own.classes, *folders]
    if own.prompt:
        if not classes:
            parser.error("say which classes: --classes NAME ..., or --root FOLDER.")
        print(PROMPT.format(*DESCRIPTIONS, *STEPS) + "\n".join(f"- {name}" for name in classes))
        return
    wrong = check_texts(own.check, classes)
    if wrong:
        raise ValueError(f"{own.check}: {pluralise(len(wrong), 'mistake')}.\n  " + "\n  ".join(wrong))
    bank = TextBank(descriptions=str(own.check))
    print(
        f"{own.check}: {pluralise(len(classes or bank.given), 'class')} well described; texts_sha256 "
        f"{bank.sha256[:12]}."
    )
