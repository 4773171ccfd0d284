"""What whoever runs the service needs: health, metrics, a limit on bodies, and the start of the page with them.

Nothing here tells of a visitor. GET /healthz answers 200 with {"status": "ok", ...} or 503; GET /metrics answers in
Prometheus' text format.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio.to_thread
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gramviz.serving.compute import MIB
from gramviz.serving.engine import Engine
from gramviz.serving.monitoring import CONTENT_TYPE
from gramviz.ui.files import Files
from gramviz.ui.page import build_page, launch_options

PATIENCE = 5.0  # seconds that a healthy service may take to say so
OVERHEAD = 2**20  # bytes of a request beside the file in it
THREADS = 320  # for events that run side by side; most of them sleep in the engine's queue


def serve(engine: Engine, **launch: Any) -> None:
    """Serve the page until it is stopped. launch: further keywords of `Blocks.launch`, such as server_port."""
    files = Files(Path(get_upload_folder()), engine.settings.page_cache * MIB)
    engine.monitor.watch("file_bytes", lambda: files.used)
    page = build_page(engine, files)
    page.launch(**{**launch_options(), **service_options(engine, files), **launch})


def service_options(engine: Engine, files: Files) -> dict[str, Any]:
    """Keywords of `Blocks.launch` that add the routes and the limit on bodies."""
    settings = engine.settings
    limit = settings.image_mib * MIB + OVERHEAD
    uploads = max(limit, settings.model_mib * MIB + OVERHEAD)
    return {
        "max_threads": THREADS,
        "max_file_size": uploads,
        "app_kwargs": {
            "routes": [files.route(), *routes(engine, metrics=settings.metrics)],
            "middleware": [Middleware(BodyLimit, limit=limit, uploads=uploads)],
        },
    }


def routes(engine: Engine, *, metrics: bool) -> list[Route]:
    """/healthz, and /metrics if wanted."""

    async def healthz(_: Request) -> Response:
        well = await anyio.to_thread.run_sync(engine.healthy, PATIENCE)
        told = {"status": "ok" if well else "unwell", "notice": engine.notice, **engine.status()}
        return JSONResponse(told, 200 if well else 503)

    async def text(_: Request) -> Response:
        return Response(await anyio.to_thread.run_sync(engine.monitor.text), media_type=CONTENT_TYPE)

    found = [Route("/healthz", healthz)]
    return [*found, Route("/metrics", text)] if metrics else found


class BodyLimit:
    """ASGI middleware: a body of more than `limit` bytes, or `uploads` where files are uploaded, is refused with 413,
    by what its head says of it or, where that says nothing, as soon as more has come.
    """

    def __init__(self, app: ASGIApp, limit: int, uploads: int) -> None:
        self._app, self._limit, self._uploads = app, limit, uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = self._uploads if scope["path"].endswith("/upload") else self._limit
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > most:
            await refusal(most)(scope, receive, send)
            return
        taken, begun = 0, False

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:
                raise _TooLargeError
            return message

        async def noticed(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, counted, noticed)
        except _TooLargeError:
            if not begun:
                await refusal(most)(scope, receive, send)


def refusal(most: int) -> Response:
    """What is answered to a body of more than `most` bytes."""
    return PlainTextResponse(f"A request may have at most {most // MIB} MiB; please send less.", 413)


class _TooLargeError(Exception):
    """More of a body came than may."""
