"""A page over the fake engine, served on a free loopback port from this process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from gramviz.ui.page import build_page, launch_options
from tests.ui.fake_engine import FakeEngine


@contextmanager
def serving(engine: FakeEngine, folder: Path) -> Iterator[str]:
    """The address of the page; uploads and cached files go to `folder`."""
    with mock.patch.dict(os.environ, {"GRADIO_TEMP_DIR": str(folder)}):
        page = build_page(engine)
        _, address, _ = page.launch(
            server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, **launch_options()
        )
        try:
            yield address
        finally:
            page.close(verbose=False)
