"""All that writes a whole file goes through one function."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
WRITERS = {
    "write_text",
    "write_bytes",
    "savefig",
    "save_file",
    "torch.save",
    "np.save",
    "np.savez",
    "np.savez_compressed",
}
HANDED = {"part", "text", "file", "opened", "out"}
"""Names of what :func:`episodes.files.write_atomically` hands out, of a file that was opened on it, and of bytes in
memory; PyAV is given such a name as a text."""
ELSEWHERE = {
    "fsar/commands/share/publish.py": "packs in a temporary folder, and puts it in its place when all is there",
    "fsar/encoders/long_text.py": "a temporary folder, for open_clip to read from",
    "fsar/encoders/weights/architecture.py": "a temporary folder, for open_clip to read from",
    "fsar/commands/data/check_videos.py": "a report that grows row by row, and is kept after Ctrl-C",
}


def writes(file: Path) -> list[str]:
    """Calls in a file that write to a place that is not handed out."""
    found = []
    for call in (node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("write_text", "write_bytes"):
            place = ast.unparse(call.func.value)
        elif name in WRITERS or name.endswith(".savefig"):
            place = ast.unparse(call.args[-1] if name == "torch.save" else call.args["save_file" in name])
        elif (
            name.endswith(".open")
            and name != "av.open"
            and any(ast.unparse(x) in ("'w'", "'wb'", "'x'") for x in call.args)
        ):
            place = name.removesuffix(".open")
        else:
            continue
        if not {place, place.split(".")[0]} & HANDED:
            found.append(f"line {call.lineno}: {ast.unparse(call)[:80]}")
    return found


def test_whole_files_are_written_in_one_way() -> None:
    for package in ("fsar", "episodes"):
        for file in (ROOT / package).rglob("*.py"):
            name = file.relative_to(ROOT).as_posix()
            found = writes(file)
            assert name in ELSEWHERE or not found, f"{name} writes without write_atomically: {found}"
