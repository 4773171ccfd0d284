"""A Hub on loopback: repositories of files in memory, answered as huggingface_hub's client asks."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import safetensors.torch
import timm
import torch

SMALL = {"embed_dim": 48, "depth": 2, "num_heads": 3, "img_size": 32, "patch_size": 16}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
_FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
_MODEL = re.compile(r"/api/models/(?P<repo>[^/]+/[^/?]+)(/revision/(?P<revision>[^?]+))?(\?.*)?")


@dataclass
class Repository:
    """files: name -> content. gated: files are refused. cut: bytes after which a download breaks off, once."""

    files: dict[str, bytes]
    licence: str = "apache-2.0"
    gated: bool = False
    status: int = 200
    cut: int | None = None


def timm_repository(
    architecture: str = "vit_tiny_patch16_224", options: Any = SMALL, classes: int = 10
) -> tuple[Repository, Any]:
    """Files as timm pushes them: a classifier and all, and the network they are of."""
    torch.manual_seed(0)
    network = timm.create_model(architecture, num_classes=classes, **options).eval()
    config = {
        "architecture": architecture,
        "num_classes": classes,
        "model_args": dict(options),
        "pretrained_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]},
    }
    weights = safetensors.torch.save(
        {name: value.contiguous() for name, value in network.state_dict().items()}
    )
    files = {
        "config.json": json.dumps(config).encode(),
        "model.safetensors": weights,
        "README.md": b"# A model",
    }
    return Repository(files), network


@dataclass
class StubHub:
    """What is there, and what was asked for."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    address: str = ""
    token: str = "hf_stub"
    private: dict[str, bool] = field(default_factory=dict)


@contextlib.contextmanager
def stub_hub() -> Iterator[StubHub]:
    """A running one; its `address` is an HF_ENDPOINT."""
    hub = StubHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def answer(self, status: int, body: bytes, headers: dict[str, str], *, whole: bool) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if whole:
                self.wfile.write(body)

        def refuse(self, status: int, code: str, *, whole: bool) -> None:
            self.answer(
                status, b'{"error": "no"}', {"X-Error-Code": code, "X-Error-Message": "no"}, whole=whole
            )

        def handle_any(self, *, whole: bool) -> None:
            hub.asked.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
            if found := _MODEL.fullmatch(self.path):
                return self.describe(found["repo"], found["revision"], whole=whole)
            if found := _FILE.fullmatch(self.path):
                return self.give(found["repo"], found["revision"], found["file"], whole=whole)
            return self.refuse(404, "RepoNotFound", whole=whole)

        def describe(self, name: str, revision: str | None, *, whole: bool) -> None:
            repository = hub.repositories.get(name)
            if repository is None:
                return self.refuse(401, "RepoNotFound", whole=whole)
            if repository.status != 200:
                return self.refuse(repository.status, "", whole=whole)
            if revision not in (None, "main", COMMIT):
                return self.refuse(404, "RevisionNotFound", whole=whole)
            siblings = [{"rfilename": file, "size": len(data)} for file, data in repository.files.items()]
            told = {
                "id": name,
                "modelId": name,
                "sha": COMMIT,
                "private": False,
                "siblings": siblings,
                "tags": [],
            }
            told |= {
                "gated": "auto" if repository.gated else False,
                "cardData": {"license": repository.licence},
            }
            self.answer(200, json.dumps(told).encode(), {"Content-Type": "application/json"}, whole=whole)
            return None

        def give(self, name: str, revision: str, file: str, *, whole: bool) -> None:
            repository = hub.repositories.get(name)
            if repository is None:
                return self.refuse(401, "RepoNotFound", whole=whole)
            if repository.gated:
                return self.refuse(403, "GatedRepo", whole=whole)
            if file not in repository.files:
                return self.refuse(404, "EntryNotFound", whole=whole)
            data = repository.files[file]
            headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
            headers |= {"X-Linked-Size": str(len(data)), "Accept-Ranges": "bytes"}
            start = 0
            if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                start = int(wanted[1])
                headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            body = data[start:]
            if whole and repository.cut is not None and file.endswith(".safetensors"):
                short, repository.cut = body[: repository.cut], None
                self.send_response(206 if start else 200)
                for key, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(short)
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()
                return None
            return self.answer(206 if start else 200, body, headers, whole=whole)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            hub.asked.append(f"POST {self.path}")
            if self.headers.get("Authorization") != f"Bearer {hub.token}":
                return self.refuse(401, "", whole=True)
            if self.path == "/api/repos/create":
                told = json.loads(body)
                name = (
                    f"{told['organization']}/{told['name']}"
                    if told.get("organization")
                    else f"me/{told['name']}"
                )
                hub.private[name] = bool(told.get("private", told.get("visibility") == "private"))
                hub.repositories.setdefault(name, Repository({}))
                return self.say({"url": f"{hub.address}/{name}", "id": name})
            if self.path == "/api/validate-yaml":
                return self.say({"errors": [], "warnings": []})
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/[^/?]+(\?.*)?", self.path):
                files = [
                    {"path": each["path"], "uploadMode": "regular"} for each in json.loads(body)["files"]
                ]
                return self.say({"files": [{**each, "shouldIgnore": False} for each in files]})
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/[^/?]+(\?.*)?", self.path):
                for line in map(json.loads, body.decode().splitlines()):
                    if line["key"] == "file":
                        content = base64.b64decode(line["value"]["content"])
                        hub.repositories[found[1]].files[line["value"]["path"]] = content
                address = f"{hub.address}/{found[1]}/commit/{COMMIT}"
                return self.say(
                    {"success": True, "commitOid": COMMIT, "commitUrl": address, "hookOutput": ""}
                )
            return self.refuse(404, "", whole=True)

        def say(self, told: dict[str, object]) -> None:
            self.answer(200, json.dumps(told).encode(), {"Content-Type": "application/json"}, whole=True)

        def do_GET(self) -> None:
            self.handle_any(whole=True)

        def do_HEAD(self) -> None:
            self.handle_any(whole=False)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
