"""The generator: (what it is, the input) pairs, the same for the same seed."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image

Made = Iterator[tuple[str, bytes]]
WRITABLE = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "TIFF",
    "BMP",
    "AVIF",
    "PPM",
    "TGA",
    "ICO",
    "PCX",
    "SGI",
    "EPS",
    "PDF",
)
MODES = ("RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "I", "F", "I;16")
SIZES = ((24, 20), (16, 16), (1, 1), (1, 400), (700, 17), (15, 300), (64, 48))
SCRIPT = b"<script>alert(1)</script>"


def images(rng: np.random.Generator, count: int) -> Made:
    """Files of every format that Pillow writes here, whole and spoiled, and some that are made by hand."""
    whole = list(_whole(rng))
    yield from _by_hand()
    yield from whole[: max(0, count)]
    for index in range(max(0, count - len(whole))):
        name, data = whole[int(rng.integers(len(whole)))]
        spoil = SPOILS[index % len(SPOILS)]
        yield f"{name}, {spoil.__name__[1:]}", spoil(rng, data)


def _whole(rng: np.random.Generator) -> Made:
    for kind in WRITABLE:
        for mode in MODES:
            for size in SIZES:
                pixels = rng.integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
                image = _in_mode(pixels, mode)
                target = io.BytesIO()
                try:
                    image.save(target, kind, **_extras(rng, kind))
                except Exception:  # whatever Pillow says of it:
                    continue  # this format has no such mode
                yield f"{kind} {mode} {size[0]}x{size[1]}", target.getvalue()


def _in_mode(pixels: np.ndarray, mode: str) -> Image.Image:
    if mode == "F":
        values = pixels[..., 0].astype(np.float32)
        values[0, 0] = np.nan
        return Image.fromarray(values)
    if mode == "I":
        return Image.fromarray(pixels[..., 0].astype(np.int32) * 70_000)
    if mode == "I;16":
        return Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    return Image.fromarray(pixels, "RGBA").convert(mode)


def _extras(rng: np.random.Generator, kind: str) -> dict[str, Any]:
    """Odd EXIF, odd profiles, several frames."""
    chosen: dict[str, Any] = {}
    if kind in ("JPEG", "PNG", "WEBP", "TIFF") and rng.random() < 0.5:
        exif = Image.Exif()
        exif[274] = int(rng.integers(0, 12))  # orientations beyond 8 are none
        exif[270] = SCRIPT.decode()
        chosen["exif"] = exif
    if kind in ("JPEG", "PNG", "WEBP", "TIFF") and rng.random() < 0.3:
        chosen["icc_profile"] = rng.bytes(int(rng.integers(1, 400)))
    if kind in ("GIF", "PNG", "WEBP", "TIFF") and rng.random() < 0.2:
        chosen |= {"save_all": True, "append_images": [Image.new("RGB", (24, 20), "red")]}
    return chosen


def _cut(rng: np.random.Generator, data: bytes) -> bytes:
    return data[: int(rng.integers(0, len(data)))]


def _flipped(rng: np.random.Generator, data: bytes) -> bytes:
    spoiled = bytearray(data)
    for place in rng.integers(0, len(spoiled), int(rng.integers(1, 20))):
        spoiled[place] ^= 1 << int(rng.integers(8))
    return bytes(spoiled)


def _head_overwritten(rng: np.random.Generator, data: bytes) -> bytes:
    spoiled = bytearray(data)
    start = int(rng.integers(4, max(5, min(len(data), 60))))
    noise = rng.bytes(int(rng.integers(1, 16)))
    spoiled[start : start + len(noise)] = noise
    return bytes(spoiled)


def _with_largest_numbers(rng: np.random.Generator, data: bytes) -> bytes:
    """Sizes and counts in headers are four bytes; here some are as large as they can be."""
    spoiled = bytearray(data)
    for start in rng.integers(0, max(1, min(len(data), 200) - 4), 3):
        spoiled[start : start + 4] = rng.choice(
            [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x00"]
        )
    return bytes(spoiled)


def _followed_by_a_page(rng: np.random.Generator, data: bytes) -> bytes:
    return data + b"<html>" + SCRIPT + b"</html>" + rng.bytes(10)


def _preceded(rng: np.random.Generator, data: bytes) -> bytes:
    return (
        rng.choice([b"GIF89a/*", b"%PDF-1.4\n", b"PK\x03\x04", b"\xff\xd8\xff", b"<svg onload=alert(1)>"])
        + data
    )


def _joined(rng: np.random.Generator, data: bytes) -> bytes:
    half = int(rng.integers(1, max(2, len(data))))
    return data[:half] + data[: len(data) - half][::-1]


SPOILS: tuple[Callable[[np.random.Generator, bytes], bytes], ...] = (
    _cut,
    _flipped,
    _head_overwritten,
    _with_largest_numbers,
    _followed_by_a_page,
    _preceded,
    _joined,
)


def _png(width: int, height: int, body: bytes, *more: tuple[bytes, bytes]) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rest = b"".join(chunk(kind, data) for kind, data in more)
    return b"\x89PNG\r\n\x1a\n" + head + rest + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def _by_hand() -> Made:
    yield "nothing", b""
    yield "one byte", b"\x89"
    yield "zeros", bytes(100_000)
    yield "a page", b"<html>" + SCRIPT + b"</html>"
    yield (
        "an SVG that asks a host",
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1:1/x"/></svg>',
    )
    yield "PNG bomb by its size", _png(60_000, 60_000, bytes(10))
    yield "PNG of 2^31 - 1 pixels a side", _png(2**31 - 1, 2**31 - 1, b"")
    yield "PNG with no width", _png(0, 10, b"")
    yield "PNG bomb by what it holds", _png(32, 32, bytes(80_000_000))
    for kind in (b"zTXt", b"iCCP"):
        bomb = b"a\0\0" + zlib.compress(bytes(30_000_000))
        yield f"PNG with a bomb in {kind.decode()}", _png(32, 32, bytes(32 * 97), (kind, bomb))
    yield "GIF of 65535 x 65535", b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x08\0;"
    sizes = (100, 0, 0, 54, 40, 32, -(2**31), 1, 24, 0, 0, 1, 1, 0, 0)
    yield "BMP of negative height", b"BM" + struct.pack("<IHHIIiiHHIIiiII", *sizes)
    yield "TIFF whose directory is itself", b"II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 330, 4, 1, 8, 8)
    yield "TIFF with 65535 entries", b"II*\0\x08\0\0\0\xff\xff" + bytes(12 * 100)
    yield "WebP that says it is longer", b"RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\x7f" + bytes(50)
    yield "JPEG of nothing but markers", b"\xff\xd8\xff" + b"\xe0\x00\x02\xff" * 20_000
    yield "AVIF of nothing but a box", b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miaf" + bytes(40)


# ---- archives


def archives(rng: np.random.Generator, count: int) -> Made:
    """Zip files with traversal, bombs, locks and lies."""
    picture = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)).save(picture, "PNG")
    good = picture.getvalue()
    for name in NAMES:
        yield f"a member named {name[:40]!r}", packed({name + ".png": good})
    yield "empty", packed({})
    yield "600 pictures", packed({f"{i}.png": good for i in range(600)})
    yield "a bomb", packed({"a.png": bytes(200 * 2**20)})
    yield "a zip in a zip", packed({"a.zip": packed({"a.png": good})})
    yield "no zip", b"PK\x03\x04" + bytes(100)
    base = packed({"a.png": good, "b.jpg": rng.bytes(500), "c.gif": b""})
    for index in range(count):
        spoil = SPOILS[index % len(SPOILS)]
        yield f"spoiled, {spoil.__name__[1:]}", spoil(rng, base)


def packed(members: dict[str, bytes]) -> bytes:
    """A zip file."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return target.getvalue()


