"""The page itself, in gradio."""

from __future__ import annotations

import base64
import io
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from episodes.listing import VIDEO_SUFFIXES
from fsar.web.questions import ClipQuestions, ShownAnswer
from fsar.web.uploads import Held, Refused, check_file, collect

ROWS = 3  # classes that are shown at first
CSS = """
.gradio-container {max-width: 1180px !important}
.clips {border-width: 1px 0 0 !important; border-color: var(--border-color-primary) !important}
.fsar h2 {margin: 0 0 .4rem; font-size: 1.7rem; line-height: 1.25; overflow-wrap: anywhere}
.fsar p {margin: .25rem 0 .6rem}
.fsar .small {opacity: .78; font-size: .88rem}
.fsar .bars {list-style: none; margin: 1rem 0; padding: 0}
.fsar .bars li {display: grid; grid-template-columns: 1fr auto; gap: .1rem .8rem; margin: 0 0 .6rem; padding: 0}
.fsar .bars span {overflow-wrap: anywhere}
.fsar .bars i {grid-column: 1 / -1; height: .55rem; border-radius: .3rem; background: var(--border-color-primary)}
.fsar .bars b {display: block; height: 100%; min-width: 2px; border-radius: .3rem; background: var(--color-accent)}
.fsar .box {border-left: 4px solid; border-radius: .3rem; padding: .6rem .9rem; margin: 0 0 .8rem}
.fsar .error {border-color: #dc2626; background: #dc262618}
.fsar .unlike {border-color: #d97706; background: #d9770618}
.fsar .maps {display: flex; flex-wrap: wrap; gap: 1rem 2rem; margin-bottom: .8rem}
.fsar figure {flex: 1 1 300px; max-width: 520px; margin: 0}
.fsar figure img {width: 100%; display: block}
.fsar .asked {display: flex; align-items: center; gap: .7rem; overflow-wrap: anywhere}
.fsar.seen {display: flex; flex-wrap: wrap; gap: .4rem; padding: .5rem .75rem; background: var(--block-background-fill)}
.fsar.seen img {height: 3.5rem; border-radius: .3rem; margin: 0}
.clips .file-preview-holder {max-height: none !important}
.fsar .asked img {height: 4.5rem; border-radius: .3rem; margin: 0}
.stale .answer, .stale .maps {opacity: .35; filter: grayscale(1)}
.stale:has(.answer)::before {content: "The inputs changed since: name it again."; display: block; padding: .6rem .9rem;
  border-left: 4px solid #d97706; background: #d9770618; border-radius: .3rem; margin: 0 0 .8rem}
"""
SIGN = """(...now) => {
  const name = value => value?.path ?? value;
  const signed = JSON.stringify(now.map(value => Array.isArray(value) ? value.map(name) : name(value) || null));
  %s
  for (const id of ['verdict', 'maps'])
    document.getElementById(id)?.classList.toggle('stale', signed !== (window.fsarAsked ?? signed));
}"""
ASK, COMPARE = SIGN % "window.fsarAsked = signed;", SIGN % ""
"""In the browser: remember what was asked about; mark the answer as old while something else stands on the page. Events
of a box may come late, after the answer, so that what stands there is compared, not the events counted."""
START = """<div class="fsar"><p class="small">The answer appears here: how likely every class is, whether the clip is
like any of them at all, and which frames were matched.</p></div>"""


def theme() -> Any:
    """System fonts alone: nothing is fetched for the page's looks."""
    fonts = ("system-ui", "sans-serif")
    return gr.themes.Default(primary_hue="blue", neutral_hue="slate", font=fonts, font_mono=("monospace",))


def build(questions: ClipQuestions, held: Held, method: str, clean: tuple[int, int]) -> gr.Blocks:
    """The page.

    Args:
        questions: answers them.
        held: is told which uploads stand in which box.
        method: its name, as it is shown.
        clean: every how many seconds uploads are looked through, and the age in seconds at which they are deleted.
    """
    limits, kinds = questions.limits, sorted(VIDEO_SUFFIXES)
    desk = Desk(questions, held)
    names, clips, rows, strips = [], [], [], []
    with gr.Blocks(title="fsar: name a clip by a few others", analytics_enabled=False, delete_cache=clean) as page:
        gr.Markdown(
            f"# Name a clip by a few others\nGive each class a name and one to {limits.clips} clips, then add one more "
            f"clip to name. Method: {method}. Clips of up to {limits.megabytes:g} MB are read by the machine that "
            "serves this page, and are deleted when they leave the page."
        )
        with gr.Row():
            with gr.Column(scale=5, min_width=320):
                for number in range(1, limits.classes + 1):
                    with gr.Group(visible=number <= ROWS) as row:
                        label = f"Class {number}"
                        names.append(gr.Textbox(label=label, placeholder="its name, such as waving", max_lines=1))
                        looks: dict[str, Any] = {"height": 130, "elem_id": f"clips-{number}", "elem_classes": "clips"}
                        clips.append(gr.File(file_count="multiple", file_types=kinds, show_label=False, **looks))
                        strips.append(gr.HTML(visible=False, padding=False, elem_id=f"seen-{number}"))
                    rows.append(row)
                more = gr.Button("Add a class", size="sm")
            with gr.Column(scale=6, min_width=320):
                query = gr.File(label="Clip to name", file_types=kinds, height=150, elem_id="query")
                strips.append(gr.HTML(visible=False, padding=False, elem_id="seen-query"))
                go = gr.Button("Name it", variant="primary")
                verdict = gr.HTML(START, elem_id="verdict")
        choice = gr.Radio([], label="Frames matched with those of", visible=False)
        maps = gr.HTML(elem_id="maps")
        shown, found = gr.State(ROWS), gr.State(None)
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        more.click(desk.one_more, shown, [shown, *rows, more], trigger_mode="multiple", **quiet)
        by_reader: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "reader"}
        for box, strip in zip([*clips, query], strips, strict=True):
            box.change(desk.keeper(str(box._id)), box, None, concurrency_limit=None, preprocess=False, **quiet)
            box.change(desk.see, box, strip, preprocess=False, **by_reader, **quiet)
        given: list[Any] = [*names, *clips, query]
        for each in given:
            each.change(None, given, js=COMPARE)
        go.click(None, given, js=ASK)
        one_by_one: dict[str, Any] = {**by_reader, "api_visibility": "private"}
        go.click(
            desk.answer,
            given,
            [found, verdict, choice, maps],
            preprocess=False,  # gradio's leaves an empty temporary file behind for every clip
            show_progress_on=verdict,
            **one_by_one,
        )
        choice.input(desk.pictures, [found, choice], maps, **one_by_one)
        page.unload(desk.close)
    return page.queue(max_size=20)


