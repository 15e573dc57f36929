"""The page in a real browser, from dropped clips to the answer."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from episodes.shapes import appearance
from episodes.shapes.source import write_video

CLASSES = ("a heart on snow", "a tree on a brick wall", "an arrow on polka dots")
CHROMIUM = "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update"
WAIT = 120_000  # ms, of which little is used unless the machine is busy


@dataclass
class Server:
    """``fsar-demo`` in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    folder: Path

    def files(self) -> list[str]:
        """Names of all clips on its disk; a folder deleted meanwhile holds none (``Path.rglob`` would raise)."""
        return sorted(name for _, _, names in os.walk(self.folder) for name in names)


def until(done: Callable[[], object], what: str) -> None:
    """Wait until something is so."""
    for _ in range(WAIT // 100):
        if done():
            return
        time.sleep(0.1)
    raise AssertionError(f"{what} did not happen")


def start(folder: Path) -> Server:
    """Start it and wait for the line that says where it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = "from fsar.web.app import main\nif __name__ == '__main__': main()"
    options = f"--encoder fsar-tiny:shapes --device cpu --port {port} --megabytes 2".split()
    environment = {**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *options], env=environment, text=True, stdout=subprocess.PIPE
    )
    assert any("answers on" in line for line in process.stdout or ())
    return Server(process, f"http://127.0.0.1:{port}", next(folder.glob("fsar-demo-*")))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium."""
    if find_spec("gradio") is None:
        pytest.skip("gradio is not installed: pip install 'fsar[web]'")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no chromium on this machine")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=CHROMIUM.split())
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start(tmp_path_factory.mktemp("server"))
    yield server
    server.process.kill()
    server.process.communicate()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``<class>_<number>.mp4`` of the rendered world: 0 and 1 to show, 5 and 6 to ask about."""
    folder = tmp_path_factory.mktemp("clips")
    for name in CLASSES:
        for number in (0, 1, 5, 6):
            write_video(folder / f"{name}_{number}.mp4", appearance.render(name, 0, "test", name, f"{number:03d}"))
    return folder


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    """The page, opened; while it is, it asks nothing of any other host."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, locale="de-DE")
    page = context.new_page()
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.set_default_timeout(WAIT)
    page.goto(server.url)
    page.get_by_role("button", name="Name it").wait_for()
    yield page
    context.close()
    elsewhere = [url for url in asked if not url.startswith((server.url, "data:", "blob:"))]
    assert len(asked) > 10
    assert not elsewhere
    assert not wrong or server.process.poll() is not None  # else neither its code nor a request of it failed


def drop(page: Any, box: str, *files: Path) -> None:
    """Put files into a box, and wait until they are there."""
    page.locator(f"#{box} input[type=file]").set_input_files([str(file) for file in files])
    for file in files:
        page.locator(f"#{box}").get_by_text(file.stem).first.wait_for()


def named(page: Any, number: int) -> Any:
    """The field of a class's name."""
    return page.locator(f"#name-{number}").get_by_role("textbox")


def fill(page: Any, clips: Path, query: str) -> None:
    """Three classes with two clips each, and a query."""
    for number, name in enumerate(CLASSES, 1):
        named(page, number).fill(name)
        drop(page, f"clips-{number}", clips / f"{name}_0.mp4", clips / f"{name}_1.mp4")
    drop(page, "query", clips / query)


def test_from_dropped_clips_to_the_answer(page: Any, server: Server, clips: Path) -> None:
    fill(page, clips, "an arrow on polka dots_6.mp4")
    page.get_by_role("button", name="Name it").click()
    page.locator("#maps img").nth(1).wait_for()
    verdict = page.locator("#verdict")
    assert verdict.locator("h2").inner_text() == "an arrow on polka dots"
    names, shares = zip(*(line.split("\n") for line in verdict.locator("li").all_inner_texts()), strict=True)
    assert names[0] == "an arrow on polka dots"
    assert sorted(names) == sorted(CLASSES)
    assert sum(float(share.rstrip("%")) for share in shares) == pytest.approx(100, abs=0.2)
    widths = [bar.bounding_box()["width"] for bar in verdict.locator("li b").all()]
    assert widths[0] > 2 * widths[1] >= 2 * widths[2]  # six of six are taken for 7 in 9, see predict.md
    assert "unlike all" in verdict.inner_text()
    loaded = "images => images.every(image => image.complete && image.naturalWidth > 300)"
    assert page.locator("#maps img").evaluate_all(loaded)

    assert verdict.locator(".asked").inner_text() == "an arrow on polka dots_6.mp4"
    assert verdict.locator(".asked img").evaluate("image => image.complete && image.naturalWidth > 30")
    assert not page.locator(".stale").count()
    named(page, 1).fill("something else")
    page.locator("#verdict.stale").wait_for()
    before = "element => getComputedStyle(element, '::before').content"
    assert "inputs changed" in page.locator("#verdict.stale, #verdict .stale").first.evaluate(before)
    named(page, 1).fill(CLASSES[0])  # as it was asked
    page.locator("#verdict:not(.stale)").wait_for()

    link = page.locator("#query a[href*='file=held/']").first.get_attribute("href")
    assert page.request.get(link).body() == (clips / "an arrow on polka dots_6.mp4").read_bytes()
    assert str(server.folder) not in page.content()

    first = page.locator("#maps img").first.get_attribute("src")
    page.get_by_role("radio", name="a heart on snow").check()
    page.wait_for_function("src => document.querySelector('#maps img')?.src !== src", arg=first)
    assert "first clip of a heart on snow" in page.locator("#maps").inner_text()

    assert len(server.files()) == 7
    page.goto("about:blank")
    until(lambda: not server.files(), "that the clips of a closed page are deleted")


def test_three_clips_show_as_three_with_a_player_each_before_any_answer(page: Any, clips: Path) -> None:
    name = CLASSES[0]
    drop(page, "clips-1", *(clips / f"{name}_{number}.mp4" for number in (0, 1, 5)))
    players = page.locator("#seen-1 video")
    players.nth(2).wait_for()
    assert players.evaluate_all("all => all.every(one => one.poster.startsWith('data:image/jpeg'))")
    page.locator("#seen-1 button").nth(1).click()
    page.wait_for_function("document.querySelectorAll('#seen-1 video')[1].currentTime > 0")
    box = page.locator("#clips-1").bounding_box()
    rows = [row.bounding_box() for row in page.locator("#clips-1 tr").all()]
    assert len(rows) == 3
    assert all(box["y"] <= row["y"] and row["y"] + row["height"] <= box["y"] + box["height"] for row in rows)


def test_on_a_phone_in_german_an_example_and_a_folder_fill_the_page(page: Any, clips: Path, tmp_path: Path) -> None:
    fits = "document.documentElement.scrollWidth <= innerWidth"
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.locator("#query").get_by_text("Drop File Here").count()  # gradio's words, as ours in English
    assert page.evaluate(fits)
    page.get_by_role("button", name="Fill in an example").click()
    for box, count in (("1", 2), ("3", 2), ("query", 1)):
        page.locator(f"#seen-{box} video").nth(count - 1).wait_for()
    page.get_by_role("button", name="Name it").click()
    page.locator("#maps img").nth(1).wait_for()
    assert page.locator("#verdict h2").inner_text() == named(page, 3).input_value() == "an arrow on polka dots"
    assert page.evaluate(fits)
    saved = page.locator("#verdict a[download]").get_attribute("href").partition("base64,")[2]
    assert json.loads(base64.b64decode(saved))["ranking"][0]["class"] == "an arrow on polka dots"

    for name, number in itertools.product(CLASSES[:2], (0, 1)):
        (tmp_path / name.replace(" ", "_")).mkdir(exist_ok=True)
        shutil.copy(clips / f"{name}_{number}.mp4", tmp_path / name.replace(" ", "_"))
    shutil.copy(clips / f"{CLASSES[0]}_5.mp4", tmp_path / "new.mp4")
    (tmp_path / "notes.txt").write_text("left out")
    page.locator("#folder").set_input_files(str(tmp_path))
    page.locator("#query").get_by_text("new").first.wait_for()
    assert [named(page, number).input_value() for number in (1, 2, 3)] == [*CLASSES[:2], ""]
    assert "2 classes with 4 clips; to name: new.mp4. Left out 1 file:" in page.locator("#folder-said").inner_text()
    page.locator("#clips-2").get_by_text(f"{CLASSES[1]}_1").first.wait_for()
    assert page.locator("#clips-3 tr").count() == 0


def test_a_clip_of_no_class_is_said_and_the_query_can_be_changed(page: Any, server: Server, clips: Path) -> None:
    fill(page, clips, "an arrow on polka dots_5.mp4")
    page.locator("#query").get_by_label("Clear").or_(page.locator("#query button[title=Clear]")).first.click()
    until(lambda: "an arrow on polka dots_5.mp4" not in server.files(), "that a clip which left the page is deleted")
    drop(page, "query", clips / "a heart on snow_5.mp4")
    page.get_by_role("button", name="Name it").click()
    page.locator("#verdict h2").wait_for()
    assert page.locator("#verdict h2").inner_text() == "a heart on snow"


def test_what_is_no_video_or_too_large_is_refused_and_the_page_goes_on(
    page: Any, server: Server, clips: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.mp4").write_text("a shopping list")
    (tmp_path / "big.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(3 * 2**20))
    page.locator("#query input[type=file]").set_input_files(str(tmp_path / "big.mp4"))
    page.get_by_text("exceed the maximum allowed size").wait_for()
    page.locator("#query").get_by_label("Clear").or_(page.locator("#query button")).first.click()
    assert "big.mp4" not in server.files()

    fill(page, clips, "an arrow on polka dots_6.mp4")
    named(page, 2).fill("<b id=injected>${6 * 7} {{value}}</b>")
    for _ in range(7):
        page.get_by_role("button", name="Add a class").click()
    named(page, 10).wait_for()
    named(page, 4).fill("notes")
    drop(page, "clips-4", tmp_path / "notes.mp4")
    page.get_by_text("notes.mp4: not a video").first.wait_for()  # at once
    page.get_by_role("button", name="Name it").click()
    assert "notes.mp4: not a video" in page.locator("#verdict [role=alert]").inner_text()

    named(page, 4).fill("")
    page.locator("#clips-4 button").last.click()
    page.get_by_role("button", name="Name it").click()
    page.locator("#verdict h2").wait_for()
    assert "<b id=injected>${6 * 7} {{value}}</b>" in page.locator("#verdict").inner_text()
    assert not page.locator("#injected").count()


def test_nothing_is_left_when_it_ends(page: Any, server: Server, clips: Path) -> None:
    drop(page, "query", clips / "a heart on snow_5.mp4")
    until(server.files, "an upload")
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=60) == 0
    assert not server.folder.exists()
