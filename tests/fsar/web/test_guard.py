"""Requests by hand against the served page: broken off, slow, many, too large, from elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from fsar.web.uploads import Held, Limits

pytestmark = pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is not installed: pip install 'fsar[web]'")
LIMITS = Limits(classes=2, clips=1, megabytes=0.25, uploads=12, files=3, upload_seconds=1.5)  # 6 files, 1.5 MB in all
WAIT = 60.0


@dataclass
class Served:
    """The page in this process."""

    port: int
    held: Held

    def files(self) -> list[str]:
        return sorted(name for _, _, names in os.walk(self.held.folder) for name in names)


def storing(folder: Path) -> Any:
    """Gradio's own way to store an upload, with nothing else of it."""
    from gradio.route_utils import MultiPartException, upload_fn
    from starlette.requests import Request
    from starlette.responses import JSONResponse, PlainTextResponse, Response

    async def app(scope: Any, receive: Any, send: Any) -> None:
        response: Response = PlainTextResponse("hello")
        if scope["method"] == "POST":
            try:
                most = LIMITS.megabytes * 2**20
                response = JSONResponse((await upload_fn(Request(scope, receive), folder, most, None, False))[0])
            except MultiPartException as error:
                response = PlainTextResponse(error.message, 413 if "maximum allowed size" in error.message else 400)
        await response(scope, receive, send)

    return app


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    import uvicorn

    from fsar.web.guard import Guard

    folder = tmp_path_factory.mktemp("uploads")
    held = Held(folder)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        guard = Guard(storing(folder), held, LIMITS, only_local=True)
        server = uvicorn.Server(uvicorn.Config(guard, lifespan="off", log_level="warning"))
        thread = Thread(target=server.run, args=([listening],))
        thread.start()
        yield SimpleNamespace(port=listening.getsockname()[1], held=held)
        server.should_exit = True
        thread.join()


@pytest.fixture
def served(page: Any) -> Iterator[Served]:
    """The page, which holds nothing at the start of a test."""
    yield Served(page.port, page.held)
    page.held.put("test", "box", list(page.held._files))
    page.held.forget("test")
    assert page.held.size() == 0


def until(done: Callable[[], object], what: str) -> None:
    end = time.monotonic() + WAIT
    while not done():
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.02)


def form(*contents: bytes, field: str = "files") -> bytes:
    """A form of files as a browser sends it."""
    parts = (
        b'--XyZ\r\nContent-Disposition: form-data; name="%b"; filename="%d.mp4"\r\n\r\n%b\r\n'
        % (field.encode(), number, content)
        for number, content in enumerate(contents)
    )
    return b"".join(parts) + b"--XyZ--\r\n"