class Desk:
    """What happens when something on the page is used.

    Args:
        questions: answers them.
        held: the uploads.
    """

    def __init__(self, questions: ClipQuestions, held: Held) -> None:
        self.questions, self.held = questions, held

    def keeper(self, box: str) -> Any:
        """The listener that is told what stands in a box now, and says at once of a file that it is no video."""

        def keep(files: Any, request: gr.Request) -> None:
            listed = self.held.paths(files)
            self.held.put(str(request.session_hash), box, listed)
            for file in listed:
                try:
                    check_file(file, self.questions.limits)
                except Refused as error:
                    gr.Warning(str(error))

        return keep

    def see(self, files: Any) -> Any:
        """A small picture of every clip of a box; none of what cannot be read, which answering will say."""
        pictures = []
        for file in self.held.paths(files):
            with suppress(Refused):
                pictures.append(picture_html(self.questions.see(file), file))
        return gr.update(value=f'<div class="fsar seen">{"".join(pictures)}</div>', visible=bool(pictures))

    def one_more(self, shown: int) -> list[Any]:
        """One class more than the ``shown`` ones, while there are any."""
        most = self.questions.limits.classes
        return [shown + 1, *(gr.update(visible=i <= shown) for i in range(most)), gr.update(visible=shown + 1 < most)]

    def close(self, request: gr.Request) -> None:
        """The page was closed: its clips go."""
        self.held.forget(str(request.session_hash))

    def answer(self, *values: Any) -> tuple[Any, ...]:
        """From the names, the clips of every class and the query: the answer with the map of its first class."""
        rows = self.questions.limits.classes
        try:
            clips = [self.held.paths(files) for files in values[rows:]]
            query = next(iter(clips.pop()), None)
            support = collect(values[:rows], clips, query, self.questions.limits)
            found = self.questions.answer(support, str(query))
        except Refused as error:
            return None, error_html(str(error)), gr.update(visible=False), ""
        if not found["maps"]:
            return found, verdict_html(found, str(query)), gr.update(visible=False), no_map_html()
        names = [name for name, _ in found["ranking"]]
        choice = gr.update(choices=names, value=names[0], visible=True)
        return found, verdict_html(found, str(query)), choice, self.pictures(found, names[0])

    def pictures(self, found: ShownAnswer | None, name: str) -> str:
        """How the query was matched with a class."""
        if found is None or name not in found["maps"]:
            return no_map_html()
        try:
            summed = float(found["maps"][name][1].max()) > 1 + 1e-4  # a path of two directions
            return maps_html(self.questions.pictures(found, name), found["matched"][name], name, summed)
        except Refused as error:
            return error_html(str(error))


def asked_html(frame: Any, query: str) -> str:
    """Name and picture of the clip that an answer is about."""
    return f'<p class="asked">{picture_html(frame, query)}<span>{escape(Path(query).name)}</span></p>'


def picture_html(frame: Any, path: str) -> str:
    """A frame of a clip."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=85)
    picture = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="a frame of {escape(Path(path).name)}" src="data:image/jpeg;base64,{picture}">'


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
    return f'<div class="fsar answer">{asked}{head}<ol class="bars">{bars}</ol>{explained}</div>'


def maps_html(files: tuple[bytes, bytes], matched: str, name: str, summed: bool = False) -> str:
    """Costs and path, side by side where there is room; the path ``summed`` of two directions is said to be."""
    adding = " (sum of both directions, at most 2)" if summed else ""
    titles = ("Cost of every pair of frames (dark: alike)", f"Path: how much every pair is matched{adding}")
    figures = "".join(
        f'<figure><img alt="{title}" src="data:image/png;base64,{base64.b64encode(file).decode()}">'
        f'<figcaption class="small">{title}</figcaption></figure>'
        for file, title in zip(files, titles, strict=True)
    )
    return (
        f'<div class="fsar"><div class="maps">{figures}</div><p class="small">{escape(matched)}. Down the side the '
        f"clip to name, along the top the first clip of {escape(name)}; with several clips of a class their mean is "
        "compared.</p></div>"
    )


def no_map_html() -> str:
    """For methods that match no frames one to one."""
    return '<div class="fsar"><p class="small">This method matches no frames one to one: there is no map.</p></div>'


def error_html(message: str) -> str:
    """One readable message."""
    return f'<div class="fsar"><p class="box error" role="alert">{escape(message)}</p></div>'
