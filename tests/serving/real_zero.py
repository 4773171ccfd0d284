"""A fine-tune over the real package `spaces`, in a process of its own, since it changes torch for all of one.

Its device API is a stub on loopback, and its two functions that take a GPU do nothing. `python -m
tests.serving.real_zero FOLDER` writes the weights to FOLDER/mine.safetensors and what it saw to FOLDER/seen.json.
"""

import json
import multiprocessing
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock


def device_api(asked: list[str]) -> str:
    """The address of a server that lends a GPU to whoever asks."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(self.path)
            told = {"idle": True, "nvidiaIndex": 0, "nvidiaUUID": "x", "allowToken": "t"}
            body = json.dumps(told if self.path.startswith("/schedule") else {}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


def main(folder: Path) -> None:
    asked: list[str] = []
    os.environ |= {"SPACES_ZERO_GPU": "true", "SPACES_ZERO_DEVICE_API_URL": device_api(asked)}

    # in the order in which app.py has them: the engine imports spaces, before the page is launched
    import torch

    from gramviz.checkpoints.files import save_tensors
    from gramviz.serving.engine import Engine
    from gramviz.serving.lab import CARDS
    from gramviz.serving.settings import Settings
    from tests.serving.test_zero import picture, request, steps_of, weights
    from tests.stores import add_heads, make_store

    make_store(folder)
    add_heads(folder, "tiny-plain-2000")
    engine = Engine.from_settings(Settings(threads=1, models=folder, added=folder / "none"))
    import spaces.zero.client
    import spaces.zero.torch

    seen: dict[str, Any] = {"engine": type(engine._compute).__name__, "patched": torch.cuda.is_available()}
    spaces.zero.client.startup_report()  # as at a launch
    nothing = mock.patch.multiple(spaces.zero.torch, init=lambda *_: None, move=lambda **_: None)
    with nothing, mock.patch("gramviz.serving.zero_finetune.SLICE", 0):
        updates = list(engine.finetune(request(), "ann"))
    seen |= {"sentence": updates[-1].sentence, "steps": steps_of(updates)}
    save_tensors(folder / "mine.safetensors", weights(engine), {})
    seen["calls"] = [path.partition("?")[0] for path in asked]
    seen["asked"] = [path for path in asked if path.startswith("/schedule")]
    # torch as it is there still computes everything else
    ids = [info.id for info in engine.checkpoints()]
    seen["views"] = len(list(engine.compare(picture(), ids, 8)))
    seen["cards"] = [
        engine.theory(picture(), "tiny-plain-2000", card.name, {}).holds is not None for card in CARDS
    ]
    (folder / "seen.json").write_text(json.dumps(seen), encoding="utf-8")
    for waiting in multiprocessing.active_children():
        waiting.kill()  # for more work, as it does on a Space; it would outlive this process
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
