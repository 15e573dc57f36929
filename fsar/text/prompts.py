"""Published sentence templates, spelled as in the originals, and what becomes of a class name before it enters one.

CLIP's sets for Kinetics-700 and UCF101 (Radford et al. 2021, https://arxiv.org/abs/2103.00020, the prompt file of
https://github.com/openai/CLIP) say "a example of": kept so. ActionCLIP's sixteen are of Wang et al. 2021,
https://arxiv.org/abs/2109.08472, section 3.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from typing import Literal

TemplateSet = Literal["photo", "names", "kinetics", "ucf101", "imagenet", "action_clip"]
Brackets = Literal["raw", "stripped"]

_NOUNS = ("photo", "video", "example", "demonstration")
_DOING = ("", "using ", "doing ", "during ", "performing ", "practicing ")

TEMPLATES: dict[TemplateSet, tuple[str, ...]] = {
    "photo": ("a photo of {}",),  # CLIP-FSAR: no final period
    "names": ("{}",),  # for names that are phrases already, as in Something-Something V2
    "kinetics": tuple(
        f"a {noun} of {form}." for noun, form in product(_NOUNS, ("{}", *(f"a person {doing}{{}}" for doing in _DOING)))
    ),
    "ucf101": tuple(
        f"a {noun} of {who} person {doing}{{}}." for doing, who, noun in product(_DOING, ("a", "the"), _NOUNS)
    ),
    "imagenet": (  # the seven that a greedy search kept of eighty
        "itap of a {}.",
        "a bad photo of the {}.",
        "a origami {}.",
        "a photo of the large {}.",
        "a {} in a video game.",
        "art of the {}.",
        "a photo of the small {}.",
    ),
    "action_clip": (
        "a photo of action {}",
        "a picture of action {}",
        "Human action of {}",
        "{}, an action",
        "{} this is an action",
        "{}, a video of action",
        "Playing action of {}",
        "{}",
        "Playing a kind of action, {}",
        "Doing a kind of action, {}",
        "Look, the human is {}",
        "Can you recognize the action of {}?",
        "Video classification of {}",
        "A video of {}",
        "The man is {}",
        "The woman is {}",
    ),
}


def clean_name(name: str, brackets: Brackets = "raw", placeholders: Mapping[str, str] | None = None) -> str:
    """A class name as a sentence can hold it: underscores become spaces, ``[something]`` what the options say.

    Args:
        name: such as "Pushing [something] from left to right" or "brush_hair".
        brackets: "raw" leaves the brackets in, "stripped" takes them off and keeps what is between them.
        placeholders: ``{what stands in the brackets: text to say instead}``, before ``brackets`` is looked at.

    >>> clean_name("Pushing [something] off [something]", "stripped")
    'Pushing something off something'
    >>> clean_name("brush_hair"), clean_name("Lifting [part]", placeholders={"part": "one end"})
    ('brush hair', 'Lifting one end')
    """

    def replace(match: re.Match[str]) -> str:
        inner = match[1]
        if placeholders is not None and inner in placeholders:
            return placeholders[inner]
        return match[0] if brackets == "raw" else inner

    return re.sub(r"\[([^\[\]]*)\]", replace, name.replace("_", " "))
