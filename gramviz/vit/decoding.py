"""The bytes of a stranger's image file -> an upright 8-bit RGB image, and sentences on what was done to it.

Pillow's decoder classes are called directly, never through `Image.open`: its guard against decompression
bombs is a global setting that warns before it refuses, so sizes are checked here, after the header is read
and before any pixel is. This module knows no pictures, tensors or networks, and changes no setting of Pillow.
"""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ExifTags import Base as ExifTag
from PIL.GifImagePlugin import GifImageFile
from PIL.Image import Transpose
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from gramviz.errors import InputError

try:  # the one optional decoder: without it a HEIC file is refused like any unknown kind
    from pillow_heif import HeifImageFile
except ImportError:
    HeifImageFile = None

MAX_BYTES = 128 * 2**20
MAX_PIXELS = 50_000_000
MIN_SIDE = 16
MAX_ASPECT = 32  # at 64 patches along the long side, the short side then still has two


@dataclass(frozen=True)
class _Kind:
    """A kind of file, known by its first bytes, with the decoder for it."""

    name: str
    magic: re.Pattern[bytes]
    decoder: Callable[[io.BytesIO], ImageFile.ImageFile]


def _kind(name: str, magic: bytes, decoder: Callable[[io.BytesIO], ImageFile.ImageFile]) -> _Kind:
    return _Kind(name, re.compile(magic, re.DOTALL), decoder)


_KINDS = (
    _kind("JPEG", rb"\xff\xd8\xff", JpegImageFile),
    _kind("PNG", rb"\x89PNG\r\n\x1a\n", PngImageFile),
    _kind("WebP", rb"RIFF....WEBP", WebPImageFile),
    _kind("GIF", rb"GIF8[79]a", GifImageFile),
    _kind("TIFF", rb"II[*+]\0|MM\0[*+]", TiffImageFile),
    _kind("BMP", rb"BM", BmpImageFile),
    _kind(
        "AVIF", rb"....ftyp(?:....){0,8}?avi[fs]", AvifImageFile
    ),  # "avif" may be a later brand of the file
    *([_kind("HEIC", rb"....ftyp(?:hei[cmsx]|hev[cmsx]|m[is]f1)", HeifImageFile)] if HeifImageFile else []),
)

_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}  # EXIF orientation -> what undoes it


@dataclass(frozen=True)
class Decoded:
    """image: mode RGB, upright; notes: sentences for a visitor on what was done, in order."""

    image: Image.Image
    notes: tuple[str, ...]


def check_size(width: int, height: int) -> None:
    """InputError unless an image of this size can be taken: pixels in all, shorter side, ratio of sides."""
    size = f"{width} x {height} pixels"
    if width * height > MAX_PIXELS:
        megapixels = width * height / 1e6
        raise InputError(
            f"This image has {megapixels:.0f} megapixels; at most {MAX_PIXELS // 10**6} can be read."
        )
    if min(width, height) < MIN_SIDE:
        raise InputError(f"This image has {size}; each side needs at least {MIN_SIDE}.")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise InputError(
            f"This image has {size}; its long side may be at most {MAX_ASPECT} times the short one."
        )


def decode(data: bytes) -> Decoded:
    """The first frame of an image file. Raises InputError, one sentence, for whatever cannot be shown.

    Alpha goes over white, 16-bit channels keep their high byte, 32-bit and float grey values are stretched to
    their range, colours with an ICC profile go to sRGB, EXIF orientation is undone.
    """
    kind = _recognise(data)
    try:
        with kind.decoder(io.BytesIO(data)) as image:
            check_size(*image.size)
            return _first_frame(image)
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Raised by decoders for the size of a frame or tile that the file's own header does not tell.
        raise InputError(
            f"This {kind.name} file holds a frame of far more than {MAX_PIXELS // 10**6} megapixels."
        ) from error
    except Exception as error:  # decoders answer hostile bytes with nearly every type there is
        message = f"This {kind.name} file is damaged, cut short, or of a variant that cannot be read."
        raise InputError(message) from error


def _recognise(data: bytes) -> _Kind:
    if not data:
        raise InputError("This file is empty.")
    if len(data) > MAX_BYTES:
        raise InputError(
            f"This file has {len(data) / 2**20:.0f} MiB; at most {MAX_BYTES // 2**20} can be read."
        )
    for kind in _KINDS:
        if kind.magic.match(data[:64]):
            return kind
    names = [kind.name for kind in _KINDS]
    raise InputError(f"This file is no image that can be read: {', '.join(names[:-1])} or {names[-1]}.")


def _first_frame(image: ImageFile.ImageFile) -> Decoded:
    """Load, then colour, alpha and orientation, each with its note."""
    notes = []
    # How many is not said: to count the frames of a GIF is to read all of it. Of a HEIC with several pictures
    # the main one is shown, which needs no word.
    if image.format != "HEIF" and getattr(image, "is_animated", False):
        notes.append("Only the first of several frames is shown.")
    if any(";16" in str(tile.args) for tile in image.tile):
        notes.append("16 bits a channel were reduced to 8.")
    turned = _orientation(image) != 1  # asked before loading, for Pillow turns a TIFF while it loads
    image.load()
    colour, alpha = _split_alpha(image, notes)
    colour = _to_srgb(colour, image.info.get("icc_profile"), notes)
    if alpha is not None and alpha.getextrema() != (255, 255):
        white = Image.new("RGB", colour.size, "white")
        white.paste(colour, mask=alpha)
        colour = white
        notes.append("Transparent parts are shown on white.")
    if turned:
        orientation = _orientation(image)
        colour = colour if orientation == 1 else colour.transpose(_UPRIGHT[orientation])
        notes.append("The image was turned upright, as its EXIF data say.")
    return Decoded(colour, tuple(notes))


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 (upright) where there is none or it cannot be read."""
    try:
        orientation = image.getexif().get(ExifTag.Orientation, 1)
    except Exception:  # damaged EXIF data are no reason to refuse the pixels
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _split_alpha(image: Image.Image, notes: list[str]) -> tuple[Image.Image, Image.Image | None]:
    """The opaque colours (mode L, RGB or CMYK) and the alpha channel (mode L) or None."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image)
        see_through = image.info.get("transparency")
        alpha = None if see_through is None else Image.fromarray(np.uint8(255) * (values != see_through))
        return Image.fromarray(_to_bytes(values, notes)), alpha
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return image.convert("RGB"), image.getchannel("A")
    return image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB"), None


def _to_bytes(values: np.ndarray, notes: list[str]) -> np.ndarray:
    """Grey values as uint8: the high byte of 16-bit ones, the others stretched from their finite range."""
    if values.dtype.itemsize == 2:
        return (values >> 8).astype(np.uint8)
    numbers = values.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    numbers = np.nan_to_num(numbers, nan=low, posinf=high, neginf=low)
    notes.append(f"Grey values from {low:g} to {high:g} were stretched from black to white.")
    return np.rint((numbers - low) * (255 / ((high - low) or 1.0))).astype(np.uint8)


def _to_srgb(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """Mode RGB in sRGB, through the file's ICC profile where it has one that fits."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(source):
                target = ImageCms.createProfile("sRGB")
                image = ImageCms.profileToProfile(image, source, target, outputMode="RGB") or image
                notes.append("Colours were converted from the image's own profile to sRGB.")
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            notes.append("The image's colour profile does not fit it and was ignored.")
    if image.mode == "CMYK":
        notes.append("CMYK colours without a profile were converted to RGB, so they are approximate.")
    return image.convert("RGB")
