"""The body of a request, taken in whole before anyone reads it: counted as it comes, within its size, parts and time.

What is broken off, too slow or too much is forgotten here, and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message as Header
from tempfile import SpooledTemporaryFile
from typing import IO

from starlette.types import Message, Receive, Scope

CHUNK = 2**18
IN_MEMORY = 2**20
"""Bytes of a body that are kept without a file."""


class Disconnected(Exception):
    """The other side went away."""


class TooMuch(Exception):
    """A body that is refused, with the status and the sentence for the other side."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


@dataclass(frozen=True)
class Patience:
    """What a body may bring, and how slowly.

    Args:
        bytes: at most.
        parts: at most; files, of an upload.
        seconds: that it may stand still at first.
        rate: bytes a second that it has to bring on average after that.
        longest: seconds in any case.
    """

    bytes: int
    parts: int
    seconds: float = 20
    rate: float = 2**15
    longest: float = 3600

    def left(self, since: float, count: int) -> float:
        """Seconds that are left to a body that began at ``since`` and has brought ``count`` bytes."""
        return since + min(self.seconds + count / self.rate, self.longest) - time.monotonic()


async def take(scope: Scope, receive: Receive, patience: Patience, count: Callable[[int], None]) -> IO[bytes]:
    """The body, in memory or in a file without a name, which is gone once it is closed.

    Args:
        scope: of the request.
        receive: gives its body.
        patience: what is taken.
        count: is told how many bytes more have come, and may raise :class:`TooMuch`.

    Raises:
        Disconnected: when the other side went away before the end.
        TooMuch: when it is too large, has too many parts, or comes too slowly.
    """
    headers = dict(scope["headers"])
    if (length := headers.get(b"content-length", b"")).isdigit() and int(length) > patience.bytes:
        raise too_large(patience)
    marker, since, total, parts, tail = boundary(headers), time.monotonic(), 0, 0, b""
    body: IO[bytes] = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  the one who asked closes it
    try:
        more = True
        while more:
            try:
                message = await asyncio.wait_for(receive(), max(patience.left(since, total), 0))
            except TimeoutError:
                raise TooMuch(408, f"The upload came too slowly: {total:,} bytes so far. Try again.") from None
            if message["type"] == "http.disconnect":
                raise Disconnected
            chunk, more = message.get("body", b""), message.get("more_body", False)
            total += len(chunk)
            if total > patience.bytes:
                raise too_large(patience)
            count(len(chunk))
            if marker:
                parts += (tail + chunk).count(marker)
                tail = (tail + chunk)[len(tail + chunk) - len(marker) + 1 :]
                if parts > patience.parts + 1:  # the last one ends the body
                    raise TooMuch(413, f"Too many files at once: at most {patience.parts} are taken.")
            body.write(chunk)
    except BaseException:
        body.close()
        raise
    body.seek(0)
    return body


def boundary(headers: dict[bytes, bytes]) -> bytes:
    """What stands between the parts of a form, nothing when the body is none."""
    header = Header()
    header["content-type"] = headers.get(b"content-type", b"").decode("latin-1")
    return b"--" + found.encode("latin-1") if (found := header.get_boundary()) else b""


def too_large(patience: Patience) -> TooMuch:
    """The refusal of a body that is too large."""
    return TooMuch(413, f"Too much at once: at most {patience.bytes / 2**20:,.0f} MB are taken.")


def again(body: IO[bytes], receive: Receive) -> Receive:
    """Gives a body that was taken in as if it came only now, and then what else comes."""
    over = False

    async def give() -> Message:
        nonlocal over
        if over:
            return await receive()
        chunk = body.read(CHUNK)
        over = len(chunk) < CHUNK
        return {"type": "http.request", "body": chunk, "more_body": not over}

    return give
