"""Bring features that were computed elsewhere, by any model, into a store that methods run on.

    fsar import-features llava.npz --names videos.csv --made-by "Video-LLaVA 7B, layer 31, 8 frames" -o stores/llava
    fsar test -c stores/llava/data.yaml -c method/prototype --model.encoder stores/llava/encoder.yaml
    fsar predict -c stores/llava/data.yaml -c method/prototype --model.encoder stores/llava/encoder.yaml \\
        --support support.csv --query queries.csv

FILE is an .npz or .safetensors with one array for each kind of features, (clips, steps, channels), or (clips, channels)
for one vector a clip; names such as `visual`, `text`. Row i of every array is row i of --names: a table with columns
file and label, and where there are split, group and description (as of episodes.splits.Table; its files need not be
here). --frames says which kind methods read that read one (the first). Counts, names, types and finiteness are checked;
rows that are equal are told.
"""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors import SafetensorError
from safetensors.numpy import load_file

from episodes.features.imported import Floats, write_import
from episodes.files import write_atomically
from episodes.imported import VIDEOS, Import, is_imported
from episodes.splits.rows import COLUMNS, Row, read_rows
from episodes.splits.table import read_clips
from episodes.words import pluralise
from fsar.terminal.failure import Options, one_message
from fsar.terminal.outputs import output_folder
from fsar.terminal.shown import shown

SUFFIXES = (".npz", ".safetensors")


@one_message(program="fsar import-features")
def main(args: list[str]) -> None:
    """Read, check, write, and say what there is and what may be run on it."""
    parser = Options(__doc__, prog="fsar import-features")
    parser.add_argument("file", type=Path, help=" or ".join(SUFFIXES))
    parser.add_argument(
        "--names", type=Path, required=True, help="table of the clips, a row for each row of the arrays"
    )
    parser.add_argument("--made-by", required=True, help="what made them: model, weights, layer, frames")
    parser.add_argument("--frames", help="the kind that is read as frames (the first)")
    parser.add_argument("-o", "--out", type=output_folder, required=True, help="the store's folder")
    own = parser.parse_args(args)
    if not own.made_by.strip():
        parser.error("--made-by is empty: say which model made the features, for results are compared by it.")
    if is_imported(own.out):
        raise FileExistsError(f"{own.out} holds imported features already: name another folder, or remove this one.")
    rows = read_rows(own.names, {})
    paths = [clip.path for clip in read_clips(rows, Path(), look=False)]
    arrays = check_arrays(own.file, read_arrays(own.file), paths)
    frames = own.frames or next(iter(arrays))
    if frames not in arrays:
        raise ValueError(f"--frames {frames}: {own.file} holds {', '.join(arrays)}.")
    notes = tell_equal(arrays, paths, [row.values["label"] for row in rows])
    own.out.mkdir(parents=True, exist_ok=True)
    write_names(own.out / VIDEOS, rows)
    about = write_import(own.out, " ".join(own.made_by.split()), frames, paths, arrays)
    write_parts(own.out, "split" in rows[0].values)
    tell(own.out, about, len(paths), notes)


def read_arrays(file: Path) -> dict[str, Any]:
    """The arrays of a file, by name.

    Raises:
        FileNotFoundError: when it is not there.
        ValueError: when it is of another kind, damaged, empty or holds pickled objects.
    """
    if file.suffix not in SUFFIXES:
        raise ValueError(f"{file}: expected a file that ends in {' or '.join(SUFFIXES)}.")
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}.")
    if file.suffix == ".npz" and not zipfile.is_zipfile(file):  # numpy would take it for pickled objects
        raise ValueError(f"{file} is no .npz archive, or was cut short: write it with numpy.savez.")
    try:
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as found:
                arrays: dict[str, Any] = {name: found[name] for name in found.files}
        else:
            arrays = load_file(file)
    except (ValueError, OSError, EOFError, KeyError, TypeError, zipfile.BadZipFile, SafetensorError) as error:
        raise ValueError(
            f"{file} cannot be read ({error}): expected plain arrays of numbers, all clips with as many steps."
        ) from error
    if not arrays:
        raise ValueError(f"{file} holds no array; expected one for each kind of features.")
    return arrays


