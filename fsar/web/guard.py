"""Between the browser and gradio: only what the page needs comes in, and the page is told to ask no one else."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import BytesIO
from typing import IO

from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fsar.terminal.shown import shown
from fsar.web.arrival import Disconnected, Patience, TooMuch, again, take
from fsar.web.hosts import is_here
from fsar.web.uploads import TOKEN, Held, Limits

POSTS = {f"/gradio_api/{name}" for name in ("upload", "queue/join", "cancel", "reset")}
CLOSED = ("/gradio_api/proxy=", "/gradio_api/stream", "/gradio_api/vibe", "/gradio_api/dev")
FILE = "/gradio_api/file="
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; frame-ancestors 'none'"
)
PROGRESS = "/gradio_api/upload_progress"
DONE = f"data: {json.dumps({'msg': 'done'})}\n\n"
"""Of an upload's progress gradio knows nothing before the upload is there whole; it would look for it in vain."""
ENGLISH = b'<script>Object.defineProperty(navigator, "language", {value: "en"})</script>'
"""Before all else of the page: gradio's own words follow the browser's language, ours do not."""
FORM_BYTES = 2**20
"""Of a request without files, and of a form around its files."""
HEADERS = ((b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer"))


class Guard:
    """Refuses requests that the page does not make, such as gradio's for recording a screen, which runs ffmpeg.

    A body is taken in whole before gradio sees it, so that an upload that is broken off, slow or too large leaves
    nothing behind.

    Args:
        app: gradio.
        held: the uploads.
        limits: what is taken.
        only_local: answer only to the names of this machine, so that another site's name that is made to point here
            does not reach the page.
    """

    def __init__(self, app: ASGIApp, held: Held, limits: Limits, only_local: bool) -> None:
        self.app, self.held, self.limits, self.only_local = app, held, limits, only_local
        upload = min(limits.files * limits.megabytes * 2**20, limits.total_bytes) + FORM_BYTES
        self.upload = Patience(int(upload), limits.files, limits.upload_seconds)
        self.words = Patience(FORM_BYTES, 1, limits.upload_seconds)
        self._one = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # the page opens none
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        started = False

        async def with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        try:
            await self._answer(scope, receive, with_headers)
        except Exception as error:  # gradio's, of a request that the page does not make: it lets all through
            line = f"{scope['method']} {scope['path'][:200]}: {type(error).__name__}: {str(error)[:200]}"
            print(shown(" ".join(line.split())), file=sys.stderr)
            if not started:
                await refuse("The page has no use for this.", 400)(scope, receive, with_headers)

    async def _answer(self, scope: Scope, receive: Receive, with_headers: Send) -> None:
        """What the page asks; all else is refused."""
        if refusal := self._refusal(scope):
            await refusal(scope, receive, with_headers)
        elif scope["path"].rstrip("/") == PROGRESS and scope["method"] == "GET":
            await Response(DONE, media_type="text/event-stream")(scope, receive, with_headers)
        elif scope["path"] == "/" and scope["method"] == "GET":
            await self._page(scope, receive, with_headers)
        elif scope["method"] != "POST":
            if (found := self._found(scope)) is None:
                await refuse("There is no such clip, or no longer.", 404)(scope, receive, with_headers)
            else:
                await self.app(found, receive, with_headers)
        else:
            await self._post(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = dict(scope["headers"])
        path, host = scope["path"].rstrip("/"), headers.get(b"host", b"").decode("latin-1")
        names = [name for name, _ in scope["headers"]]
        if names.count(b"host") > 1 or names.count(b"origin") > 1:
            return refuse("A request comes from one place.", 400)
        if self.only_local and not is_here(host):
            return refuse(f"This page is served to this machine alone, not as {host}.", 403)
        if not is_own(headers, host):
            return refuse("Another page has no use for this.", 403)
        needed = path in POSTS if scope["method"] == "POST" else scope["method"] in ("GET", "HEAD")
        if not needed or path.startswith(CLOSED):
            return refuse("The page has no use for this.", 403)
        return None

    def _found(self, scope: Scope) -> Scope | None:
        """A request for a held file, as gradio knows it; None where none is: gradio would say where it looked."""
        if not scope["path"].startswith(FILE + TOKEN):
            return scope
        file = self.held.folder / scope["path"].removeprefix(FILE + TOKEN)
        if "\0" in scope["path"] or not (file.resolve().is_relative_to(self.held.folder.resolve()) and file.is_file()):
            return None
        path = f"{FILE}{file}"
        return {**scope, "path": path, "raw_path": path.encode()}

    def _named(self, body: IO[bytes]) -> IO[bytes]:
        """What the page asks, with held files named as gradio knows them."""
        folder = json.dumps(f"{self.held.folder}/")[:-1]
        return BytesIO(body.read().replace(b'"path":"' + TOKEN.encode(), f'"path":{folder}'.encode()))

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The page, in one language."""
        start, *parts = await self._heard(scope, receive)
        body = b"".join(part.get("body", b"") for part in parts).replace(b"<head>", b"<head>" + ENGLISH, 1)
        others = [(name, value) for name, value in start["headers"] if name != b"content-length"]
        await send({**start, "headers": [*others, (b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})

    async def _heard(self, scope: Scope, receive: Receive) -> list[Message]:
        """All that gradio answers."""
        answer: list[Message] = []

        async def listen(message: Message) -> None:
            answer.append(message)

        await self.app(scope, receive, listen)
        return answer

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands on a request once its body is there; files that come with it are counted."""
        upload = scope["path"].rstrip("/").endswith("/upload")
        try:
            if not upload:
                body = await take(scope, receive, self.words, lambda more: None)
            else:
                self.held.sweep()
                with self.held.coming() as count:
                    self._room()
                    body = await take(scope, receive, self.upload, lambda more: self._count(count, more))
        except Disconnected:
            return
        except TooMuch as error:
            await refuse(error.text, error.status)(scope, receive, send)
            return
        with body:
            if upload:
                await self._store(scope, again(body, receive), send)
            else:
                await self.app(scope, again(self._named(body), receive), send)

    def _count(self, count: Callable[[int], None], more: int) -> None:
        count(more)
        self._room()

    def _room(self) -> None:
        files, coming = self.held.count()
        if self.held.size() >= self.limits.total_bytes or files >= self.limits.total_files:
            raise TooMuch(413, "Too many clips are held already: remove some, or wait.")
        if coming > self.limits.uploads:
            raise TooMuch(503, "Too many clips are coming at the same time: wait a little.")

    async def _store(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let gradio store the files of a form, one form at a time, and note where before it is answered: whoever has
        the answer finds the files counted."""
        async with self._one:
            try:
                answer = await self._heard(scope, receive)
            finally:
                self.held.discard_parts()
        with suppress(ValueError):  # gradio refused the form in words
            found = json.loads(b"".join(message.get("body", b"") for message in answer))
            if isinstance(found, list):
                self.held.arrived(found)
                await JSONResponse([self.held.token(file) for file in found])(scope, receive, send)
                return
        for message in answer:
            await send(message)


def refuse(text: str, status: int) -> PlainTextResponse:
    """A refusal; what else comes over this connection is not read."""
    return PlainTextResponse(text, status, {"connection": "close"})


def is_own(headers: Mapping[bytes, bytes], host: str) -> bool:
    """Whether a request is made by the page itself or by a person, and not by a page from elsewhere: one of another
    port of this machine is elsewhere."""
    origin = headers.get(b"origin")
    if origin is not None and origin.decode("latin-1").partition("://")[2].lower() != host.lower():
        return False
    by_link = headers.get(b"sec-fetch-mode") == b"navigate" and origin is None
    return by_link or headers.get(b"sec-fetch-site", b"none") in (b"same-origin", b"none")
