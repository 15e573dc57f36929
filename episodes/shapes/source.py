"""The embedded benchmark: renders Shapes to real .mp4 files when they are missing, and lists them."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from episodes.files import is_part, write_atomically
from episodes.shapes import appearance, crowd, figures, motion, sounding
from episodes.splits import Benchmark, Split

WORLD = 1  # goes up whenever the same key draws other pixels
FPS = 12
# Every frame is coded on its own with one quantiser, so that a reversed clip decodes to the reversed frames exactly:
# coding leaves no trace of the direction of time.
_CODEC = {"qp": "20", "g": "1", "preset": "veryfast", "threads": "1", "aq-mode": "0"}
WORLDS: dict[str, ModuleType] = {
    "motion": motion,
    "appearance": appearance,
    "sound": sounding,
    "crowd": crowd,
    "figures": figures,
}


def write_video(
    path: Path, frames: NDArray[np.uint8], fps: int = FPS, sound: NDArray[np.float32] | None = None
) -> None:
    """Writes ``(t h w c)`` as H.264, and samples of one channel as AAC, to ``path``, which appears only when it is
    complete."""
    with write_atomically(path) as part, av.open(str(part), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=fps, options=_CODEC)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        heard = None if sound is None else container.add_stream("aac", rate=sounding.RATE, layout="mono")
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
        if heard is not None and sound is not None:
            samples = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[None]), format="fltp", layout="mono")
            samples.sample_rate, samples.pts = sounding.RATE, 0  # from which the encoder counts its own delay
            samples.time_base = Fraction(1, sounding.RATE)
            container.mux(heard.encode(samples))
            container.mux(heard.encode())


class Shapes:
    """Moving shapes as a few-shot benchmark of 24 / 8 / 12 classes: a source for :class:`EpisodicDataModule`.

    Files lie at ``root/<flavour>/<split>/<class>/<number>.mp4``: 64 x 64 pixels, 16 to 24 frames at 12 per second.
    What is missing is rendered by :meth:`load`; an interrupted rendering goes on where it stopped.

    Args:
        flavour: "motion" (what happens is the class, half of the classes are the others played backwards, as in
            Something-Something V2), "appearance" (thing and place are the class, as in Kinetics), "sound" (two classes
            of every look sound different; three clips of ten have no track), "crowd" (a small thing of four is the
            class; its boxes lie in ``root/crowd/boxes``) or "figures" (what a figure in space does; its joints lie in
            ``root/figures/joints``).
        root: folder for the rendered files.
        clips_per_class: clips of every training, validation and test class.
        seed: of everything drawn.
        workers: threads that render; None takes one per processor.

    Raises:
        ValueError: for an unknown flavour or a count below 1.
    """

    def __init__(
        self,
        flavour: Literal["motion", "appearance", "sound", "crowd", "figures"] = "motion",
        root: str = "data/shapes",
        clips_per_class: tuple[int, int, int] = (30, 20, 25),
        seed: int = 0,
        workers: int | None = None,
    ) -> None:
        if flavour not in WORLDS:
            raise ValueError(f"Shapes.flavour must be {' or '.join(map(repr, WORLDS))}, found {flavour!r}.")
        if len(clips_per_class) != 3 or min(clips_per_class) < 1:
            raise ValueError(
                f"Shapes.clips_per_class must be three counts >= 1 (train, val, test), found {clips_per_class}."
            )
        self.flavour = flavour
        self.folder = Path(root) / flavour
        self.counts = dict(zip(("train", "val", "test"), clips_per_class, strict=True))
        self.seed = seed
        self.workers = workers or os.cpu_count() or 1

    def load(self) -> Benchmark:
        """Renders what is missing and lists all of it.

        Raises:
            ValueError: when the folder holds a rendering made with other parameters.
        """
        self._claim_folder()
        splits = {name: self._split(name) for name in self.counts}
        missing = [
            (name, split.class_names[label], path)
            for name, split in splits.items()
            for path, label in zip(split.paths, split.labels, strict=True)
            if not (split.root / path).is_file()
        ]
        if missing:
            self._render(missing)
        return Benchmark(f"shapes-{self.flavour}", splits["train"], splits["val"], splits["test"])

    def _split(self, name: str) -> Split:
        class_names = self._classes()[name]
        numbers = range(self.counts[name])
        return Split(
            name=name,
            class_names=class_names,
            paths=tuple(f"{c.replace(' ', '_')}/{i:03d}.mp4" for c in class_names for i in numbers),
            labels=tuple(label for label in range(len(class_names)) for _ in numbers),
            root=self.folder / name,
            opposites=getattr(WORLDS[self.flavour], "OPPOSITES", {}).get(name, ()),
        )

    def _classes(self) -> dict[str, tuple[str, ...]]:
        return WORLDS[self.flavour].CLASSES

    def _render(self, missing: list[tuple[str, str, str]]) -> None:
        def one(split: str, class_name: str, path: str) -> None:
            target = self.folder / split / path
            key = (class_name, self.seed, split, class_name, target.stem)
            frames = WORLDS[self.flavour].render(*key)
            sound = sounding.sound(class_name, len(frames) / FPS, *key[1:]) if self.flavour == "sound" else None
            target.parent.mkdir(parents=True, exist_ok=True)
            self._write_beside(Path(path), key)
            write_video(target, frames, sound=sound)

        with ThreadPoolExecutor(self.workers) as pool:
            try:
                jobs = [pool.submit(one, *clip) for clip in missing]
                for job in track(as_completed(jobs), f"Rendering shapes-{self.flavour}", total=len(jobs)):
                    job.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _write_beside(self, path: Path, key: tuple[object, ...]) -> None:
        """What is known of a clip beside its pixels, where the flavour has it."""
        made = {"crowd": ("boxes", ".json"), "figures": ("joints", ".npz")}.get(self.flavour)
        if made is None:
            return
        target = (self.folder / made[0] / path).with_suffix(made[1])
        target.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(target) as part:
            if self.flavour == "crowd":
                part.write_text(json.dumps(crowd.boxes(str(key[0]), *key[1:])))
                return
            with part.open("wb") as file:
                np.savez(file, joints=figures.joints(str(key[0]), *key[1:]), order="coco")

    def _claim_folder(self) -> None:
        """Writes down what the folder is made from, or checks that it is the same."""
        made_from = {"world": WORLD, "flavour": self.flavour, "seed": self.seed, "clips_per_class": self.counts}
        text = json.dumps(made_from, sort_keys=True)
        manifest = self.folder / "manifest.json"
        if manifest.is_file():
            found = json.loads(manifest.read_text())
            if found.get("sha256") != hashlib.sha256(text.encode()).hexdigest():
                raise ValueError(
                    f"{manifest} says that its clips were rendered from {found.get('made_from')}, but {made_from} is "
                    f"asked for. Delete {self.folder} to render anew, or give Shapes another root."
                )
        elif self.folder.is_dir() and not all(is_part(file) for file in self.folder.iterdir()):
            raise ValueError(
                f"{self.folder} is not empty and has no manifest.json, so its files are not from Shapes. "
                f"Give Shapes another root."
            )
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256(text.encode()).hexdigest()
            with write_atomically(manifest) as part:
                part.write_text(json.dumps({"made_from": made_from, "sha256": digest}, indent=1))
