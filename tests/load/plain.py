"""The plain route that the service is measured against: every visitor's maps computed anew, one after another, behind
a bare HTTP server without queue, batching or cache.

python -m tests.load.plain PORT. POST /maps?ids=...&patches=... with a picture's bytes answers with its factors; GET
/healthz says that it is up.
"""

from __future__ import annotations

import sys
import threading

import torch
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gramviz.checkpoints.manifest import CheckpointStore
from gramviz.serving.settings import shipped_models
from gramviz.serving.views import view_of
from gramviz.vit.features import extract
from gramviz.vit.images import read_picture, to_jpeg


def application() -> Starlette:
    """The app, with its networks in memory after first use."""
    store, device, lock = CheckpointStore.open(shipped_models()), torch.device("cpu"), threading.Lock()
    networks = {}

    def maps(content: bytes, ids: list[str], patches: int) -> bytes:
        with lock:
            picture = read_picture(content)
            parts = [to_jpeg(picture)]
            for key in ids:
                if key not in networks:
                    networks[key] = store.load(key, device)
                view = view_of(store.get(key), extract(networks[key], picture, patches), 0.0)
                parts += [view.factor, view.colours]
            return b"".join(parts)

    async def answer(request: Request) -> Response:
        ids, patches = request.query_params["ids"].split(","), int(request.query_params["patches"])
        return Response(await run_in_threadpool(maps, await request.body(), ids, patches))

    return Starlette(
        routes=[
            Route("/maps", answer, methods=["POST"]),
            Route("/healthz", lambda request: PlainTextResponse("ok")),
        ]
    )


if __name__ == "__main__":
    uvicorn.run(application(), port=int(sys.argv[1]), log_level="warning")
