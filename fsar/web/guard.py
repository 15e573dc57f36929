"""Between the browser and gradio: only what the page needs comes in, and the page is told to ask no one else."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fsar.web.app import is_loopback
from fsar.web.uploads import Held

POSTS = {f"/gradio_api/{name}" for name in ("upload", "queue/join", "cancel", "reset")}
CLOSED = ("/gradio_api/proxy=", "/gradio_api/stream", "/gradio_api/vibe", "/gradio_api/dev")
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; frame-ancestors 'none'"
)
HEADERS = ((b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer"))


class Guard:
    """Refuses requests that the page does not make, such as gradio's for recording a screen, which runs ffmpeg.

    Args:
        app: gradio.
        held: the uploads.
        total_bytes: no more is uploaded while they take that much.
        only_local: answer only to the names of this machine, so that another site's name that is made to point here
            does not reach the page.
    """

    def __init__(self, app: ASGIApp, held: Held, total_bytes: int, only_local: bool) -> None:
        self.app, self.held, self.total_bytes, self.only_local = app, held, total_bytes, only_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self.app)(scope, receive, with_headers if scope["type"] == "http" else send)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        path, host = scope["path"].rstrip("/"), dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        if self.only_local and not is_here(host):
            return PlainTextResponse(f"This page is served to this machine alone, not as {host}.", 403)
        needed = path in POSTS if scope["method"] == "POST" else scope["method"] in ("GET", "HEAD")
        if not needed or path.startswith(CLOSED):
            return PlainTextResponse("The page has no use for this.", 403)
        if path.endswith("/upload") and self.held.size() >= self.total_bytes:
            return PlainTextResponse("Too many clips are held already: remove some, or wait.", 413)
        return None


def is_here(host: str) -> bool:
    """Whether a Host header, with a port or without, names this machine alone."""
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:  # no address
        return False