# ---- weights


def weights(rng: np.random.Generator, count: int) -> Made:
    """Safetensors files with lying heads, and what is none."""

    def file(head: Any, body: bytes) -> bytes:
        text = head if isinstance(head, bytes) else json.dumps(head).encode()
        return struct.pack("<Q", len(text)) + text + body

    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    heads: list[Any] = [
        {"a": {**entry, "shape": [2**40]}},
        {"a": {**entry, "shape": [-1]}},
        {"a": {**entry, "data_offsets": [0, 2**60]}},
        {"a": {**entry, "data_offsets": [8, 0]}},
        {"a": {**entry, "dtype": "PICKLE"}},
        {"a": entry, "b": entry},
        {"__metadata__": {"gramviz": "[" * 10_000}},
        {"__metadata__": {"gramviz": "3"}, "a": entry},
        {"__metadata__": 3},
        {"a": 3},
        [],
        b"{",
        b"[" * 50_000,
        b"\xff\xfe",
        b"",
    ]
    for head in heads:
        yield f"head {str(head)[:50]}", file(head, struct.pack("<ff", 1, float("nan")))
    yield "a head of 2^62 bytes", struct.pack("<Q", 2**62) + b"{}"
    yield (
        "a pickle",
        b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    )
    base = file({"a": entry}, struct.pack("<ff", 1, 2))
    for index in range(count):
        spoil = SPOILS[index % len(SPOILS)]
        yield f"spoiled, {spoil.__name__[1:]}", spoil(rng, base)