def opened(served: Served, length: int | None, **headers: str) -> socket.socket:
    """A connection over which the beginning of an upload was sent."""
    given = {"Host": f"127.0.0.1:{served.port}", "Content-Type": "multipart/form-data; boundary=XyZ", **headers}
    given |= {"Transfer-Encoding": "chunked"} if length is None else {"Content-Length": str(length)}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    connection = socket.create_connection(("127.0.0.1", served.port), timeout=WAIT)
    connection.sendall(f"POST /gradio_api/upload HTTP/1.1\r\n{lines}\r\n".encode())
    return connection


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body; status 0 when the connection was cut."""
    found = b""
    with connection, contextlib.suppress(ConnectionError):
        while b"\r\n\r\n" not in found or not complete(found):
            more = connection.recv(2**16)
            if not more:
                break
            found += more
    head, _, body = found.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, body


def complete(found: bytes) -> bool:
    head, _, body = found.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(lengths) and len(body) >= lengths[0]


def upload(served: Served, body: bytes, **headers: str) -> tuple[int, bytes]:
    connection = opened(served, len(body), **headers)
    with contextlib.suppress(ConnectionError):  # refused before all was sent
        connection.sendall(body)
    return answer(connection)


def path_of(served: Served, token: str) -> str:
    return token.replace("held", str(served.held.folder), 1)


def test_a_whole_upload_is_held_and_counted(served: Served) -> None:
    status, found = upload(served, form(b"a" * 100, b"b" * 50))
    assert status == 200
    assert str(served.held.folder) not in found.decode()  # nor any other path of this machine
    tokens = json.loads(found)
    assert all(token.startswith("held/") for token in tokens)
    assert [Path(path_of(served, token)).read_bytes() for token in tokens] == [b"a" * 100, b"b" * 50]
    assert served.held.size() == 150


@pytest.mark.parametrize(
    "file", ["held/nothing/a.mp4", "held/../../etc/passwd", "held/%2e%2e/%2e%2e/etc/hostname", "held/%00"]
)
def test_what_is_not_held_is_no_path_of_this_machine(served: Served, file: str) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=WAIT) as connection:
        lines = f"GET /gradio_api/file={file} HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n\r\n"
        connection.sendall(lines.encode())
        assert answer(connection) == (404, b"There is no such clip, or no longer.")


def test_files_are_counted_before_the_upload_is_answered(tmp_path: Path) -> None:
    from fsar.web.guard import Guard

    held, counted = Held(tmp_path), []

    async def receive() -> Any:
        return {"type": "http.request", "body": form(b"a" * 70, b"b" * 30)}

    async def send(message: Any) -> None:
        counted.append((message["type"], held.size()))

    headers = [(b"host", b"127.0.0.1:1"), (b"content-type", b"multipart/form-data; boundary=XyZ")]
    scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload", "headers": headers, "query_string": b""}
    asyncio.run(Guard(storing(tmp_path), held, LIMITS, only_local=True)(scope, receive, send))
    assert counted[0] == ("http.response.start", 100)


def test_an_upload_that_is_broken_off_leaves_nothing_and_locks_nothing(served: Served) -> None:
    body = form(bytes(200_000))
    for _ in range(12):  # 2.4 MB, more than is held
        connection = opened(served, len(body))
        connection.sendall(body[:-100])
        until(lambda: served.held.size() > 150_000, "that the bytes are counted as they come")
        connection.close()
        until(lambda: served.held.size() == 0, "that they are forgotten")
    assert served.files() == []
    assert upload(served, body)[0] == 200


def test_a_slow_upload_is_ended_and_delays_nobody(served: Served) -> None:
    slow = [opened(served, 10_000) for _ in range(12)]
    for connection in slow:
        connection.sendall(b"--XyZ\r\n")
    until(lambda: served.held.count()[1] == 12, "that they are under way")
    with socket.create_connection(("127.0.0.1", served.port), timeout=WAIT) as other:
        other.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n\r\n".encode())
        assert b" 200 " in other.recv(100)
    assert upload(served, form(b"one more"))[0] == 503
    assert [answer(connection)[0] for connection in slow] == [408] * 12
    assert upload(served, form(b"one more"))[0] == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (form(*[b"x"] * 3), 200),
        (form(*[b"x"] * 4), 413),  # too many files
        (form(bytes(2**18 + 1)), 413),  # gradio's own limit of a file
        (form(b"x", field="other"), 200),  # a field that is not read
        (b"--XyZ\r\nno form", 413),
    ],
)
def test_what_is_not_taken_leaves_no_file(served: Served, body: bytes, status: int) -> None:
    found, said = upload(served, body)
    assert found == status
    kept = json.loads(said) if status == 200 else []
    until(lambda: served.files() == sorted(Path(file).name for file in kept), "that nothing else is left")


def test_too_large_a_request_is_refused_by_what_it_says_and_by_what_it_brings(served: Served) -> None:
    assert answer(opened(served, 10**9)) == (413, b"Too much at once: at most 2 MB are taken.")
    connection = opened(served, None)
    with contextlib.suppress(ConnectionError):
        for _ in range(40):
            connection.sendall(b"10000\r\n" + bytes(2**16) + b"\r\n")
    assert answer(connection)[0] in (413, 0)  # 0: the answer was lost with the connection
    assert (served.held.size(), served.files()) == (0, [])


def test_no_more_than_the_limit_is_held_and_closing_a_page_makes_room(served: Served) -> None:
    kept = [path_of(served, json.loads(upload(served, form(bytes([n]) * 200_000))[1])[0]) for n in range(6)]
    assert upload(served, form(b"seventh"))[0] == 413
    served.held.put("page", "box", kept)
    served.held.forget("page")
    assert upload(served, form(b"seventh"))[0] == 200


def test_a_page_on_another_port_cannot_upload(served: Served) -> None:
    own = f"http://127.0.0.1:{served.port}"
    assert upload(served, form(b"x"), Origin="http://127.0.0.1:9")[0] in (403, 0)
    assert served.files() == []
    assert upload(served, form(b"x"), Origin=own)[0] == 200


def test_what_gradio_cannot_read_is_refused_in_a_line(served: Served, capfd: pytest.CaptureFixture[str]) -> None:
    long = f"multipart/form-data; boundary={'B' * 9000}"
    status, found = upload(served, form(b"x"), **{"Content-Type": long})
    assert (status, found) == (400, b"The page has no use for this.")
    said = capfd.readouterr().err
    assert said.startswith("POST /gradio_api/upload: ")
    assert said.count("\n") == 1
    assert served.files() == []


@pytest.mark.parametrize("name", ["Host", "Origin"])
def test_a_request_comes_from_one_place(served: Served, name: str) -> None:
    own = {"Host": f"127.0.0.1:{served.port}", "Origin": f"http://127.0.0.1:{served.port}"}[name]
    status, _ = upload(served, form(b"x"), **{"Host": f"127.0.0.1:{served.port}\r\n{name}: evil.org\r\n{name}: {own}"})
    assert status == 400
    assert served.files() == []
