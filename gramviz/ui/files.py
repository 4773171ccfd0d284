"""The page's files: those that visitors uploaded, and those that are made for its scripts to fetch.

What is made is known by its content, kept in memory and served by a route of our own: Gradio checks the path of a
file in a value several times for each visitor, in the one thread that all requests go through.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gramviz.serving.cache import ByteCache
from gramviz.vit.images import Picture, to_jpeg

PREFIX = "files"  # of addresses, relative to the page's
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,80}")
TYPES = {
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".pdf": "application/pdf",
    ".zip": "application/zip",
    ".csv": "text/csv",
    ".json": "application/json",
    ".html": "text/html",
}
# The address tells the content, so it need not be asked for again; what is a visitor's own stays in their browser.
# None is opened as a page of ours: scripts and pictures take what they fetch all the same.
HEADERS = {
    "Cache-Control": "private, max-age=86400, immutable",
    "X-Content-Type-Options": "nosniff",
    "Content-Disposition": "attachment",
}
GONE = "This file is not kept any more; please ask for the picture again."


class Files:
    """Thread-safe. uploads: the folder of Gradio's uploads."""

    def __init__(self, uploads: Path, limit: int) -> None:
        """limit: bytes that are kept of what is made; what was asked for longest ago goes first."""
        self.uploads = uploads
        self._made: ByteCache[bytes] = ByteCache(limit)

    @property
    def used(self) -> int:
        """Bytes of what is made and kept."""
        return self._made.used

    def put(self, content: bytes, name: str) -> dict[str, str]:
        """Keep a file; the value by which the page's scripts fetch it: {"url", "name"}."""
        return self._kept(hashlib.sha256(content).hexdigest(), name, lambda: content)

    def photograph(self, picture: Picture) -> dict[str, str]:
        """A picture as a JPEG file for display, made once for equal pixels; as `put`."""
        return self._kept(picture.digest, "photograph.jpg", lambda: to_jpeg(picture))

    def read(self, url: str) -> bytes | None:
        """The content of a file by its "url", None where it is not kept (any more)."""
        return self._made.get(url)

    def route(self) -> Route:
        """GET /files/<hash>/<name>: the content, or 404."""

        async def fetch(request: Request) -> Response:
            name = request.path_params["name"]
            content = self.read(f"{PREFIX}/{request.path_params['key']}/{name}")
            if content is None:
                return PlainTextResponse(GONE, 404)
            kind = TYPES.get(Path(name).suffix, "application/octet-stream")
            return Response(content, media_type=kind, headers=HEADERS)

        return Route(f"/{PREFIX}/{{key}}/{{name}}", fetch)

    def _kept(self, key: str, name: str, make: Callable[[], bytes]) -> dict[str, str]:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name for a file in an address")
        url = f"{PREFIX}/{key}/{name}"
        if self._made.get(url) is None:
            content = make()
            self._made.put(url, content, len(content))
        return {"url": url, "name": name}
