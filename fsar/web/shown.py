"""Answers and messages as the page shows them, in HTML."""

from __future__ import annotations

import base64
import io
import json
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image

from fsar.web.questions import ShownAnswer


def asked_html(frame: Any, query: str) -> str:
    """Name and picture of the clip that an answer is about."""
    return f'<p class="asked">{picture_html(frame, query)}<span>{escape(Path(query).name)}</span></p>'


def picture_html(frame: Any, path: str) -> str:
    """A frame of a clip."""
    return f'<img alt="a frame of {escape(Path(path).name)}" src="{jpeg(frame)}">'


def jpeg(frame: Any) -> str:
    """A frame as an address that holds all of it."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=85)
    return address("image/jpeg", file.getvalue())


def address(kind: str, content: bytes) -> str:
    """What holds a file and is no other request."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def clip_html(frame: Any, path: str, token: str) -> str:
    """A clip that can be played where it stands, and its name."""
    name = escape(Path(path).name)
    return (
        f'<figure><button aria-label="Play {name}"><video muted loop playsinline preload="none" poster="{jpeg(frame)}" '
        f'src="gradio_api/file={quote(token)}"></video></button><figcaption title="{name}">{name}</figcaption></figure>'
    )


def said_html(doing: str) -> str:
    """What is being done now."""
    return f'<div class="fsar"><p class="busy" role="status">{escape(doing)} ...</p></div>'


def verdict_html(found: ShownAnswer, query: str) -> str:
    """Of which clip, who won, how sure, and whether it is like any of them."""
    asked = asked_html(found["query"][len(found["query"]) // 2], query)
    head = f"<h2>{escape(found['ranking'][0][0])}</h2><p>{found['measure']} {found['amounts'][0]}</p>"
    if found["note"]:
        head += f'<p class="box unlike">{escape(found["note"])}</p>'
    bars = "".join(
        f'<li><span>{escape(name)}</span><span>{shown}</span><i><b style="width: {100 * p:.1f}%"></b></i></li>'
        for (name, p), shown in zip(found["ranking"], found["amounts"], strict=True)
    )
    explained = f'<p class="small">{escape(found["explanation"])}</p>'
    file = address("application/json", json.dumps(found["record"], indent=1).encode())
    saves = f'<p class="small saves"><a download="answer.json" href="{file}">Save the answer (JSON)</a></p>'
    return f'<div class="fsar answer">{asked}{head}<ol class="bars">{bars}</ol>{explained}{saves}</div>'


def maps_html(files: tuple[bytes, bytes], matched: str, name: str, summed: bool = False) -> str:
    """Costs and path, side by side where there is room; the path ``summed`` of two directions is said to be."""
    pictures = [address("image/png", file) for file in files]
    adding = " (sum of both directions, at most 2)" if summed else ""
    titles = ("Cost of every pair of frames (dark: alike)", f"Path: how much every pair is matched{adding}")
    figures = "".join(
        f'<figure><img alt="{title}" src="{picture}"><figcaption class="small">{title}</figcaption></figure>'
        for title, picture in zip(titles, pictures, strict=True)
    )
    saves = "".join(
        f'<a download="{file}.png" href="{picture}">Save the {file} (PNG)</a>'
        for file, picture in zip(("costs", "path"), pictures, strict=True)
    )
    return (
        f'<div class="fsar"><div class="maps">{figures}</div><p class="small saves">{saves}</p><p class="small">'
        f"{escape(matched)}. Down the side the clip to name, along the top the first clip of {escape(name)}; with "
        "several clips of a class their mean is compared.</p></div>"
    )


def no_map_html() -> str:
    """For methods that match no frames one to one."""
    return '<div class="fsar"><p class="small">This method matches no frames one to one: there is no map.</p></div>'


def error_html(message: str) -> str:
    """One readable message."""
    return f'<div class="fsar"><p class="box error" role="alert">{escape(message)}</p></div>'
