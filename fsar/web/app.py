"""``fsar-demo``: a page on this machine, to name clips by a few others in a browser.

``fsar-demo RUN``, or ``fsar-demo --encoder fsar-tiny:shapes`` for a frozen CLIP alone.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from fsar.terminal.failure import Options, one_message
from fsar.terminal.user_code import find_user_code
from fsar.web.hosts import is_loopback
from fsar.web.questions import ClipQuestions, make_predictor
from fsar.web.uploads import Held, Limits
from fsar.web.worker import Worker

DESCRIPTION = """A page on this machine: name classes, drop one to five clips of each and one more clip, and see which
class it is taken for, how sure the method is, and which frames were matched. The classes need not have been trained on.
Clips are deleted when they leave the page, when it is closed, and when this program ends."""
EPILOG = """Any --model.X and --data.X of `fsar test` may follow a RUN."""
CLEAN_SECONDS = (60, 3600)  # how often uploads are looked through, and the age at which they go in any case
QUIET = {  # no word to anyone about this page being used
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}


def main(args: list[str] | None = None, program: str = "fsar-demo") -> None:
    """Entry point; any failure is one message that begins with ``program``, and exit status 2 or 1."""
    own, overrides = read(sys.argv[1:] if args is None else args, program)
    if find_spec("gradio") is None:
        sys.exit(f"{program}: the page needs gradio, which is not installed: pip install 'fsar[web]'")
    with one_message(own.debug, program):
        serve(own, overrides)


def read(args: list[str], program: str = "fsar-demo") -> tuple[argparse.Namespace, list[str]]:
    """Our own options, and those that are handed on to the configuration."""
    limits = Limits()
    parser = Options(DESCRIPTION, EPILOG, prog=program)
    parser.add_argument("run", nargs="?", help="run folder, published folder, or Hugging Face repository user/name")
    parser.add_argument("--checkpoint", default="best", choices=("best", "last"), help="of a run folder")
    parser.add_argument(
        "--encoder", metavar="MODEL[:WEIGHTS]", help="a frozen encoder alone: ViT-B-16:openai, timm:NAME"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, ...; by default a GPU when there is one")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on; by default this machine alone")
    parser.add_argument("--port", type=int, default=7860, help="port to serve on (default: 7860)")
    parser.add_argument(
        "--megabytes", type=float, default=limits.megabytes, help="size of a clip at most (default: 50)"
    )
    parser.add_argument("--seconds", type=float, default=limits.seconds, help="to decode a clip at most (default: 20)")
    own, rest = parser.own_and_others(args)
    if (own.run is None) == (own.encoder is None):
        parser.error("name the method: either a RUN or --encoder MODEL[:WEIGHTS].")
    if own.encoder and rest:
        parser.error(f"{rest[0]} goes with a RUN; --encoder stands for a fixed method.")
    if own.megabytes <= 0 or own.seconds <= 0:
        parser.error("--megabytes and --seconds must be positive.")
    return own, rest


def serve(own: argparse.Namespace, overrides: list[str]) -> None:
    """Serve the page until interrupted; then nothing of it is left on disk."""
    find_user_code()
    signal.signal(signal.SIGTERM, end)
    limits = Limits(megabytes=own.megabytes, seconds=own.seconds)
    status = 128 + signal.SIGTERM  # of a page that is told to end before it answers
    with suppress(Ended), tempfile.TemporaryDirectory(prefix="fsar-demo-", ignore_cleanup_errors=True) as name:
        os.environ |= {**QUIET, "GRADIO_TEMP_DIR": name}  # before gradio is imported
        make = partial(make_predictor, own.run, own.checkpoint, own.encoder, overrides, own.device)
        worker = Worker(make, Path(name), own.debug)
        try:
            app = start(own, ClipQuestions(worker, limits), Held(Path(name)))
            try:
                worker.ready()
            except RuntimeError as error:
                sys.exit(f"fsar: {error}\n(--debug shows where)")
            status = 0
            print(f"{describe(own)} answers on http://{own.host}:{app.server_port}   (Ctrl-C ends it)", flush=True)
            app.block_thread()
        finally:
            worker.close()
    leave(status)


class Ended(BaseException):
    """Raised where the program is when it is told to end, so that the folder is deleted then as well."""


def end(*_: object) -> NoReturn:
    """What SIGTERM does."""
    raise Ended


def leave(status: int) -> NoReturn:
    """End at once.

    The server's threads are daemons. An interpreter that ends in its usual way unwinds them wherever they are, and one
    that is in compiled code then aborts the whole process.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def start(own: argparse.Namespace, questions: ClipQuestions, held: Held) -> Any:
    """The page, being served: no link to share, no telemetry, nothing that it does not need."""
    from starlette.middleware import Middleware

    from fsar.web.guard import Guard
    from fsar.web.page import CSS, build, script, theme

    here = is_loopback(own.host)
    if not here:
        print(
            f"WARNING: --host {own.host} lets every machine that reaches this one use the page and send it "
            "files. There is no password.",
            file=sys.stderr,
        )
    guard = Middleware(Guard, held=held, limits=questions.limits, only_local=here)
    page = build(questions, held, describe(own), CLEAN_SECONDS)
    port_is_free(own.host, own.port)
    page.launch(
        server_name=own.host,
        server_port=own.port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        ssr_mode=False,
        run_history=False,
        footer_links=[],
        max_file_size=int(questions.limits.megabytes * 2**20),
        state_session_capacity=50,
        app_kwargs={"middleware": [guard]},
        theme=theme(),
        css=CSS,
        head=script(questions.limits),
    )
    return page


def port_is_free(host: str, port: int) -> None:
    """Raises ValueError when something else answers there, or the address is not one of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise ValueError(
                f"--host {host} --port {port} cannot be served on ({error}): is another page running? Name another."
            ) from error


def describe(own: argparse.Namespace) -> str:
    """The method in a few words."""
    if own.run:
        return f"run {Path(own.run).name}"
    return f"frozen {':'.join(part.rsplit('/', 1)[-1] for part in own.encoder.split(':'))} with OTAM"
