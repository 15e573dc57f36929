"""The page itself, in gradio."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from episodes.listing import VIDEO_SUFFIXES
from fsar.web.example import render_example
from fsar.web.questions import ClipQuestions, ShownAnswer
from fsar.web.shown import clip_html, error_html, maps_html, no_map_html, said_html, verdict_html
from fsar.web.uploads import Held, Limits, Refused, check_file, collect

ROWS = 3  # classes that are shown at first
HERE = Path(__file__).parent
CSS = (HERE / "page.css").read_text("utf-8")
COMPARE = "(...now) => window.fsar.compare(%s, ...now)"
START = """<div class="fsar"><p class="small">The answer appears here: how likely every class is, whether the clip is
like any of them at all, and which frames were matched.</p></div>"""
FOLDER = """<div class="fsar folder"><label><input type="file" id="folder" webkitdirectory multiple> <b>Drop a folder
here</b>, or click to choose it: one folder of clips for every class. A clip beside those folders is the one to name.
</label><p class="small" id="folder-said" role="status"></p></div>"""
TO_NAME = "Clip to name"


def theme() -> Any:
    """System fonts alone: nothing is fetched for the page's looks."""
    fonts = ("system-ui", "sans-serif")
    return gr.themes.Default(primary_hue="blue", neutral_hue="slate", font=fonts, font_mono=("monospace",))


def script(limits: Limits) -> str:
    """What the browser runs, which knows what is taken."""
    taken = {"classes": limits.classes, "clips": limits.clips, "megabytes": limits.megabytes}
    known = json.dumps(taken | {"kinds": sorted(VIDEO_SUFFIXES)})
    return f"<script>window.fsarLimits = {known};\n{(HERE / 'page.js').read_text('utf-8')}</script>"


def build(questions: ClipQuestions, held: Held, method: str, clean: tuple[int, int]) -> gr.Blocks:
    """The page.

    Args:
        questions: answers them.
        held: is told which uploads stand in which box.
        method: its name, as it is shown.
        clean: every how many seconds uploads are looked through, and the age in seconds at which they are deleted.
    """
    limits = questions.limits
    desk = Desk(questions, held)
    with gr.Blocks(title="fsar: name a clip by a few others", analytics_enabled=False, delete_cache=clean) as page:
        gr.Markdown(
            f"# Name a clip by a few others\nGive each class a name and one to {limits.clips} clips, then add one more "
            f"clip to name. Method: {method}. Clips of up to {limits.megabytes:g} MB are read by the machine that "
            "serves this page, and are deleted when they leave the page."
        )
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=280):
                gr.HTML(FOLDER, padding=False)
                example = gr.Button("Fill in an example", size="sm")
                names, clips, strips, rows, more = show_classes(limits)
                target, recorder = show_recorder()
            with gr.Column(scale=6, min_width=280):
                query = gr.File(label=TO_NAME, file_types=sorted(VIDEO_SUFFIXES), height=150, elem_id="query")
                strips.append(gr.HTML(visible=False, padding=False, elem_id="seen-query"))
                go = gr.Button("Name it", variant="primary")
                verdict = gr.HTML(START, elem_id="verdict")
                choice = gr.Radio([], label="Frames matched with those of", visible=False)
                maps = gr.HTML(elem_id="maps")
        empty, made = gr.Button(visible="hidden", elem_id="empty"), gr.Textbox(visible=False)
        shown, found = gr.State(ROWS), gr.State(None)
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        by_reader: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "reader", **quiet}
        more.click(desk.one_more, shown, [shown, *rows, more, target], trigger_mode="multiple", **quiet)
        for box, strip in zip([*clips, query], strips, strict=True):
            box.change(desk.keeper(str(box._id)), box, None, concurrency_limit=None, preprocess=False, **quiet)
            box.change(desk.see, box, strip, preprocess=False, **by_reader)
        given: list[Any] = [*names, *clips, query]
        for each in given:
            each.change(None, given, js=COMPARE % "false")
        empty.click(None, None, given[len(names) :], js=f"() => {json.dumps([None] * (len(clips) + 1))}")
        example.click(desk.example, None, made, **quiet).then(None, made, js="said => {window.fsar.example(said)}")
        recorder.change(None, [recorder, target, *clips, query], [recorder, *clips, query], js="window.fsar.record")
        go.click(None, given, js=COMPARE % "true")
        # preprocess: gradio's leaves an empty temporary file behind for every clip
        go.click(desk.answer, given, [found, verdict, choice, maps], preprocess=False, **by_reader)
        choice.input(desk.pictures, [found, choice], maps, **by_reader)
        page.unload(desk.close)
    return page.queue(max_size=20)


