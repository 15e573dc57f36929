"""The search of the pages works when they are opened from disk, and asks no one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def test_pages_opened_from_disk_are_searched(tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    pytest.importorskip("material", reason="the documentation's theme is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium is installed")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    ours = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    assert {"offline", "search"} <= {plugin for plugin in ours["plugins"] if isinstance(plugin, str)}
    (script,) = ours["extra"]["polyfills"]
    docs = tmp_path / "docs"
    (docs / script).parent.mkdir(parents=True)
    shutil.copy(ROOT / "docs" / script, docs / script)
    (docs / "index.md").write_text("# Home\n\nNothing here.\n")
    (docs / "other.md").write_text("# Optimal transport\n\nSinkhorn's iterations.\n")
    config = {key: ours[key] for key in ("theme", "use_directory_urls", "extra")}
    config["theme"] = {key: value for key, value in config["theme"].items() if key in ("name", "font", "language")}
    config |= {"site_name": "toy", "site_url": "", "plugins": ["offline", "search"]}
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(config))
    build(load_config(str(tmp_path / "mkdocs.yml"), site_dir=str(tmp_path / "site")))
    asked: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto((tmp_path / "site" / "index.html").as_uri())
        page.locator("input.md-search__input").click()
        page.keyboard.type("sinkhorn")
        page.locator(".md-search-result__item").get_by_text("Optimal transport").first.wait_for()
        browser.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
