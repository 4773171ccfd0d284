"""A visitor over plain HTTP: the same requests that the page's scripts make, without a browser.

Speaks Gradio's queue (POST queue/join, then one stream of server-sent events a session, in which all but the first
value of a generator come as differences) and its uploads. Knows nothing of the package.
"""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
from gradio_client.utils import apply_diff

PATIENCE = 120.0


@dataclass(frozen=True)
class Pages:
    """Where the parts of one served page are: function indices by what they do."""

    address: str
    compare: int
    tune: int
    ask: int
    functions: dict[int, dict[str, Any]]

    @staticmethod
    def read(address: str) -> Pages:
        """From the page's own description of itself."""
        config = httpx.get(f"{address}config", timeout=PATIENCE).json()
        names = {each["id"]: each["props"].get("elem_id") for each in config["components"]}
        found = {}
        for function in config["dependencies"]:
            for target, event in function["targets"]:
                found[names.get(target), event] = function["id"]
        return Pages(
            address,
            found["gv-chooser", "input"],
            found["gv-tuner", "input"],
            found["gv-tuner", "select"],
            {function["id"]: function for function in config["dependencies"]},
        )


class RefusedError(Exception):
    """The service refused an event: the status code and what it said."""


class Visitor:
    """One session, with connections of its own as a browser has."""

    def __init__(self, pages: Pages) -> None:
        # Without encryption, whose set-up would cost more than all the rest; connections are given up before the
        # server closes them, which is after 5 s: httpx, unlike a browser, does not ask again on a new one.
        limits = httpx.Limits(keepalive_expiry=2.0)
        self.client, self.pages = httpx.AsyncClient(verify=False, trust_env=False, limits=limits), pages
        self.session = uuid.uuid4().hex
        self.tokens = 0

    async def __aenter__(self) -> Visitor:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()

    async def events(
        self, function: int, data: list[Any], event_data: Any = None
    ) -> AsyncIterator[dict[str, Any]]:
        """The values of a function's first output, one after another, until it is done. Raises RefusedError."""
        body = {
            "data": data,
            "fn_index": function,
            "session_hash": self.session,
            "trigger_id": None,
            "event_data": event_data,
        }
        joined = await self.client.post(
            f"{self._api}queue/join",
            content=json.dumps(body),  # in ASCII, which can hold what UTF-8 cannot
            headers={"Content-Type": "application/json"},
            timeout=PATIENCE,
        )
        if joined.status_code != 200:
            raise RefusedError(joined.status_code, joined.text)
        mine, value = joined.json()["event_id"], None
        stream = self.client.stream(
            "GET", f"{self._api}queue/data", params={"session_hash": self.session}, timeout=PATIENCE
        )
        async with stream as answer, contextlib.aclosing(answer.aiter_lines()) as lines:
            async for line in lines:
                # where many wait, most of what comes are places in Gradio's queue
                if not line.startswith("data:") or '"msg":"estimation"' in line[:64]:
                    continue
                message = json.loads(line[5:])
                if message.get("event_id") not in (mine, None):
                    continue
                if message["msg"] == "process_generating":
                    told = message["output"].get("data")
                    if not message["success"] or told is None:
                        raise RefusedError(500, message["output"])
                    value = told[0] if value is None else apply_diff(value, told[0])
                    yield value
                elif message["msg"] == "process_completed":
                    if not message["success"]:
                        raise RefusedError(500, message["output"])
                    told = message["output"].get("data") or []
                    # a generator repeats its last value
                    if value is None and told:
                        yield told[0]
                    return
                elif message["msg"] == "unexpected_error":
                    raise RefusedError(500, message)

    async def upload(self, content: bytes, name: str = "own.png") -> dict[str, Any]:
        """Upload a file; the value that names it."""
        answer = await self.client.post(
            f"{self._api}upload", files={"files": (name, content)}, timeout=PATIENCE
        )
        if answer.status_code != 200:
            raise RefusedError(answer.status_code, answer.text)
        return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}

    def choice(
        self,
        ids: list[str],
        *,
        sample: str | None = None,
        file: dict[str, Any] | None = None,
        patches: int = 28,
    ) -> dict[str, Any]:
        """The chooser's value: what to compare."""
        self.tokens += 1
        return {
            "token": self.tokens,
            "sample": sample,
            "file": file,
            "patches": patches,
            "layer": -1,
            "ids": ids,
        }

    async def fetch(self, file: dict[str, Any]) -> bytes:
        """The content of a file that a value names."""
        answer = await self.client.get(f"{self.pages.address}{file['url']}", timeout=PATIENCE)
        answer.raise_for_status()
        return answer.content

    async def ask(self, action: str, **more: Any) -> dict[str, Any]:
        """The answer to one of the fine-tune tab's small wishes."""
        wish = {"token": self.tokens, "action": action, **more}
        async for value in self.events(self.pages.ask, [], wish):
            return value
        raise AssertionError(f"nothing came back from {action}")

    def tune(self, choice: dict[str, Any], plan: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """The values of a fine-tune on the chosen picture."""
        wish = {"token": choice["token"], "plan": plan, "place": [0.5, 0.5], "files": []}
        return self.events(self.pages.tune, [choice], wish)

    @property
    def _api(self) -> str:
        return f"{self.pages.address}gradio_api/"
