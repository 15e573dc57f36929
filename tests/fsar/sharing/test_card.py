"""Names on a model card are shown, whatever Markdown and HTML would make of them."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from fsar.sharing.card import as_code, as_text, longer_than_any
from fsar.terminal.shown import shown

NAMES = (
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "[click](https://example.org)",
    "![](https://example.org/x.png)",
    "a | b",
    "**bold** _and_ `code`",
    "# heading\n\n# another",
    "back\\slash",
    "R&D &amp; co",
    "$x^2$ ~~gone~~",
    "</details>",
)


class Shown(HTMLParser):
    """The text and the elements of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.text, self.tags = "", [""]

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_as_it_is(name: str) -> None:
    markdown = pytest.importorskip("markdown", reason="Markdown comes with the documentation's tools")
    page = Shown()
    page.feed(markdown.markdown(f"before {as_text(name)} after", extensions=["tables"]))
    seen = re.sub(r"\\([|~$])", r"\1", page.text)  # GitHub's signs, which this library knows not
    assert seen == f"before {' '.join(name.split())} after"
    assert page.tags == ["", "p"]


@pytest.mark.parametrize("name", ["\x1b[31mred", "\x9b2J", "\u202egpj", "caf\udce9"])
def test_what_a_terminal_obeys_is_written_out(name: str) -> None:
    assert as_text(name).isprintable()
    assert as_code(name) == f"`{shown(name)}`"


def test_a_bar_in_a_table_stays_in_its_cell() -> None:
    assert as_text("a | b") == r"a \| b"
    assert as_code("a | b") == r"`a \| b`"
    assert as_text("few_shot") == "few_shot"


@pytest.mark.parametrize("name", ["plain", "with `ticks`", "``", "a\nb"])
def test_code_ends_where_it_should(name: str) -> None:
    found = re.fullmatch(r"(`+)( ?)(.*?)\2\1", as_code(name))
    assert found is not None
    assert found[3] == " ".join(name.split())
    assert found[1] not in re.findall("`+", name)


def test_a_fence_is_longer_than_what_it_holds() -> None:
    assert longer_than_any("name: x", 3) == "```"
    assert longer_than_any("name: ```` x `````", 3) == "``````"
