"""What leaves the page: numbers, pictures, films and a page of its own hold what float64 says of the features."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from gramviz.data.samples import load
from gramviz.errors import InputError
from gramviz.ui.colours import diverging, sequential
from gramviz.ui.exports import tables
from gramviz.ui.exports.maps import MapSet, Query, bound_text
from gramviz.ui.exports.page import as_html
from gramviz.ui.exports.painted import Appearance
from gramviz.ui.pictures.film import BETWEEN, STAY, blended, film, frames_of
from gramviz.ui.pictures.maps import maps_figure, maps_picture, sheet_figure, sheet_picture
from gramviz.vit.images import picture_from_array
from tests.ui.fake_engine import CHECKPOINTS, FakeEngine, checkpoint, features

PICTURE = load("chelsea")
PATCHES, GRID = 14, (9, 14)
COUNT = GRID[0] * GRID[1]
IDS = [info.id for info in CHECKPOINTS]
CAPTION = "Chelsea the cat. scikit-image. CC0."
ONE = Query((31,))
INFO = {info.id: info for info in CHECKPOINTS}


def made(query=ONE, ids=IDS, picture=PICTURE, patches=PATCHES):
    views = tuple(FakeEngine().compare(picture, ids, patches))
    return MapSet(picture, CAPTION, views, query)


def exact(key, query, picture=PICTURE, patches=PATCHES):
    """Cosines in float64 from the features themselves."""
    x = features(picture, INFO[key], patches)
    asked = sum(
        x[list(side)].mean(0) * sign for side, sign in ((query.positive, 1), (query.negative, -1)) if side
    )
    return x[:-1] @ asked / np.linalg.norm(asked)


QUERIES = [ONE, Query((0, 5, 31), (100,)), Query((COUNT,)), Query((), (7,))]


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_cosines_are_within_their_bound(query):
    maps = made(query)
    for view in maps.views:
        off = np.abs(maps.cosines(view).ravel() - exact(view.checkpoint.id, query)).max()
        assert off <= maps.bound(view) < 0.05


@pytest.mark.parametrize("bad", [Query(()), Query((COUNT + 1,)), Query((3,), (-1,))], ids=str)
def test_a_query_that_is_not_on_the_grid_is_refused(bad):
    with pytest.raises(InputError, match="patch"):
        made(bad)


def test_no_checkpoint_is_refused():
    with pytest.raises(InputError, match="at least one checkpoint"):
        MapSet(PICTURE, "", (), Query((0,)))


def test_a_query_in_words():
    assert Query((31,)).describe(GRID) == "the patch in row 2, column 3"
    assert Query((COUNT,)).describe(GRID) == "the CLS token"
    assert Query((0, 31), (14,)).describe(GRID) == (
        "the mean of the patches in row 0, column 0; row 2, column 3 less the mean of the patches in row 1, column 0"
    )


def test_bounds_are_rounded_up():
    assert [bound_text(each) for each in (0, 0.00061, 0.001, 0.0091, 0.5, 3.2)] == [
        *("0", "0.0007", "0.001", "0.010", "0.5", "4")
    ]


def test_settings_name_all_that_the_maps_depend_on():
    said = made().settings()
    for part in ("row 2, column 3", "9 \u00d7 14 patches", "last layer", *IDS, CAPTION):
        assert part in said
    assert "one\u2019s own" in MapSet(PICTURE, "", made().views, Query((0,)), -3).settings()
    assert "layer -3 counted from the last" in MapSet(PICTURE, "", made().views, Query((0,)), -3).settings()
    assert "layer 3 counted from the first" in MapSet(PICTURE, "", made().views, Query((0,)), 3).settings()


# ---- numbers


def test_csv_has_every_cosine():
    query = QUERIES[1]
    lines = tables.as_csv(made(query)).decode().splitlines()
    assert lines[0].startswith("# gramviz")
    assert CAPTION in lines[0]
    rows = list(csv.DictReader(lines[1:]))
    assert len(rows) == len(IDS) * COUNT
    for key in IDS:
        found = [row for row in rows if row["checkpoint"] == key]
        assert [(int(row["row"]), int(row["column"])) for row in found] == list(np.ndindex(GRID))
        assert {(row["run"], row["arm"], row["step"]) for row in found} == {
            (INFO[key].run, INFO[key].branch, str(INFO[key].step))
        }
        np.testing.assert_allclose([float(row["cosine"]) for row in found], exact(key, query), atol=0.01)


def test_json_and_npz_hold_the_same_as_csv():
    maps = made()
    told = json.loads(tables.as_json(maps))
    assert (told["schema"], told["grid"], told["query"]) == (
        tables.SCHEMA,
        list(GRID),
        {"positive": [31], "negative": []},
    )
    assert told["settings"] == maps.settings()
    with np.load(io.BytesIO(tables.as_npz(maps)), allow_pickle=False) as arrays:
        assert list(arrays["ids"]) == IDS
        assert str(arrays["settings"]) == maps.settings()
        rows = list(csv.DictReader(tables.as_csv(maps).decode().splitlines()[1:]))
        for index, entry in enumerate(told["maps"]):
            assert entry["checkpoint"]["id"] == IDS[index]
            mine = [float(row["cosine"]) for row in rows if row["checkpoint"] == IDS[index]]
            np.testing.assert_array_equal(np.ravel(entry["cosines"]), mine)
            np.testing.assert_array_equal(arrays["cosines"][index].ravel(), mine)
            gram = arrays[f"factor_{index}"].astype(np.float64)
            x = features(PICTURE, INFO[IDS[index]], PATCHES)
            assert np.abs(gram @ gram.T - x @ x.T).max() <= maps.views[index].error + 1e-12
            measures = dict(zip(arrays["measure_names"], arrays["measures"][index], strict=True))
            assert measures == entry["measures"] == maps.views[index].measures


# ---- pictures


def table_colours(values, low, high, table):
    places = np.floor((values - low) / (high - low) * 255 + 0.5).astype(int)
    return table[np.clip(places, 0, 255)]


def panels_of(figure):
    """What is drawn, by order: the photograph, then the maps; the last image is the scale where there is one."""
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def close_colours(found, values, low, high, table):
    """Equal to the table's colours at the exact values, or at values that differ by the maps' own bound."""
    wanted = [table_colours(values + shift, low, high, table).astype(int) for shift in (-0.01, 0.01)]
    found = np.asarray(found).reshape(-1, 3).astype(int)
    lowest, highest = np.minimum(*wanted), np.maximum(*wanted)
    assert ((found >= lowest - 4) & (found <= highest + 4)).all()


@pytest.mark.parametrize(
    ("scale", "low", "high", "table"), [("unit", 0, 1, sequential()), ("signed", -1, 1, diverging())]
)
def test_the_figure_shows_the_maps(scale, low, high, table):
    maps = made()
    photograph, *shown, bar = _without_scale(maps_figure(maps, Appearance(scale=scale)))
    assert len(shown) == len(IDS)
    np.testing.assert_array_equal(bar[0], table)
    assert photograph.shape[:2] == PICTURE.pixels.shape[:2]
    for key, drawn in zip(IDS, shown, strict=True):
        close_colours(drawn, exact(key, maps.query), low, high, table)


def _without_scale(figure):
    """The scale is drawn first: put last."""
    bar, *rest = panels_of(figure)
    return [*rest, bar]


def test_the_figure_of_a_difference():
    maps = made()
    seen = Appearance("difference", "own", a=IDS[-1], b=IDS[2])
    _, a, b, difference, _ = _without_scale(maps_figure(maps, seen))
    ours, theirs = exact(IDS[-1], maps.query), exact(IDS[2], maps.query)
    close_colours(a, ours, ours.min(), ours.max(), sequential())
    close_colours(b, theirs, theirs.min(), theirs.max(), sequential())
    reach = np.abs(ours - theirs).max()
    close_colours(difference, ours - theirs, -reach, reach, diverging())
    with pytest.raises(InputError, match="'gone' is not among"):
        maps_figure(maps, Appearance("difference", "own", a="gone", b=IDS[2]))


def test_the_figure_of_components_own_and_common():
    maps = made(ids=IDS[:2])
    _, first, _ = panels_of(maps_figure(maps, Appearance("colours")))
    np.testing.assert_array_equal(
        first.reshape(-1, 3), np.frombuffer(maps.views[0].colours, np.uint8).reshape(-1, 3)
    )
    common = FakeEngine().common_colours(PICTURE, IDS[:2], PATCHES)
    _, _, second = panels_of(maps_figure(maps, Appearance("colours", basis="common"), common))
    np.testing.assert_array_equal(
        second.reshape(-1, 3), np.frombuffer(common[IDS[1]], np.uint8).reshape(-1, 3)
    )


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_picture_files_open_and_are_the_same_again(kind):
    maps = made(ids=IDS[:3])
    for data, again in (
        (maps_picture(maps, Appearance(), kind=kind), maps_picture(maps, Appearance(), kind=kind)),
        (sheet_picture(maps, kind), sheet_picture(maps, kind)),
    ):
        assert data == again
        assert data.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind])
        if kind == "png":
            with Image.open(io.BytesIO(data)) as image:
                image.load()
                assert image.width == 2160


def test_a_patch_is_a_flat_square_of_its_colour_in_the_file():
    maps = made(ids=IDS[:1])
    figure = maps_figure(maps, Appearance())
    with Image.open(io.BytesIO(maps_picture(maps, Appearance()))) as image:
        pixels = np.asarray(image.convert("RGB"))
    axes = figure.axes[-1]
    wanted = axes.images[0].get_array()
    height = pixels.shape[0]
    for row, column in ((0, 0), (4, 7), (8, 13), (2, 3)):
        for across, down in ((0, 0), (0.3, -0.3)):
            x, y = axes.transData.transform((column + across, row + down))
            np.testing.assert_array_equal(pixels[round(height - y), round(x)], wanted[row, column])


def test_the_sheet_is_laid_out_as_figure_1():
    maps = made()
    figure = sheet_figure(maps)
    bar, photograph, *shown = (axes for axes in figure.axes if axes.images)
    order = ["small-trunk-1000", "small-trunk-2000"] + [
        f"small-{arm}-{step}" for arm in ("plain", "gram") for step in (4000, 6000, 8000)
    ]
    for key, axes in zip(order, shown, strict=True):
        close_colours(axes.images[0].get_array(), exact(key, maps.query), 0, 1, sequential())
    boxes = [axes.get_position() for axes in shown]
    plain, gram = boxes[2:5], boxes[5:]
    assert [round(a.x0 - b.x0, 6) for a, b in zip(plain, gram, strict=True)] == [0, 0, 0]  # columns are steps
    assert plain[0].y0 > boxes[0].y0 > gram[0].y0  # the trunk stands between its arms
    assert photograph.get_position().x1 < boxes[0].x0 < boxes[1].x0 < plain[0].x0
    assert bar.get_position().y1 < gram[0].y0
    said = " ".join(text.get_text() for text in figure.texts)
    for word in ("with Gram", "without Gram", "step 8\u202f000"):
        assert word in said
    assert "".join(maps.settings().split()) in "".join(said.split())


def test_what_was_not_saved_is_said():
    figure = sheet_figure(
        made(ids=["small-trunk-2000", "small-plain-4000", "small-plain-8000", "small-gram-8000"])
    )
    assert sum(text.get_text() == "not saved" for axes in figure.axes for text in axes.texts) == 1


def test_a_trunk_alone_and_one_of_several_runs():
    assert len(panels_of(sheet_figure(made(ids=IDS[:2])))) == 4
    other = checkpoint("plain", 4000, "large")
    views = tuple(FakeEngine([*CHECKPOINTS, other]).compare(PICTURE, [IDS[0], other.id], PATCHES))
    for write in (sheet_picture, film):
        with pytest.raises(InputError, match="small, large"):
            write(MapSet(PICTURE, "", views, Query((0,))))


# ---- films


def test_the_film_stays_at_each_step_and_moves_between():
    frames = list(frames_of([0, 200, 1000]))
    assert [step for step, stay in frames if stay == STAY] == [0, 200, 1000]
    assert len(frames) == 3 + 2 * BETWEEN
    assert [step for step, _ in frames] == sorted(step for step, _ in frames)


def test_cosines_are_blended_in_proportion():
    cosines = np.random.default_rng(0).normal(size=(3, 4, 5))
    np.testing.assert_allclose(blended([0, 200, 1000], cosines, 400), 0.75 * cosines[1] + 0.25 * cosines[2])
    np.testing.assert_array_equal(blended([0, 200, 1000], cosines, 5000), cosines[2])


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_the_film_shows_each_arm_at_each_step(kind):
    maps = made()
    with Image.open(io.BytesIO(film(maps, kind))) as moving:
        assert moving.n_frames == 5 + 4 * BETWEEN
        assert moving.info["loop"] == 0
        for frame, step in ((0, 1000), (moving.n_frames - 1, 8000)):
            moving.seek(frame)
            pixels = np.asarray(moving.convert("RGB")).astype(int)
            for place, arm in ((1, "plain"), (2, "gram")):
                side = (1080 - 40 - 32) // 3
                tall = round(side * PICTURE.size[1] / PICTURE.size[0])
                rows = 64 + ((np.arange(GRID[0]) + 0.5) * tall / GRID[0]).astype(int)
                columns = 20 + place * (side + 16) + ((np.arange(GRID[1]) + 0.5) * side / GRID[1]).astype(int)
                found = pixels[np.ix_(rows, columns)].reshape(-1, 3)
                key = f"small-{arm}-{step}" if step > 2000 else f"small-trunk-{step}"
                wanted = table_colours(exact(key, maps.query), 0, 1, sequential()).astype(int)
                # every second colour of the table in a GIF, and the losses of a WebP
                assert np.abs(found - wanted).mean() < 4, (kind, key)


def test_a_film_needs_two_steps():
    with pytest.raises(InputError, match="at least two"):
        film(made(ids=IDS[:1]))


@pytest.mark.parametrize(
    "write", [lambda m, k: film(m, k), lambda m, k: maps_picture(m, Appearance(), kind=k), sheet_picture]
)
def test_an_unknown_kind_is_named(write):
    with pytest.raises(InputError, match="'bmp' cannot be written"):
        write(made(), "bmp")


# ---- how it looks, as a page says it


def test_words_for_the_appearance_are_checked():
    good = {"view": "difference", "scale": "own", "basis": "common", "a": "x", "b": "y"}
    assert Appearance.from_data(good) == Appearance("difference", "own", "common", "x", "y")
    for name in ("view", "scale", "basis"):
        with pytest.raises(InputError, match=f"{name} 'loud' is none of"):
            Appearance.from_data({**good, name: "loud"})


# ---- the page of its own (what it shows is tested in a browser)


def test_four_maps_of_32_by_32_stay_below_5_mb():
    noise = np.random.default_rng(0).integers(0, 255, (768, 768, 3), dtype=np.uint8)
    picture = picture_from_array(noise)
    views = tuple(FakeEngine(width=384).compare(picture, IDS[:4], 32))
    data = as_html(MapSet(picture, "", views, Query((0,))), Appearance())
    assert (views[0].grid, views[0].rank) == ((32, 32), 384)
    assert len(data) < 5_000_000


def test_a_text_cannot_end_the_script():
    maps = made(ids=IDS[:1])
    data = as_html(
        MapSet(PICTURE, "</script><script>alert(1)</script>", maps.views, maps.query), Appearance()
    ).decode()
    assert data.count("</script>") == 1
    assert "<title>gramviz: &lt;/script&gt;" in data
