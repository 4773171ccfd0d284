"""How the program looks: the colour and name of each arm, the theme, and the page's own style.

Every colour that stands for a branch of a training run comes from here, for the page and for figures alike. This
module knows no checkpoint and no picture.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import gradio as gr

from gramviz.ui.web import read_web

SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif")
MONO_FONTS = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


@dataclass(frozen=True)
class Arm:
    """One branch of a training run as it is shown: its name, its colour (sRGB, `#rrggbb`), and how a curve of it is
    dashed and marked, in Plotly's words, so that it can be told without colour.
    """

    label: str
    colour: str
    dash: str = "solid"
    marker: str = "circle"


# Okabe and Ito 2008, chosen to stay apart for colour-blind readers; the trunk is a neutral grey.
ARMS: Mapping[str, Arm] = MappingProxyType(
    {
        "trunk": Arm("trunk", "#808080"),
        "plain": Arm("without Gram", "#D55E00"),
        "gram": Arm("with Gram", "#0072B2", "dash", "square"),
        "gram_hires": Arm("Gram, high-res", "#009E73", "dashdot", "diamond"),
        "model": Arm("model", "#4B6A88", "solid", "triangle-down"),
        "own1": Arm("yours, 1st", "#CC79A7", "longdash", "star"),
        "own2": Arm("yours, 2nd", "#9A7500", "longdash", "hexagon"),
        "own3": Arm("yours, 3rd", "#2B7FB8", "longdash", "pentagon"),
        "own4": Arm("yours, 4th", "#B34D4D", "longdash", "cross"),
    }
)

# Further arms that are measured but not shipped: variations of anchoring, thin in the curves.
CONTROLS: Mapping[str, Arm] = MappingProxyType(
    {
        "gram_w2": Arm("weight 2", "#6A94C9", "dot", "triangle-up"),
        "gram_w5": Arm("weight 5", "#4C86C6", "dot", "triangle-down"),
        "gram_w50": Arm("weight 50", "#5560B0", "dot", "triangle-left"),
        "gram_late": Arm("late teacher", "#B0478A", "dot", "x"),
        "gram_repair": Arm("repair", "#A87400", "dot", "cross"),
    }
)


def arm_variables() -> str:
    """The arms' colours as CSS custom properties (`--arm-plain` and so on) on the root element."""
    rules = " ".join(f"--arm-{name}: {arm.colour};" for name, arm in ARMS.items())
    return f":root {{ {rules} }}\n"


def page_css() -> str:
    """The style of the page outside its components."""
    return arm_variables() + read_web("page.css") + read_web("outcome.css")


def theme() -> gr.themes.Base:
    """A quiet neutral theme in system fonts, so that nothing is fetched from another host."""
    base = gr.themes.Base(
        primary_hue=gr.themes.colors.slate,
        secondary_hue=gr.themes.colors.slate,
        neutral_hue=gr.themes.colors.gray,
        font=list(SYSTEM_FONTS),
        font_mono=list(MONO_FONTS),
    )
    return base.set(
        body_background_fill="#ffffff",
        body_background_fill_dark="#101214",
        body_text_color="#15181b",
        body_text_color_dark="#e8eaec",
        body_text_color_subdued="#5a6068",
        body_text_color_subdued_dark="#a3a9b1",
        background_fill_secondary="#f3f4f5",
        background_fill_secondary_dark="#1b1e22",
        border_color_primary="#d5d9dd",
        border_color_primary_dark="#363b41",
        color_accent="#15181b",
        color_accent_soft="#e9ebed",
        color_accent_soft_dark="#2a2e33",
    )
