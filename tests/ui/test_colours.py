import numpy as np
import pytest

from gramviz.checkpoints.manifest import BRANCHES, MODEL_BRANCH, OWN_BRANCHES
from gramviz.ui.colours import as_hex, diverging, sequential
from gramviz.ui.theme import ARMS, CONTROLS, arm_variables, theme

ROUNDING = 5e-4  # of luminance, by which neighbours may swap places as their channels are rounded to bytes


def luminance(colours: np.ndarray) -> np.ndarray:
    """Relative luminance as WCAG 2.2 defines it, of sRGB bytes (..., 3)."""
    channel = np.asarray(colours, dtype=float) / 255
    linear = np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(first: str, second: str) -> float:
    light, dark = sorted(
        (float(luminance(list(bytes.fromhex(c[1:])))) for c in (first, second)), reverse=True
    )
    return (light + 0.05) / (dark + 0.05)


def test_sequential_colours_grow_lighter():
    light = luminance(sequential())
    assert (np.diff(light) > -ROUNDING).all()
    assert (light[4:] > light[:-4]).all()
    assert light[-1] - light[0] > 0.6


def test_diverging_colours_grow_darker_from_the_middle():
    light = luminance(diverging())
    assert (np.diff(light[:128]) > 0).all()
    assert (np.diff(light[128:]) < 0).all()
    assert light[127] > 0.9
    assert abs(light[0] - light[-1]) < 0.05


def test_diverging_ends_are_blue_and_red():
    table = diverging().astype(int)
    assert table[40, 2] > table[40, 0] + 60
    assert table[215, 0] > table[215, 2] + 60


def test_hexadecimal_form_holds_every_byte():
    assert bytes.fromhex(as_hex(sequential())) == sequential().tobytes()
    assert sequential().shape == (256, 3)
    assert sequential().dtype == np.uint8


def test_each_branch_has_a_colour_of_its_own():
    assert set(ARMS) == {*BRANCHES, *OWN_BRANCHES, MODEL_BRANCH}
    assert len({arm.colour for arm in ARMS.values()}) == len(ARMS)
    assert all(f"--arm-{name}: {arm.colour};" in arm_variables() for name, arm in ARMS.items())


def test_curves_can_be_told_apart_without_colour():
    arms = [arm for name, arm in ARMS.items() if name != "trunk"]
    assert len({arm.marker for arm in arms}) == len(arms)
    assert len({arm.dash for name, arm in ARMS.items() if name in BRANCHES[1:]}) == len(BRANCHES) - 1
    assert len({arm.label for arm in (*ARMS.values(), *CONTROLS.values())}) == len(ARMS) + len(CONTROLS)


@pytest.mark.parametrize("suffix", ["", "_dark"])
def test_contrast_on_both_backgrounds(suffix):
    look = theme()
    background = getattr(look, f"body_background_fill{suffix}")
    for text in ("body_text_color", "body_text_color_subdued"):
        assert contrast(getattr(look, text + suffix), background) >= 4.5
        assert (
            contrast(getattr(look, text + suffix), getattr(look, f"background_fill_secondary{suffix}")) >= 4.5
        )
    for arm in (*ARMS.values(), *CONTROLS.values()):
        assert contrast(arm.colour, background) >= 3
