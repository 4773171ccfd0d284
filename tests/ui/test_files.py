"""Files that the page's scripts fetch: known by content, bounded, and served as what they are."""

import hashlib

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from gramviz.data.samples import load
from gramviz.ui.files import GONE, Files
from gramviz.vit.images import to_jpeg


def test_a_file_is_named_by_its_content(files):
    first, again, other = files.put(b"abc", "a.bin"), files.put(b"abc", "a.bin"), files.put(b"abd", "a.bin")
    assert first == again != other
    assert first == {"url": f"files/{hashlib.sha256(b'abc').hexdigest()}/a.bin", "name": "a.bin"}
    assert files.read(first["url"]) == b"abc"
    assert files.used == 6


def test_a_photograph_is_made_once_for_equal_pixels(files, monkeypatch):
    picture = load("coffee")
    first = files.photograph(picture)
    assert files.read(first["url"]) == to_jpeg(picture)
    monkeypatch.setattr("gramviz.ui.files.to_jpeg", lambda picture: 1 / 0)
    assert files.photograph(picture) == first


def test_what_was_asked_for_longest_ago_goes_first(tmp_path):
    files = Files(tmp_path, 10)
    old, used = files.put(b"1234", "old"), files.put(b"5678", "used")
    files.read(old["url"])
    files.put(b"abcd", "new")
    assert files.read(used["url"]) is None
    assert files.read(old["url"]) == b"1234"
    assert files.used <= 10


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".a", "a b", "a" * 100, "\u00e9"])
def test_a_name_that_an_address_could_not_hold_is_refused(files, name):
    with pytest.raises(ValueError, match="no name for a file"):
        files.put(b"x", name)


def test_over_http(files):
    browser = TestClient(Starlette(routes=[files.route()]))
    answer = browser.get("/" + files.put(b"\x00\xff", "factor.bin")["url"])
    assert (answer.status_code, answer.content) == (200, b"\x00\xff")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "immutable" in answer.headers["cache-control"]
    picture = browser.get("/" + files.photograph(load("coffee"))["url"])
    assert picture.headers["content-type"] == "image/jpeg"
    for address in ("/files/0/factor.bin", "/files/%2e%2e/passwd", f"/files/{'0' * 64}/factor.bin"):
        answer = browser.get(address)
        assert (answer.status_code, answer.text) == (404, GONE)