# ---- values and names

NAMES = (
    *(
        "",
        ".",
        "..",
        "../../../../etc/passwd",
        "/etc/passwd",
        "C:\\Windows\\win.ini",
        "a" * 5000,
        "\0",
        "a\nb",
    ),
    *(
        "\u202egnp.exe",
        "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
        "e\u0301" * 300,
        "%2e%2e%2f",
    ),
    *(
        "http://127.0.0.1:1/",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "javascript:alert(1)",
    ),
    *(
        "<img src=x onerror=alert(1)>",
        "'; DROP TABLE x;--",
        "{{7*7}}",
        "${7*7}",
        "CON",
        "hf-hub:../x",
        "__proto__",
    ),
)
NUMBERS = (0, -1, 1, 2**31, -(2**63), 2**200, 1e308, float("inf"), float("nan"), 0.1, True, 10**400)


def values(rng: np.random.Generator, count: int) -> Iterator[Any]:
    """JSON-able values of wrong shapes, with the keys that the page's values have."""
    keys = (
        *(
            "token",
            "sample",
            "file",
            "patches",
            "ids",
            "layer",
            "run",
            "columns",
            "plan",
            "place",
            "files",
            "values",
        ),
        *(
            "checkpoint",
            "source",
            "action",
            "number",
            "index",
            "id",
            "what",
            "kind",
            "tab",
            "pins",
            "pointer",
            "cls",
        ),
        *(
            "view",
            "scale",
            "basis",
            "a",
            "b",
            "theory",
            "tuned",
            "card",
            "head",
            "looks",
            "curves",
            "grid",
            "path",
            "x",
        ),
    )
    good = {
        "token": 1,
        "sample": "coffee",
        "file": None,
        "patches": 14,
        "layer": -1,
        "ids": ["small-plain-8000"],
    }
    good |= {
        "run": "small",
        "columns": 1,
        "what": "numbers",
        "kind": "json",
        "tab": "explore",
        "pins": [],
        "cls": False,
    }
    good |= {"pointer": {"x": 0.5, "y": 0.5}, "view": "similarity", "scale": "unit", "basis": "own"}
    good |= {
        "checkpoint": "small-plain-8000",
        "source": "photograph",
        "values": {},
        "place": [0.5, 0.5],
        "files": [],
    }
    good |= {"plan": {"start": "small-plain-8000", "steps": 5}}

    def any_value(depth: int) -> Any:
        kind = int(rng.integers(8 if depth else 5))
        if kind == 0:
            return NUMBERS[int(rng.integers(len(NUMBERS)))]
        if kind == 1:
            return NAMES[int(rng.integers(len(NAMES)))]
        if kind == 2:
            return None
        if kind == 3:
            return bool(rng.integers(2))
        if kind == 4:
            return rng.choice(["small-plain-8000", "coffee", "explore", "difference", "png"]).item()
        if kind == 5:
            return [any_value(depth - 1) for _ in range(int(rng.integers(4)))]
        return {keys[int(rng.integers(len(keys)))]: any_value(depth - 1) for _ in range(int(rng.integers(5)))}

    for value in (None, [], {}, "x", 3, [[[[[]]]]], {"token": None}, [good], "a" * 100_000):
        yield value
    for index in range(count):
        value = dict(good) if index % 4 else {}
        for _ in range(int(rng.integers(1, 4))):
            value[keys[int(rng.integers(len(keys)))]] = any_value(3)
        yield value
