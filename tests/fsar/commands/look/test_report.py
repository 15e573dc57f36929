"""The report: true to the results, whole in itself, and of some use when half of a run is missing."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from fsar.commands.train.fit import main
from tests.fsar.commands.look.report_page import alter, copy, record, write

AWKWARD = 'put <b> & "c"'  # a class name that HTML would take for something else


@pytest.fixture
def tool() -> ModuleType:
    return importlib.import_module("fsar.commands.look.report")


@pytest.fixture(scope="module")
def world(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the runs ``trained``, ``mean`` (tested alone, without paths) and ``words`` (no alignment)."""
    folder = tmp_path_factory.mktemp("report")
    content = yaml.safe_load(config.read_text())
    content["data"] |= {"test_queries": 2, "test_episodes": 40}
    content["data"]["benchmark"]["init_args"]["class_names"] = {"class_6": AWKWARD}
    (folder / "run.yaml").write_text(yaml.safe_dump(content))
    encoder = content["model"]["method"]["init_args"]["encoder"]
    content["model"]["method"] = {"class_path": "fsar.methods.ZeroShot", "init_args": {"encoder": encoder}}
    (folder / "words.yaml").write_text(yaml.safe_dump(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("FSAR_RUN", raising=False)
        patch.setattr(sys, "argv", ["fsar"])
        main(["fit", "--debug", "--run", "trained", "-c", "run.yaml", "--trainer.log_every_n_steps", "1"])
        main(["test", "--debug", "--run", "trained"])
        main(["test", "--debug", "--run", "mean", "-c", "run.yaml", "--model.alignment", "FrameMean"])
        main(["test", "--debug", "--run", "words", "-c", "words.yaml"])
        yield folder
        patch.delenv("FSAR_RUN", raising=False)


def test_the_page_says_what_the_results_say(tool: ModuleType, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)
    page, found = write(tool, "trained"), record(world / "trained")
    accuracy = f"{100 * found['accuracy']:.2f} ± {100 * found['interval_95']:.2f}"
    floor = f"{100 * found['zero_shot_accuracy']:.2f} ± {100 * found['zero_shot_interval_95']:.2f}"
    line = page.row("3-way 1-shot, inference few-shot")
    assert line[1:] == [accuracy, "", floor, "33.33", "40"]
    assert f"{accuracy} % are named right from one labelled clip of each of 3 candidate classes." in page.text
    for name, value in found["per_class_accuracy"].items():
        c = found["class_names"].index(name)
        cells = page.row(name)
        assert cells[1].startswith(f"{100 * value:.1f} (")
        assert cells[3] == str(sum(found["confusion"][c]))
        shares = [round(100 * count / sum(found["confusion"][c])) for count in found["confusion"][c]]
        matrix = page.row(f"{c + 1}{name}")
        assert [int(cell or 0) for cell in matrix[1:]] == shares
    for key in ("weights_sha256", "config_sha256", "encoder_sha256"):
        assert found[key] in page.text
    assert found["data"]["episodes_sha256"] in page.text
    assert f"torch {found['versions']['torch']}" in page.text
    assert "seed_everything: 0" in page.text
    assert "fsar test --run trained" in page.text
    best = max(page_validation(world / "trained"))
    assert f"Best on validation classes: {100 * best:.2f} ±" in page.text
    assert AWKWARD in page.text
    assert "<b> &" not in page.source


def test_views_and_precision_of_a_test_are_named(
    tool: ModuleType, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = copy(world, tmp_path)
    assert "views, averaged" not in (plain := write(tool, str(folder)).text)
    assert "scored in bf16" not in plain
    alter(folder, views={"clips": 2, "crops": 3, "average": "scores"})
    file = next(folder.rglob("results.json"))
    scoring = {"precision": "bf16", "same_predictions": 0.998, "compared": 5000}
    file.write_text(json.dumps({**json.loads(file.read_text()), "scoring": scoring}))
    text = write(tool, str(folder)).text
    assert "2 x 3 views, averaged in scores" in text
    assert "scored in bf16; 99.80 % of 5,000 predictions that were compared are float32's" in text


def page_validation(folder: Path) -> list[float]:
    rows = (folder / "csv" / "version_0" / "metrics.csv").read_text().splitlines()
    column = rows[0].split(",").index("val_accuracy")
    return [float(row.split(",")[column]) for row in rows[1:] if row.split(",")[column]]


def test_the_page_needs_nothing_else(tool: ModuleType, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)
    page = write(tool, "trained", "words")
    links = [
        value for _, found in page.elements for key, value in found.items() if key in ("src", "href", "xlink:href")
    ]
    ids = [found["id"] for _, found in page.elements if "id" in found]
    assert links
    assert all(link and link.startswith(("data:", "#")) for link in links)
    assert {link[1:] for link in links if link and link[0] == "#"} <= set(ids)
    assert len(ids) == len(set(ids))
    assert not re.search(r"https?://|@import|url\((?!#)", page.source)
    assert not page.count("script")
    images = [found for tag, found in page.elements if tag == "img"]
    assert images
    assert all(found.get("alt") for found in images)
    assert all(found.get("aria-label") for tag, found in page.elements if tag == "svg")


def test_episodes_are_drawn_with_their_path(tool: ModuleType, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)
    page = write(tool, "trained", "--gallery", "3")
    assert page.count("article") == page.count("details", **{"class": "card"}) == 3
    assert page.count("image") == 3 * 2 * (4 + 4)  # two classes a query, four frames on either side
    assert page.count("rect", **{"class": "soft"}) == 6 * 16
    assert "differ from the recorded" not in page.text  # the method answers as it did in the test
    assert write(tool, "trained", "--gallery", "3").source == page.source
    assert not write(tool, "trained", "--gallery", "0").count("article")
    monkeypatch.setattr("fsar.alignment.maps.ordered", lambda *_: True)
    lines = re.findall('<polyline[^>]*points="([^"]*)"', write(tool, "trained", "--gallery", "3").source)
    walks = [[[float(x) for x in point.split(",")] for point in line.split()] for line in lines]
    assert len(walks) == 12
    assert [xs for walk in walks for xs in zip(*walk, strict=True) if list(xs) != sorted(xs)] == []


def test_a_method_without_paths_shows_its_frames(
    tool: ModuleType, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    for name in ("words", "mean"):
        page = write(tool, name, "--gallery", "2")
        assert "matches no single frames" in page.text
        assert not page.count("polyline")
        strips = 2 * (1 if name == "words" else 3) * 4  # the query, and two classes unless by name
        assert page.count("img") == strips + 2 * 3  # and three frames where it is folded
        assert "Nothing was trained here" in page.text


def test_several_runs_stand_side_by_side(tool: ModuleType, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)
    page = write(tool, "trained", "mean", "--gallery", "0")
    a, b = importlib.import_module("fsar.evaluation.comparing.comparison").find([Path("trained"), Path("mean")])
    mean, interval, _ = importlib.import_module("fsar.evaluation.comparing.comparison").paired_difference(a, b)
    expected = f"{100 * mean:+.2f} ± {100 * interval:.2f}".replace("-", "−")
    found = page.row("mean")
    assert found[1] == f"{100 * b.record['accuracy']:.2f} ± {100 * b.record['interval_95']:.2f}"
    assert found[3].startswith(expected)
    (said,) = importlib.import_module("fsar.evaluation.comparing.comparison").differences([a, b])
    assert said.rpartition(": ")[2].replace("-", "−") in page.text  # p-values, over classes too
    assert "alignment OTAM" in page.row("trained")[0]
    assert "alignment FrameMean" in found[0]


def test_several_runs_show_the_same_episodes(tool: ModuleType, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)
    page = write(tool, "trained", "mean", "--gallery", "2")
    assert page.count("article") == 2  # one for both
    assert page.text.count("They stand side by side with those of the other runs, above.") == 2
    tags = [found["class"] for tag, found in page.elements if tag == "span" and "tag " in (found.get("class") or "")]
    assert len(tags) == 2 * 2 * 2  # of every run, folded and unfolded
    assert page.count("image") == 2 * 2 * (4 + 4)  # the maps of the one that aligns
    alone = write(tool, "trained", "words", "--gallery", "1")
    assert alone.count("article") == 1


def test_figures_and_tables_go_into_a_paper(
    tool: ModuleType, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    tool.main(["trained", "mean", "--gallery", "1", "--out", "page.html", "--export", str(tmp_path)])
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")}
    figures = {"comparison_1", "trained/training_accuracy", "trained/training_loss", "mean/classes", "mean/confusion"}
    assert {f"{name}.{kind}" for name in figures for kind in ("pdf", "svg")} <= names
    assert any(name.startswith("trained/episode_1_") for name in names)
    assert {f"mean/{name}.{kind}" for name in ("accuracy", "classes", "confused") for kind in ("tex", "csv")} <= names
    found = record(world / "mean")
    tex = (tmp_path / "mean" / "accuracy.tex").read_text()
    assert rf"${100 * found['accuracy']:.2f} \pm {100 * found['interval_95']:.2f}$" in tex
    assert r'put \textless{}b\textgreater{} \& "c"' in (tmp_path / "mean" / "classes.tex").read_text()
    pdf = (tmp_path / "mean" / "classes.pdf").read_bytes()
    assert b"/Subtype /Type3" not in pdf
    assert b"/FontFile2" in pdf
    widths = re.search(rb"/MediaBox \[ 0 0 ([\d.]+)", pdf)
    assert widths is not None
    assert float(widths[1]) == pytest.approx(3.3 * 72)


def test_runs_on_other_episodes_are_not_compared(
    tool: ModuleType, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = copy(world, tmp_path)
    alter(other, seed=7, episodes_sha256="other")
    page = write(tool, str(world / "trained"), str(other), "--gallery", "0")
    assert "not on the same episodes: seed 0 and 7" in page.text


def test_a_sweep_becomes_curves(tool: ModuleType, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = copy(world, tmp_path)
    first = next((folder / "results").iterdir())
    for ways, shots in ((2, 1), (2, 4), (3, 4)):
        more = Path(shutil.copytree(first, folder / "results" / f"test_{ways}way_{shots}shot_few_shot"))
        alter(more, ways=ways, shots=shots, episodes_sha256=f"{ways} {shots}")
    before = write(tool, str(world / "trained"), "--gallery", "0")
    page = write(tool, str(folder), "--gallery", "0")
    accuracy = record(world / "trained")["accuracy"]
    assert "No sweep was run" in before.text
    assert "No sweep was run" not in page.text
    assert page.count("svg", **{"class": "plot"}) == before.count("svg", **{"class": "plot"}) + 2
    assert [cell.split(" ±")[0] for cell in page.row("2-way")[1:]] == [f"{100 * accuracy:.2f}"] * 2
    assert f"fsar sweep --run {folder} --ways 2 --shots 4" not in page.text  # one command for each featured result


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("results", "There are no results: fsar test --run"),
        ("csv", "There are no curves"),
        ("checkpoints", "The checkpoint trained/checkpoints/best.ckpt is not there any more"),
        ("episodes.csv.gz", "episodes.csv.gz is not there; testing again writes it"),
        ("config.yaml", "Configuration: test_3way_1shot_few_shot.yaml"),
    ],
)
def test_what_is_missing_is_said_and_the_rest_is_there(
    tool: ModuleType, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = copy(world, tmp_path)
    for path in list(folder.rglob(gone)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.move(folder, tmp_path / "moved")
    page = write(tool, "moved", "--gallery", "2")
    assert said in page.text
    if gone != "results":
        assert f"{100 * record(world / 'trained')['accuracy']:.2f} ±" in page.text


def test_videos_that_moved_are_found_by_an_option(
    tool: ModuleType, world: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(world)
    folder = copy(world, tmp_path)
    file = next(folder.glob("results/*/results.json"))
    file.write_text(file.read_text().replace(str(clips), "/gone"))
    page = write(tool, str(folder), "--gallery", "2")
    assert "The videos are not in /gone" in page.text
    assert not page.count("article")
    assert "--data.benchmark.root FOLDER" in page.text
    assert write(tool, str(folder), "--gallery", "2", "--data.benchmark.root", str(clips)).count("article") == 2


def test_a_browser_shows_it(tool: ModuleType, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium is installed")
    monkeypatch.chdir(world)
    write(tool, "trained", "mean", "--gallery", "2")
    flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    said, asked = list[str](), list[str]()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((world / "page.html").as_uri())
        paper = {}
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            paper[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
            for width in (375, 1280):
                page.set_viewport_size({"width": width, "height": 800})
                assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert paper["light"] != paper["dark"]
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        assert page.locator("svg.plot").first.bounding_box()["height"] > 100
        browser.close()
    assert said == [] == [url for url in asked if not url.startswith(("file:", "data:"))]