def show_classes(limits: Limits) -> tuple[list[Any], list[Any], list[Any], list[Any], Any]:
    """For every class a name, a box of clips and a strip of players; their rows, and the button for one more."""
    names, clips, strips, rows = [], [], [], []
    for number in range(1, limits.classes + 1):
        with gr.Group(visible=number <= ROWS) as row:
            named: dict[str, Any] = {"label": f"Class {number}", "elem_id": f"name-{number}", "max_lines": 1}
            names.append(gr.Textbox(placeholder="its name, such as waving", **named))
            looks: dict[str, Any] = {"height": 130, "elem_id": f"clips-{number}", "elem_classes": "clips"}
            clips.append(gr.File(file_count="multiple", file_types=sorted(VIDEO_SUFFIXES), show_label=False, **looks))
            strips.append(gr.HTML(visible=False, padding=False, elem_id=f"seen-{number}"))
        rows.append(row)
    return names, clips, strips, rows, gr.Button("Add a class", size="sm", elem_id="more")


def show_recorder() -> tuple[Any, Any]:
    """For which box a recording is, and the camera."""
    with gr.Accordion("Record a clip", open=False, elem_id="record"):
        target = gr.Radio(targets(ROWS), value=TO_NAME, label="For")
        camera = gr.Video(sources=["webcam"], include_audio=False, label="Camera", height=280, elem_id="camera")
    return target, camera


def targets(shown: int) -> list[str]:
    """The boxes that a recording may be for."""
    return [TO_NAME, *(f"Class {number}" for number in range(1, shown + 1))]


class Desk:
    """What happens when something on the page is used.

    Args:
        questions: answers them.
        held: the uploads.
    """

    def __init__(self, questions: ClipQuestions, held: Held) -> None:
        self.questions, self.held = questions, held

    def keeper(self, box: str) -> Any:
        """The listener that is told what stands in a box now."""

        def keep(files: Any, request: gr.Request) -> None:
            self.held.put(str(request.session_hash), box, self.held.paths(files))

        return keep

    def see(self, files: Any) -> Any:
        """A player for every clip of a box, or what is wrong with it."""
        shown = []
        for file in self.held.paths(files):
            try:
                check_file(file, self.questions.limits)
                shown.append(clip_html(self.questions.see(file), file, self.held.token(file)))
            except Refused as error:
                shown.append(error_html(str(error)))
        return gr.update(value=f'<div class="fsar seen">{"".join(shown)}</div>', visible=bool(shown))

    def example(self) -> str:
        """Clips to try the page with."""
        return render_example()

    def one_more(self, shown: int) -> list[Any]:
        """One class more than the ``shown`` ones, while there are any."""
        most = self.questions.limits.classes
        rows = (gr.update(visible=i <= shown) for i in range(most))
        return [shown + 1, *rows, gr.update(visible=shown + 1 < most), gr.update(choices=targets(shown + 1))]

    def close(self, request: gr.Request) -> None:
        """The page was closed: its clips go."""
        self.held.forget(str(request.session_hash))

    def answer(self, *values: Any) -> Iterator[tuple[Any, ...]]:
        """From the names, the clips of every class and the query: what is being done, and then the answer with the map
        of its first class."""
        rows, hidden = self.questions.limits.classes, gr.update(visible=False)
        try:
            clips = [self.held.paths(files) for files in values[rows:]]
            query = str(next(iter(clips.pop()), ""))
            support = collect(values[:rows], clips, query, self.questions.limits)
            for doing in self.questions.reading(support, query):
                yield None, said_html(doing), hidden, ""
            yield None, said_html("Comparing the clips"), hidden, ""
            found = self.questions.answer(support, query)
        except Refused as error:
            yield None, error_html(str(error)), hidden, ""
            return
        if not found["maps"]:
            yield found, verdict_html(found, query), hidden, no_map_html()
            return
        names = [name for name, _ in found["ranking"]]
        yield found, verdict_html(found, query), hidden, said_html("Drawing which frames were matched")
        choice = gr.update(choices=names, value=names[0], visible=True)
        yield found, verdict_html(found, query), choice, self.pictures(found, names[0])

    def pictures(self, found: ShownAnswer | None, name: str) -> str:
        """How the query was matched with a class."""
        if found is None or name not in found["maps"]:
            return no_map_html()
        try:
            summed = float(found["maps"][name][1].max()) > 1 + 1e-4  # a path of two directions
            return maps_html(self.questions.pictures(found, name), found["matched"][name], name, summed)
        except Refused as error:
            return error_html(str(error))
