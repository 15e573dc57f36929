"""For tests of the report: a page taken apart, a result that is read, copied or altered."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any


class Page(HTMLParser):
    """A page's elements, its text, and the rows of its tables."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self.source = path.read_text()
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def row(self, start: str) -> list[str]:
        """The cells of the row that is called so, or else of the first that starts so."""
        rows = [[" ".join(cell.split()) for cell in row] for row in self.rows if row]
        return next(row for row in sorted(rows, key=lambda row: row[0] != start) if row[0].startswith(start))

    def count(self, tag: str, **attributes: str) -> int:
        return sum(name == tag and attributes.items() <= found.items() for name, found in self.elements)


def write(tool: ModuleType, *args: str) -> Page:
    out = Path("page.html")
    tool.main([*args, "--out", str(out)])
    return Page(out)


def record(folder: Path) -> dict[str, Any]:
    return json.loads(next(folder.glob("results/*/results.json")).read_text())


def copy(world: Path, tmp_path: Path, name: str = "trained") -> Path:
    return Path(shutil.copytree(world / name, tmp_path / name))


def alter(folder: Path, **data: Any) -> None:
    """Change facts of the data in a result."""
    file = next(folder.rglob("results.json"))
    content = json.loads(file.read_text())
    content["data"] |= data
    file.write_text(json.dumps(content))
