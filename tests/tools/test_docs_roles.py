"""Formulas of the pages are drawn, or refused; a page never shows a command of LaTeX as it is written."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

pytest.importorskip("latex2mathml", reason="pip install -e '.[docs]'")
pytest.importorskip("griffe", reason="pip install -e '.[docs]'")

TOOL = runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "pages" / "docs_roles.py"))
draw_formulas = TOOL["draw_formulas"]


def test_formulas_stand_one_below_the_other() -> None:
    drawn = draw_formulas("a = \\sum_i b_i \\\\\nc = \\frac{1}{2}\n")
    assert drawn.count('<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">') == 2
    assert "<mfrac>" in drawn
    assert re.search(r"<mi>s</mi>\s*<mspace[^>]*/>\s*<mi>cos</mi>", draw_formulas(r"s \cos(v) = -\log p"))


def test_a_number_of_a_table_keeps_its_interval() -> None:
    assert TOOL["on_page_markdown"]("a ± b\n| x | 1 ± 2 |\n") == "a ± b\n| x | 1\u00a0±\u00a02 |\n"


def test_a_command_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^\\arg: expected LaTeX"):
        draw_formulas(r"\arg\min_P P")
