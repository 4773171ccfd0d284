"""A visitor's own images: files and archives, within bounds, and never by their names."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from gramviz.data import bundles
from gramviz.data.bundles import read_bundle
from gramviz.errors import InputError
from gramviz.vit.images import read_picture


def png(shade, size=(24, 20)):
    file = io.BytesIO()
    Image.fromarray(np.full((size[1], size[0], 3), shade, np.uint8)).save(file, "PNG")
    return file.getvalue()


def packed(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def shades(pictures):
    return [int(picture.pixels[0, 0, 0]) for picture in pictures]


def test_files_and_archives_in_their_order(tmp_path):
    single = tmp_path / "a.PNG"
    single.write_bytes(png(10))
    notes = tmp_path / "notes.txt"
    notes.write_bytes(b"no image")
    many = packed(
        tmp_path / "b.zip",
        **{"x/1.png": png(20), "__MACOSX/x/1.png": b"junk", "readme.md": b"", "2.jpg": png(30)},
    )
    found, broken = read_bundle([single, notes, many], 64, read_picture)
    assert (shades(found), broken) == ([10, 20, 30], 0)
    assert shades(read_bundle([single, many], 2, read_picture)[0]) == [10, 20]


def test_large_images_are_scaled_down_as_they_come(tmp_path):
    (tmp_path / "a.png").write_bytes(png(10, (1200, 700)))
    ((picture,), _) = read_bundle([tmp_path / "a.png"], 64, read_picture)
    assert (picture.size, picture.source_size) == ((878, 512), (1200, 700))
    assert np.all(picture.pixels == 10)


def test_broken_images_are_counted_and_left_out(tmp_path):
    found, broken = read_bundle(
        [packed(tmp_path / "b.zip", **{"1.png": b"junk", "2.png": png(5)})], 64, read_picture
    )
    assert (shades(found), broken) == ([5], 1)


def test_names_in_an_archive_are_not_followed(tmp_path):
    found, _ = read_bundle([packed(tmp_path / "b.zip", **{"../../evil.png": png(7)})], 64, read_picture)
    assert shades(found) == [7]
    assert [path.name for path in tmp_path.iterdir()] == ["b.zip"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: [], "no image among them"),
        (lambda folder: [packed(folder / "b.zip", **{"1.png": b"junk"})], "none of the 1 images"),
        (lambda folder: [write(folder / "b.zip", b"PK junk")], "damaged"),
        (lambda folder: [cut(packed(folder / "b.zip", **{"1.png": png(3)}))], "damaged"),
        (lambda folder: [packed(folder / "b.zip", **{"1.png": bytes(5000)})], "An image in the archive"),
        (lambda folder: [write(folder / "1.png", bytes(5000))], "One of the images has more than"),
        (lambda folder: [packed(folder / "b.zip", **{f"{n}.png": b"" for n in range(9)})], "holds 9 images"),
        (lambda folder: [folder / "x.png"] * 9, "9 files were chosen"),
        (lambda folder: [packed(folder / "b.zip", **dict.fromkeys("abc", b""), **large())], "together"),
    ],
)  # fmt: skip
def test_what_is_too_much_or_no_image_is_refused(tmp_path, monkeypatch, make, words):
    monkeypatch.setattr(bundles, "ONE_IMAGE", 4000)
    monkeypatch.setattr(bundles, "MOST_BYTES", 6000)
    monkeypatch.setattr(bundles, "MOST_FILES", 8)
    with pytest.raises(InputError, match=words) as refused:
        read_bundle(make(tmp_path), 64, read_picture)
    assert str(tmp_path) not in str(refused.value)


def write(path, content):
    path.write_bytes(content)
    return path


def large():
    return {f"{n}.png": png(n) + bytes(2500) for n in range(3)}


def cut(path):
    return write(path, path.read_bytes()[:-30])
