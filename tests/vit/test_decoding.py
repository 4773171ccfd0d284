"""Files of every kind and mode against what was put into them, and every way to be no good."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from gramviz.errors import InputError
from gramviz.vit.decoding import decode

# Asymmetric in every way: four flat quadrants of different colours and sizes.
UPRIGHT = np.zeros((48, 80, 3), np.uint8)
UPRIGHT[:16, :32], UPRIGHT[:16, 32:], UPRIGHT[16:, :32], UPRIGHT[16:, 32:] = (
    (200, 30, 40),
    (30, 180, 60),
    (50, 60, 220),
    (220, 210, 90),
)
STORED = {  # EXIF orientation -> how the upright image then lies in the file (TIFF 6.0, tag 274)
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.transpose(1, 0, 2),
    6: np.rot90(UPRIGHT, 1),
    7: np.rot90(UPRIGHT, 2).transpose(1, 0, 2),
    8: np.rot90(UPRIGHT, -1),
}
LOSSLESS = {"PNG": {}, "TIFF": {}, "BMP": {}, "WEBP": {"lossless": True}}
LOSSY = {"JPEG": {"quality": 95, "subsampling": 0}, "AVIF": {"quality": 95, "subsampling": "4:4:4"}}
FORMATS = {**LOSSLESS, **LOSSY}


def encoded(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(file, kind, **{**FORMATS.get(kind, {}), **options})
    return file.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(decode(data).image)


def refusal(data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        decode(data)
    message = str(caught.value)
    assert message.endswith(".")
    assert ". " not in message
    assert "/" not in message
    assert "\n" not in message
    return message


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, bits: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG file by its specification, for what Pillow does not write."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + body + chunk(b"IEND", b"")


def png16(values: np.ndarray, colour: int, *extra: bytes) -> bytes:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(values.shape[1], values.shape[0], 16, colour, rows, *extra)


def over_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return colour * share + 255 * (1 - share)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_files_come_back_as_they_went_in(kind):
    decoded = decode(encoded(UPRIGHT, kind))
    assert decoded.notes == ()
    assert decoded.image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(decoded.image), UPRIGHT)


@pytest.mark.parametrize("kind", LOSSY)
def test_lossy_files_come_back_nearly(kind):
    assert np.abs(pixels(encoded(UPRIGHT, kind)).astype(int) - UPRIGHT).mean() < 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(kind, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    decoded = decode(encoded(np.ascontiguousarray(STORED[orientation]), kind, exif=exif))
    found = np.asarray(decoded.image)
    assert found.shape == UPRIGHT.shape
    assert np.abs(found.astype(int) - UPRIGHT).mean() < 3
    assert decoded.notes == (
        () if orientation == 1 else ("The image was turned upright, as its EXIF data say.",)
    )


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
@pytest.mark.parametrize("exif", [b"garbage", b"II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 20, b"MM\0*"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_data_do_not_matter(kind, exif):
    assert np.abs(pixels(encoded(UPRIGHT, kind, exif=b"Exif\0\0" + exif)).astype(int) - UPRIGHT).mean() < 3


@pytest.mark.parametrize("orientation", [0, 9, 60000])
def test_orientations_that_do_not_exist_are_ignored(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    np.testing.assert_array_equal(pixels(encoded(UPRIGHT, "PNG", exif=exif)), UPRIGHT)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_alpha_goes_over_white(kind):
    alpha = np.tile(np.linspace(0, 255, 80).astype(np.uint8), (48, 1))
    options = {"exact": True} if kind == "WEBP" else {}
    decoded = decode(encoded(np.dstack([UPRIGHT, alpha]), kind, **options))
    assert decoded.notes == ("Transparent parts are shown on white.",)
    assert np.abs(np.asarray(decoded.image) - over_white(UPRIGHT, alpha)).max() <= 1


def test_full_alpha_needs_no_note():
    decoded = decode(encoded(np.dstack([UPRIGHT, np.full((48, 80), 255, np.uint8)]), "PNG"))
    assert decoded.notes == ()
    np.testing.assert_array_equal(np.asarray(decoded.image), UPRIGHT)


def test_grey_with_alpha():
    grey, alpha = UPRIGHT[..., 0], UPRIGHT[..., 1]
    image = Image.merge("LA", (Image.fromarray(grey), Image.fromarray(alpha)))
    found = pixels(encoded(image, "PNG"))
    assert np.abs(found - over_white(np.dstack([grey] * 3), alpha)).max() <= 1


def test_palettes_with_and_without_transparency():
    palette = Image.fromarray(UPRIGHT).quantize(4)
    np.testing.assert_array_equal(pixels(encoded(palette, "PNG")), np.asarray(palette.convert("RGB")))
    clear = palette.getpixel((0, 0))
    for transparency in (clear, bytes(0 if index == clear else 255 for index in range(4))):
        found = pixels(encoded(palette, "PNG", transparency=transparency))
        assert (found[:16, :32] == 255).all()
        np.testing.assert_array_equal(found[16:], np.asarray(palette.convert("RGB"))[16:])


def test_colour_keys_of_rgb_and_black_and_white():
    found = pixels(encoded(UPRIGHT, "PNG", transparency=(200, 30, 40)))
    assert (found[:16, :32] == 255).all()
    np.testing.assert_array_equal(found[16:], UPRIGHT[16:])
    bits = Image.fromarray(UPRIGHT[..., 0] > 100)
    np.testing.assert_array_equal(
        pixels(encoded(bits, "PNG"))[..., 1], np.where(UPRIGHT[..., 0] > 100, 255, 0)
    )


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_converted_and_said_to_be_approximate(kind):
    decoded = decode(encoded(Image.fromarray(UPRIGHT).convert("CMYK"), kind))
    assert np.abs(np.asarray(decoded.image).astype(int) - UPRIGHT).mean() < 3
    assert decoded.notes == (
        "CMYK colours without a profile were converted to RGB, so they are approximate.",
    )


WIDE = (np.arange(48 * 80).reshape(48, 80) * 17 % 65536).astype(np.uint16)
REDUCED = "16 bits a channel were reduced to 8."


def test_sixteen_bit_files_keep_their_high_byte():
    high = (WIDE // 256).astype(np.uint8)
    colours = np.dstack([WIDE, WIDE[::-1], WIDE[:, ::-1]])
    for data, expected in [
        (png16(WIDE, 0), np.dstack([high] * 3)),
        (png16(colours, 2), colours // 256),
        (encoded(WIDE, "TIFF"), np.dstack([high] * 3)),
        (encoded(Image.fromarray(WIDE.astype(">u2")), "TIFF"), np.dstack([high] * 3)),
    ]:
        decoded = decode(data)
        np.testing.assert_array_equal(np.asarray(decoded.image), expected)
        assert decoded.notes == (REDUCED,)
        # the high byte is at most one level away from exact scaling
    assert np.abs(high - WIDE / 257).max() < 1


def test_sixteen_bit_alpha_and_colour_key():
    colours, alpha = np.dstack([WIDE, WIDE[::-1], WIDE]), WIDE[:, ::-1]
    expected = over_white(colours // 256, alpha // 256)
    assert np.abs(pixels(png16(np.dstack([colours, alpha]), 6)) - expected).max() <= 1
    grey = over_white(np.dstack([WIDE // 256] * 3), alpha // 256)
    assert np.abs(pixels(png16(np.dstack([WIDE, alpha]), 4)) - grey).max() <= 1
    keyed = pixels(png16(WIDE, 0, chunk(b"tRNS", struct.pack(">H", WIDE[0, 3]))))
    assert keyed[0, 3, 0] == 255
    assert keyed[0, 4, 0] == WIDE[0, 4] // 256


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_numbers_without_a_white_are_stretched(kind):
    values = np.linspace(-300, 900, 48 * 80).reshape(48, 80).astype(kind)
    decoded = decode(encoded(values, "TIFF"))
    expected = np.rint((values - values.min()) / (values.max() - values.min()) * 255)
    np.testing.assert_array_equal(np.asarray(decoded.image)[..., 0], expected)
    assert decoded.notes == ("Grey values from -300 to 900 were stretched from black to white.",)


def test_numbers_that_are_none():
    values = np.linspace(0, 1, 48 * 80).reshape(48, 80).astype(np.float32)
    values[0, :3] = np.nan, np.inf, -np.inf
    assert pixels(encoded(values, "TIFF"))[0, :3, 0].tolist() == [0, 255, 0]
    for constant in (np.full((20, 20), 7, np.float32), np.full((20, 20), np.nan, np.float32)):
        assert (pixels(encoded(constant, "TIFF")) == 0).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF", "TIFF"])
def test_of_an_animation_the_first_frame_is_shown(kind):
    frames = [Image.fromarray(frame) for frame in (UPRIGHT, UPRIGHT[::-1].copy(), 255 - UPRIGHT)]
    decoded = decode(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert decoded.notes == ("Only the first of several frames is shown.",)
    assert np.abs(np.asarray(decoded.image).astype(int) - UPRIGHT).mean() < 3


def test_heic_where_there_is_a_decoder_for_it(monkeypatch):
    heif = pytest.importorskip("pillow_heif")
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)  # other libraries of this process register it
    file = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6
    stored = np.ascontiguousarray(STORED[6])
    heif.encode("RGB", (48, 80), stored.tobytes(), file, quality=95, exif=exif.tobytes())
    found = np.asarray(decode(file.getvalue()).image)
    assert found.shape == UPRIGHT.shape
    assert np.abs(found.astype(int) - UPRIGHT).mean() < 6
    assert "HEIF" not in Image.OPEN  # nothing was registered with Pillow
    assert "HEIC file is damaged" in refusal(file.getvalue()[:200])


def swapped_profile() -> bytes:
    """sRGB with its red and green primaries exchanged, under another name: its effect is easy to tell."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    count = struct.unpack(">I", profile[128:132])[0]
    places = {profile[132 + 12 * i : 136 + 12 * i]: 132 + 12 * i for i in range(count)}
    red, green = places[b"rXYZ"], places[b"gXYZ"]
    changed = bytearray(profile)
    changed[red + 4 : red + 12], changed[green + 4 : green + 12] = (
        profile[green + 4 : green + 12],
        profile[red + 4 : red + 12],
    )
    return (
        bytes(changed)
        .replace("sRGB".encode("utf-16-be"), "test".encode("utf-16-be"))
        .replace(b"sRGB built", b"test built")
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_colour_profiles_are_converted_to_srgb(kind):
    decoded = decode(encoded(UPRIGHT, kind, icc_profile=swapped_profile()))
    assert np.abs(np.asarray(decoded.image).astype(int) - UPRIGHT[..., [1, 0, 2]]).mean() < 3
    assert decoded.notes == ("Colours were converted from the image's own profile to sRGB.",)


def test_profile_and_alpha_together():
    alpha = np.full((48, 80), 255, np.uint8)
    alpha[:16] = 0
    found = pixels(encoded(np.dstack([UPRIGHT, alpha]), "PNG", icc_profile=swapped_profile()))
    assert (found[:16] == 255).all()
    assert np.abs(found[16:].astype(int) - UPRIGHT[16:, :, [1, 0, 2]]).mean() < 3


def test_srgb_needs_no_conversion_and_a_broken_profile_is_ignored():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert decode(encoded(UPRIGHT, "PNG", icc_profile=srgb)).notes == ()
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (b"junk" * 50, lab, swapped_profile()[:200]):
        decoded = decode(encoded(UPRIGHT, "PNG", icc_profile=profile))
        assert decoded.notes == ("The image's colour profile does not fit it and was ignored.",)
        np.testing.assert_array_equal(np.asarray(decoded.image), UPRIGHT)


def gif_with_frame(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + bytes(6)
    return head + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x44\x01\x00;"


def webp_with_canvas(width: int, height: int) -> bytes:
    frames = [Image.fromarray(UPRIGHT), Image.fromarray(255 - UPRIGHT)]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return data[:24] + canvas + data[30:]


BOMBS = {
    "PNG": png(12500, 12500, 1, 0, b""),
    "BMP": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 60, 0, 0, 54, 40, 30000, 30000, 1, 24, 0, 0, 0, 0, 0, 0),
    "GIF screen": gif_with_frame((60000, 60000), (4, 4)),
    "GIF frame": gif_with_frame((40, 40), (12000, 12000)),
    "GIF great frame": gif_with_frame((40, 40), (60000, 60000)),
    "WebP": webp_with_canvas(16000, 16000),
    "TIFF": encoded(np.zeros((20, 20), np.uint8), "TIFF")
    .replace(struct.pack("<HHIHH", 256, 4, 1, 20, 0), struct.pack("<HHII", 256, 4, 1, 60000))
    .replace(struct.pack("<HHIHH", 257, 4, 1, 20, 0), struct.pack("<HHII", 257, 4, 1, 60000)),
    "JPEG": encoded(np.zeros((20, 20), np.uint8), "JPEG").replace(
        b"\x08\x00\x14\x00\x14\x01", b"\x08\xff\x00\xff\x00\x01"
    ),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused_before_they_are_decoded(bomb, monkeypatch):
    def load(*args, **kwargs):
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    assert "megapixels" in refusal(BOMBS[bomb])


def test_the_bound_of_pillow_stays_as_it_was():
    before = Image.MAX_IMAGE_PIXELS
    refusal(BOMBS["PNG"])
    assert before == Image.MAX_IMAGE_PIXELS


def test_megapixels_are_named():
    assert refusal(BOMBS["PNG"]) == "This image has 156 megapixels; at most 50 can be read."


@pytest.mark.parametrize(
    ("width", "height", "words"),
    [
        (10, 40, "This image has 10 x 40 pixels; each side needs at least 16."),
        (1, 5000, "This image has 1 x 5000 pixels; each side needs at least 16."),
        (16, 513, "This image has 16 x 513 pixels; its long side may be at most 32 times the short one."),
    ],
)
def test_sizes_that_cannot_be_shown(width, height, words):
    assert refusal(encoded(Image.new("RGB", (width, height)), "PNG")) == words
    assert refusal(encoded(Image.new("RGB", (height, width)), "PNG")).startswith(
        f"This image has {height} x {width}"
    )


def test_the_least_and_the_longest_image_can_be_shown():
    for size in ((16, 16), (512, 16)):
        assert decode(encoded(Image.new("RGB", size), "PNG")).image.size == size


@pytest.mark.parametrize("kind", [*FORMATS, "GIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_files_cut_short_are_refused(kind, share):
    noise = np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)
    data = encoded(noise, kind)
    assert "is damaged, cut short" in refusal(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"<svg xmlns='http://www.w3.org/2000/svg'></svg>",
        b"%PDF-1.7",
        b"PK\x03\x04",
        bytes(100),
        b"\xff",
    ],
)
def test_other_files_are_refused_with_the_kinds_that_work(data):
    message = refusal(data)
    assert message.startswith("This file is no image that can be read: JPEG, PNG, WebP, GIF, TIFF, BMP")


def test_empty_and_enormous_files(monkeypatch):
    assert refusal(b"") == "This file is empty."
    monkeypatch.setattr("gramviz.vit.decoding.MAX_BYTES", 2**20)
    assert refusal(bytes(3 * 2**20)) == "This file has 3 MiB; at most 1 can be read."


MAGICS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"GIF89a", b"II*\0", b"MM\0*", b"BM",
          b"\0\0\0\x1cftypavif", b"\0\0\0\x18ftypheic")  # fmt: skip
WHOLE = [encoded(UPRIGHT, kind) for kind in [*FORMATS, "GIF"]]


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A good file with some of its bytes changed, or cut."""
    data = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(1, 6))):
        data[draw(st.integers(0, min(len(data), 400) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(1, len(data)))])


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.builds(bytes.__add__, st.sampled_from(MAGICS), st.binary(max_size=300)),
        spoiled(),
    )
)
def test_any_bytes_are_an_image_or_one_sentence(data):
    try:
        image = decode(data).image
    except InputError:
        refusal(data)
    else:
        assert image.mode == "RGB"
        assert min(image.size) >= 16
