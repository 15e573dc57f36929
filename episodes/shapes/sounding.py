"""Shapes-sound: every look is two classes that sound different, so that sight alone is at chance between the two.

A look is a thing in a place as in Shapes-appearance, a voice is a tone and what it does in time. Voices of validation
and test occur in no training class. Three clips of ten have no track.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from episodes.shapes import appearance
from episodes.shapes.drawing import Dice

RATE = 16000
SILENT = 0.3
"""Share of the clips without a track."""
DEEDS = ("steady", "rising", "falling", "beeping", "warbling", "hissing")


class Voice(NamedTuple):
    """What a class sounds like: a pitch in Hz, and what it does."""

    pitch: float
    deed: str

    def __str__(self) -> str:
        return f"{self.deed} at {self.pitch:.0f} hertz"


PITCHES = {"train": (220.0, 520.0, 1250.0, 3000.0), "val": (340.0, 1900.0), "test": (340.0, 820.0, 1900.0)}
LOOKS = {"train": 12, "val": 4, "test": 6}


def _pair(split: str, look: int) -> tuple[Voice, Voice]:
    """The voices of a look's two classes; they differ in pitch and deed."""
    pitches, count = PITCHES[split], len(DEEDS)
    first, second = look % count, (look + 1 + look // count) % count
    return (
        Voice(pitches[look % len(pitches)], DEEDS[first]),
        Voice(pitches[(look + 1) % len(pitches)], DEEDS[second]),
    )


def _classes(split: str) -> tuple[tuple[str, str, Voice], ...]:
    looks = appearance.CLASSES[split][:: 2 if split != "val" else 1][: LOOKS[split]]
    return tuple((f"{look}, {voice}", look, voice) for i, look in enumerate(looks) for voice in _pair(split, i))


CLASSES: dict[str, tuple[str, ...]] = {split: tuple(name for name, _, _ in _classes(split)) for split in LOOKS}
_MADE_OF = {name: (look, voice) for split in LOOKS for name, look, voice in _classes(split)}


def render(class_name: str, *key: object) -> NDArray[np.uint8]:
    """One clip ``(t h w c)``, drawn as that of its look."""
    return appearance.render(_MADE_OF[class_name][0], *key)


def sound(class_name: str, seconds: float, *key: object) -> NDArray[np.float32] | None:
    """``(16000 · seconds)`` samples of the clip with that key, or None where it has no track."""
    voice, dice = _MADE_OF[class_name][1], Dice("sound", *key)
    if dice.uniform() < SILENT:
        return None
    t = np.arange(round(RATE * seconds)) / RATE
    pitch = voice.pitch * 2 ** dice.uniform(-1 / 12, 1 / 12)  # a semitone up or down
    speed, phase = dice.uniform(2.5, 4.5), dice.uniform()
    bend = {
        "rising": 2 ** ((t / seconds - 0.5) * 1.2),
        "falling": 2 ** ((0.5 - t / seconds) * 1.2),
        "warbling": 2 ** (0.25 * np.sin(2 * np.pi * (2 * speed * t + phase))),
    }.get(voice.deed, np.ones_like(t))
    wave = np.sin(2 * np.pi * (np.cumsum(pitch * bend) / RATE + phase))
    if voice.deed == "hissing":
        wave *= 2 * dice.array(len(t)) - 1
    if voice.deed == "beeping":
        wave *= (speed * t + phase) % 1 < 0.5
    noise = 2 * dice.array(len(t)) - 1
    return (dice.uniform(0.15, 0.5) * wave + dice.uniform(0.005, 0.03) * noise).astype(np.float32)
