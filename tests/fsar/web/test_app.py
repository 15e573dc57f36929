"""The command ``fsar-demo``, and what stands between the browser and gradio."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from fsar.web import app as web
from fsar.web.uploads import Held, Limits


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "name the method: either a RUN or --encoder"),
        (["run", "--encoder", "fsar-tiny:shapes"], "either a RUN or --encoder"),
        (["run", "--prot", "1"], "--prot is no option"),
        (["--encoder", "fsar-tiny:shapes", "--model.alignment=DTW"], "--model.alignment=DTW goes with a RUN"),
        (["run", "--megabytes", "0"], "must be positive"),
    ],
)
def test_wrong_options_are_said(args: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        web.main(args)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_options_of_the_configuration_are_handed_on() -> None:
    own, rest = web.read(["runs/mine", "--port", "8000", "--model.alignment", "DTW"])
    assert (own.run, own.port, own.host, rest) == ("runs/mine", 8000, "127.0.0.1", ["--model.alignment", "DTW"])


def test_without_gradio_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "find_spec", lambda name: importlib.util.find_spec("not_installed"))
    with pytest.raises(SystemExit, match=r"needs gradio.*pip install 'fsar\[web\]'"):
        web.main(["runs/mine"])


def test_a_port_in_use_is_said() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ValueError, match=r"--port \d+ cannot be served on .*Name another"):
            web.port_is_free("127.0.0.1", other.getsockname()[1])
    with pytest.raises(ValueError, match="--port 99999"):
        web.port_is_free("127.0.0.1", 99999)


@pytest.mark.parametrize(("answers", "status"), [(False, 143), (True, 0)])
def test_told_to_end_before_it_answers_it_does_not_say_that_all_is_well(
    answers: bool, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Page:
        server_port = 7860
        block_thread = staticmethod(lambda: signal.raise_signal(signal.SIGTERM))

    class Idle:
        ready = close = staticmethod(lambda: None)

    def start(*_: object) -> type[Page]:
        return Page if answers else signal.raise_signal(signal.SIGTERM)  # type: ignore[return-value]

    left: list[int] = []
    monkeypatch.setattr(web, "start", start)
    monkeypatch.setattr(web, "leave", left.append)
    monkeypatch.setattr(web, "Worker", lambda *_: Idle)
    monkeypatch.setattr(web, "ClipQuestions", lambda *_: None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    before = signal.getsignal(signal.SIGTERM)
    try:
        web.serve(web.read(["--encoder", "fsar-tiny:shapes"])[0], [])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert left == [status]


def test_which_addresses_are_this_machine_alone() -> None:
    assert all(map(web.is_loopback, ("127.0.0.1", "localhost", "::1", "127.1.2.3")))
    assert not any(map(web.is_loopback, ("0.0.0.0", "::", "192.168.0.1", "example.org", "")))


def ask(
    held: Held, method: str, path: str, host: str = "127.0.0.1:7860", local: bool = True, **headers: str
) -> tuple[int, dict[str, str]]:
    """(status, headers) of a request that passes the guard on its way to an application that says 200."""
    guard = pytest.importorskip("fsar.web.guard", reason="gradio is not installed", exc_type=ImportError)
    sent = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    pairs = [(name.encode(), value.encode()) for name, value in given.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs}
    limits = Limits(classes=2, clips=1, megabytes=10 / 2**20)  # 60 bytes in all
    asyncio.run(guard.Guard(app, held, limits, local)(scope, receive, send))
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/gradio_api/heartbeat/x", 200),
        ("POST", "/gradio_api/upload", 200),
        ("POST", "/gradio_api/queue/join", 200),
        ("POST", "/gradio_api/process_recording", 403),  # runs ffmpeg, for as long as it takes
        ("POST", "/gradio_api/run/answer", 403),
        ("POST", "/login", 403),
        ("PUT", "/gradio_api/upload", 403),
        ("GET", "/gradio_api/proxy=https://example.org/x", 403),
        ("GET", "/gradio_api/stream/x", 403),
        ("GET", "/gradio_api/vibe-code/", 403),
        ("GET", "/gradio_api/dev/reload", 403),
    ],
)
def test_only_what_the_page_needs_passes(tmp_path: Path, method: str, path: str, status: int) -> None:
    found, headers = ask(Held(tmp_path), method, path)
    assert found == status
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["content-type"].startswith("text/")  # those of the answer itself stay


def test_another_name_for_this_machine_is_refused(tmp_path: Path) -> None:
    held = Held(tmp_path)
    for host in ("localhost:7860", "LocalHost:7860", "127.0.0.1", "127.0.0.2:7860", "[::1]:7860", "[::1]"):
        assert ask(held, "GET", "/", host)[0] == 200
    near = ("127.0.0.1.example.org:7860", "127.0.0.1:7860.example.org")
    for host in ("example.org", *near, "[example", "0.0.0.0:7860", ""):
        assert ask(held, "GET", "/", host)[0] == 403
    assert ask(held, "GET", "/", "example.org", local=False)[0] == 200  # --host was given


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # no browser
        ({"origin": "http://127.0.0.1:7860", "sec_fetch_site": "same-origin", "sec_fetch_mode": "cors"}, 200),
        ({"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, 200),  # a link to the page
        ({"sec_fetch_site": "none", "sec_fetch_mode": "navigate"}, 200),
        ({"origin": "http://127.0.0.1:9999"}, 403),  # a page on another port of this machine
        ({"origin": "http://localhost:7860"}, 403),
        ({"origin": "https://example.org", "sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "same-site", "sec_fetch_mode": "no-cors"}, 403),  # an image of it in such a page
    ],
)
def test_pages_from_elsewhere_are_refused(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    for method, path in (("POST", "/gradio_api/upload"), ("GET", "/gradio_api/queue/data")):
        for local in (True, False):
            assert ask(Held(tmp_path), method, path, local=local, **headers)[0] == status


def test_uploads_stop_when_too_much_is_held(tmp_path: Path) -> None:
    held = Held(tmp_path)
    for number, size in enumerate((30, 29, 1)):
        assert ask(held, "POST", "/gradio_api/upload")[0] == 200
        file = tmp_path / str(number) / "clip.mp4"
        file.parent.mkdir()
        file.write_bytes(bytes(size))
        held.arrived([str(file)])
    assert ask(held, "POST", "/gradio_api/upload")[0] == 413
    assert ask(held, "GET", "/")[0] == 200
    held.put("page", "box", [str(file)])
    held.forget("page")
    assert ask(held, "POST", "/gradio_api/upload")[0] == 200
