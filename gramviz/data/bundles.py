"""A visitor's own images to train on: several files, or zip archives of them, read within bounds.

Nothing is unpacked to disk and no name in an archive is used. Knows nothing of networks.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gramviz.errors import InputError
from gramviz.vit.images import Picture, scaled_to_short_side

MOST_FILES = 512  # that are looked at, in an archive or beside each other
MOST_BYTES = 256 * 2**20  # of all images together, as files
ONE_IMAGE = 32 * 2**20  # bytes of one image's file
SHORT = 512  # pixels
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".gif")


def read_bundle(
    paths: Sequence[Path], most: int, read: Callable[[bytes], Picture]
) -> tuple[tuple[Picture, ...], int]:
    """The first `most` images of files and zip archives, in their order, and how many could not be read.

    read: as `read_picture`; what it gives is scaled down to a short side of SHORT, more than training looks at.

    What is no image by the end of its name is passed over. Raises InputError, never naming a file, where there is no
    image at all, where an archive is damaged or locked, or where it would be too much.
    """
    found: list[Picture] = []
    broken = total = 0
    for content in _contents(paths):
        total += len(content)
        if total > MOST_BYTES:
            raise InputError(
                f"These images have more than {MOST_BYTES // 2**20} MiB together; please choose fewer of them."
            )
        try:
            found.append(scaled_to_short_side(read(content), SHORT))
        except InputError:
            broken += 1
        if len(found) == most:
            break
    if not found:
        what = f"none of the {broken} images could be read" if broken else "there was no image among them"
        raise InputError(f"Of the files that were chosen, {what}; please choose JPEG, PNG or similar files.")
    return tuple(found), broken


def _contents(paths: Sequence[Path]) -> Iterator[bytes]:
    """The bytes of every image file, whether alone or in an archive."""
    if len(paths) > MOST_FILES:
        raise InputError(f"{len(paths)} files were chosen; please choose at most {MOST_FILES}.")
    for path in paths:
        if path.suffix.lower() == ".zip":
            yield from _unpacked(path)
        elif path.suffix.lower() in SUFFIXES:
            if path.stat().st_size > ONE_IMAGE:
                raise InputError(
                    f"One of the images has more than {ONE_IMAGE // 2**20} MiB; please leave it out."
                )
            yield path.read_bytes()


def _unpacked(path: Path) -> Iterator[bytes]:
    """The image files in a zip archive. Sizes are checked while unpacking: what it says of them may be false."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir() and _is_image(m.filename)]
            if len(members) > MOST_FILES:
                raise InputError(
                    f"The archive holds {len(members)} images; please choose one with at most {MOST_FILES}."
                )
            for member in members:
                with archive.open(member) as file:
                    content = file.read(ONE_IMAGE + 1)
                if len(content) > ONE_IMAGE:
                    raise InputError(
                        f"An image in the archive has more than {ONE_IMAGE // 2**20} MiB; please leave it out."
                    )
                yield content
    except InputError:
        raise
    except Exception as error:  # zipfile answers hostile bytes with nearly every type there is
        raise InputError(
            "The archive is damaged, locked or of a kind that is not read; please zip it again."
        ) from error


def _is_image(name: str) -> bool:
    """Whether a name in an archive is that of an image; what macOS adds for itself is not."""
    return name.lower().endswith(SUFFIXES) and not name.startswith("__MACOSX/")
