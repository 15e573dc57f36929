"""What is said of the project in more than one place is the same everywhere."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import yaml

import fsar
import fsar.methods

ROOT = Path(__file__).resolve().parents[1]


def test_one_version() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == fsar.__version__
    newest, *older = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest in {f"Unreleased (becomes {fsar.__version__})"} or newest.startswith(f"{fsar.__version__} (")
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\)", version) for version in older)


def test_every_dependency_says_why_its_bound_is_where_it_is() -> None:
    lines = (ROOT / "setup.cfg").read_text().split("install_requires =\n")[1].split("\n\n")[0].splitlines()
    needs = [i for i, line in enumerate(lines) if re.match(r"    [a-z]", line)]
    assert needs
    for i in needs:
        assert ">=" in lines[i], f"{lines[i].strip()}: no lower bound"
        above = lines[i - 1].strip().startswith("#") or lines[i].strip().startswith("torchvision")  # torch's comment
        assert above, f"{lines[i].strip()}: no comment above it says why its bound is where it is"


def test_the_page_of_a_package_index_needs_nothing_beside_it() -> None:
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg")
    page = (ROOT / config["metadata"]["long_description"].removeprefix("file:").strip()).read_text()
    assert not re.findall(r"\]\((?!https?:)[^)]*\)", page), "links and pictures by a relative path are broken there"
    readme = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```.*?```", page, re.DOTALL)
    assert blocks
    assert all(block in readme for block in blocks), "its code is run where README.md has it"


def test_typed_packages() -> None:
    for package in ("fsar", "episodes"):
        assert (ROOT / package / "py.typed").is_file()
        assert "py.typed" in (ROOT / "setup.cfg").read_text().split(f"\n{package} =\n")[1].split("\n")[0]


def test_every_paper_is_kept_apart_from_the_others() -> None:
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg")
    apart = config["importlinter:contract:papers"]["modules"].split()
    assert {getattr(fsar.methods, name).__module__ for name in fsar.methods.__all__} == set(apart)
