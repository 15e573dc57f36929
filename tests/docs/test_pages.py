"""The pages hang together: links, the README's tree, and a site that needs no network."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOADED = re.compile(r"<(?:script|link|img|iframe|source)[^>]+(?:src|href)=\"?(?:https?:)?//[^>]+")
FETCHED = re.compile(r"(?:@import|url\()[ \"']*(?:https?:)?//")


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_to_files_of_the_project_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / name).read_text()):
        assert (ROOT / target).exists(), f"{name} links to {target}, which is not there"


def test_files_that_contributing_names_are_there() -> None:
    named = set(
        re.findall(r"`((?:fsar|episodes|tests|tools|docs|configs)/[\w/.]+)`", (ROOT / "CONTRIBUTING.md").read_text())
    )
    assert named
    assert not [path for path in sorted(named) if not (ROOT / path).exists()]


def test_the_tree_in_the_readme_is_true() -> None:
    tree = (ROOT / "README.md").read_text().split("## Where things are")[1].split("```")[1]
    top = folder = last = ROOT
    for line in tree.splitlines()[1:]:
        names, _, about = line.strip().partition("  ")
        if not line.startswith(" "):
            top, names = ROOT / names, "."
        folder = last if line.startswith("    ") else top  # a room's own rooms stand below it
        last = last if line.startswith("    ") else folder / names.split(", ")[0]
        for name in [*names.split(", "), *re.findall(r"\w+\.(?:py|yaml|yml|sh)\b", about)]:
            there = (folder / name).exists() or (ROOT / name).exists()
            assert there, f"the README's tree names {name} in {folder.name}, which is not there"


def test_files_and_configurations_in_the_table_of_methods_exist() -> None:
    table = (ROOT / "README.md").read_text().split("[start:methods]")[1].split("[end:methods]")[0]
    for row in table.splitlines()[3:-1]:
        _, name, *_, file, configurations, _, _, _ = row.split("|")
        places = [ROOT / "fsar" / "methods" / path for path in re.findall(r"`(.+?)`", file)]
        places += [ROOT / "configs" / "method" / path for path in re.findall(r"`(.+?)`", configurations)]
        assert len(places) >= 2, f"{name.strip()}: no file or no configuration"
        assert all(place.exists() for place in places), f"{name.strip()}: {places}"


def test_the_site_builds_without_a_warning_and_needs_no_network(tmp_path: Path) -> None:
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed: pip install -e '.[docs]'")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # a notice of the theme's makers
    done = subprocess.run(build, cwd=ROOT, env=quiet, capture_output=True, text=True)
    said = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("INFO ")]
    assert not said, "\n".join(said)
    assert done.returncode == 0
    assert (tmp_path / "api" / "alignment.html").is_file()
    for pattern, files in ((LOADED, tmp_path.rglob("*.html")), (FETCHED, tmp_path.rglob("*.css"))):
        for file in files:
            found = pattern.search(file.read_text())
            assert not found, f"{file.relative_to(tmp_path)} loads {found and found[0]}"
