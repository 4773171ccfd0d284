"""A page over the fake engine, served on a free loopback port from this process."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from gramviz.serving.engine import Engine
from gramviz.ui.files import Files
from gramviz.ui.page import build_page, launch_options
from tests.ui.fake_engine import FakeEngine


def free_port() -> int:
    """A port that is free now; where a port is taken, Gradio's own search leaves a socket open."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(engine: Engine | FakeEngine, folder: Path, **launch: Any) -> Iterator[str]:
    """The address of the page, which opens on a picture that is not square; files go to `folder`."""
    with mock.patch.dict(os.environ, {"GRADIO_TEMP_DIR": str(folder)}):
        files = Files(folder, 2**26)
        page = build_page(engine, files, first_sample="chelsea")
        _, address, _ = page.launch(
            server_name="127.0.0.1",
            server_port=free_port(),
            prevent_thread_lock=True,
            quiet=True,
            app_kwargs={"routes": [files.route()]},
            **{**launch_options(), **launch},
        )
        try:
            yield address
        finally:
            page.close(verbose=False)