def check_arrays(file: Path, arrays: dict[str, Any], paths: list[str]) -> dict[str, Floats]:
    """The arrays as float32 ``(v t d)``.

    Raises:
        ValueError: for another shape, type or count, a name that means something else, NaN or infinity.
    """
    found: dict[str, Floats] = {}
    for name, x in arrays.items():
        if not name.isidentifier() or name in ("patches", "layers", "tower"):
            raise ValueError(f"{file}: the array {name!r} needs another name: letters and digits, such as visual.")
        if x.dtype.kind not in "fiu" or x.ndim not in (2, 3) or 0 in x.shape:
            raise ValueError(
                f"{file}: {name} is {x.dtype} {x.shape}; expected numbers of shape (clips, steps, channels), or "
                "(clips, channels) for one vector a clip."
            )
        if len(x) != len(paths):
            raise ValueError(
                f"{file}: {name} has {pluralise(len(x), 'row')}, but the table names "
                f"{pluralise(len(paths), 'clip')}: one row each."
            )
        with np.errstate(over="ignore"):  # what float32 does not hold is infinite, and told below
            rows = x.reshape(len(x), -1, x.shape[-1]).astype(np.float32)
        bad = np.flatnonzero(~np.isfinite(rows).all((1, 2)))
        if len(bad):
            more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
            raise ValueError(f"{file}: {name} of {paths[bad[0]]} (row {bad[0]}){more} is not finite in float32.")
        if len(zero := np.flatnonzero(~rows.any((1, 2)))):
            raise ValueError(f"{file}: {name} of {paths[zero[0]]} (row {zero[0]}) is all zeros: was it ever filled?")
        found[name] = rows
    return found


def tell_equal(arrays: dict[str, Floats], paths: list[str], labels: list[str]) -> list[str]:
    """A line on clips whose features are all equal, and whether classes share some."""
    first: dict[bytes, int] = {}
    pairs = []
    for row in range(len(paths)):
        key = b"".join(x[row].tobytes() for x in arrays.values())
        if (before := first.setdefault(key, row)) != row:
            pairs.append((before, row))
    if not pairs:
        return []
    across = sum(labels[a] != labels[b] for a, b in pairs)
    one, two = pairs[0]
    return [
        f"{pluralise(len(pairs), 'clip')} with the very features of another, such as {paths[two]} with those of "
        f"{paths[one]}; {across} of another class: support and query may be one clip"
    ]


def write_names(file: Path, rows: list[Row]) -> None:
    """The table by our names of columns."""
    columns = [name for name in COLUMNS if name in rows[0].values]
    with write_atomically(file) as part, part.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([row.values[name] for name in columns] for row in rows)


def write_parts(out: Path, divided: bool) -> None:
    """Configurations of the data and of the encoder that stands in."""
    options = {"store": str(out), **({} if divided else {"seed": 0})}
    benchmark = {"class_path": "episodes.splits.Imported", "init_args": options}
    parts = {
        "data": {"data": {"features": str(out), "benchmark": benchmark}},
        "encoder": {"class_path": "fsar.encoders.Imported", "init_args": {"store": str(out)}},
    }
    for name, content in parts.items():
        with write_atomically(out / f"{name}.yaml") as part:
            part.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def tell(out: Path, about: Import, clips: int, notes: list[str]) -> None:
    """What there is."""
    for name, (t, d) in about.shapes.items():
        read = ", read as frames" if name == about.frames else ""
        print(shown(f"{name}: {pluralise(clips, 'clip')}, {pluralise(t, 'step')}, {d} channels{read}"))
    for note in notes:
        print(shown(f"* {note}"))
    lines = f"-c {out}/data.yaml -c method/prototype --model.encoder {out}/encoder.yaml"
    print(shown(f"made by {about.made_by}; sha256 {about.sha256[:12]}\ntest it: fsar test {lines}"))
