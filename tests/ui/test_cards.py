"""Cards of the theory lab: every result has its statement, as MathML that any browser can draw by itself."""

import math
import re
from xml.etree import ElementTree

import pytest

from gramviz.gram.finding import Chart, Finding, Line, Matrix, Number
from gramviz.serving import lab
from gramviz.ui.cards import ONES, STATEMENTS, mathml, with_maths
from gramviz.ui.figures.lab import LOOKS, figure, looks
from gramviz.ui.findings import details, entry, prose, verdict, verdict_word, written
from gramviz.ui.theme import ARMS
from gramviz.ui.theory import lab_card, lab_head
from tests.ui.fake_engine import CHECKPOINTS

ORDER = ("eq1", "eq2", "eq34", "lemma1", "lemma2", "eq6", "eq7", "prop2")
NAMESPACE = "{http://www.w3.org/1998/Math/MathML}"
# what a statement must hold, in the order in which it is read
SYMBOLS = {
    "eq1": ("G=XX⊤", "Gij=xi·xj"),
    "eq2": ("ri=pi−ti", "ΔH=−ηRW"),
    "eq34": ("Δhi=−ηJi⊤W⊤rg", f"ΔH≈−η{ONES}a⊤", "a=J⊤W⊤rg"),
    "lemma1": ("ΔGH=ΔHH⊤+HΔH⊤", "rank(ΔGH)≤2rank(ΔH)"),
    "lemma2": (
        f"ΔH={ONES}a⊤⇒ΔGH={ONES}b⊤+b{ONES}⊤",
        "b=Ha",
        f"ℛ={ONES}⊤GH{ONES}P",
        "Δℛ=2P(h¯·a)+P‖a‖2",
    ),
    "eq6": ("ℒGram=‖XX⊤−XGXG⊤‖F2", "Q⊤Q=I⇒ℒGram(XQ)=ℒGram(X)"),
    "eq7": ("=4(XX⊤−XGXG⊤)X", "=1‖hi‖(I−xixi⊤)"),
    "prop2": (f"H1=(H0+{ONES}a⊤)Q", "Gt→G0"),
}
CHART = Chart(
    "T", "x, m", "y, s", (Line("a", (1, 2), (3.5, 4)), Line("b", (1, 2), (5, 6), "other")), "About."
)


def letters(markup):
    """The symbols of a formula in the order in which it is read, without space."""
    return re.sub(r"\s", "", "".join(ElementTree.fromstring(markup).itertext()))


def test_the_cards_stand_in_the_order_of_the_post_and_each_has_its_statement():
    assert tuple(card.name for card in lab.CARDS) == ORDER == tuple(STATEMENTS)


@pytest.mark.parametrize("name", ORDER)
def test_statements_are_mathml_with_the_right_symbols(name):
    formulas = [mathml(formula, "block") for formula in STATEMENTS[name].formulas]
    for formula in formulas:
        tags = {node.tag for node in ElementTree.fromstring(formula).iter()}
        assert all(tag.startswith(NAMESPACE) for tag in tags)
        assert not re.search(r"href|src=|\\|http(?!://www\.w3\.org/1998/Math)", formula)
    read = "|".join(map(letters, formulas))
    for symbols in SYMBOLS[name]:
        assert symbols in read


@pytest.mark.parametrize("name", ORDER)
def test_texts_have_their_maths_closed_and_no_tex_left(name):
    statement = STATEMENTS[name]
    for text in (statement.symbols, statement.to_try, statement.condition):
        assert text.count("$") % 2 == 0
        html = with_maths(text)
        assert "$" not in html
        assert "\\" not in html
        ElementTree.fromstring(f"<p>{html}</p>")
    assert statement.symbols
    assert statement.to_try


def test_the_condition_that_the_post_does_not_name_is_on_the_card():
    html = with_maths(STATEMENTS["lemma2"].condition)
    assert "only if <span" in html
    assert "h¯·a>0" in letters(re.search("only if .*?(<math.*?</math>)", html)[1])


def test_what_a_verdict_is_not_about_is_on_its_card():
    for name, words in (
        ("eq2", "not the AdamW of the run"),
        ("eq34", "not what patches do after a step on weights"),
        ("prop2", "nothing comes back"),
    ):
        assert words in STATEMENTS[name].condition
    assert "quadruples" in STATEMENTS["lemma2"].symbols
    assert "to first order" in STATEMENTS["eq7"].symbols
    assert {r"$W$", r"$\eta$"} <= set(re.findall(r"\$[^$]*\$", STATEMENTS["eq34"].symbols))


def test_with_maths_escapes_what_is_no_maths():
    assert with_maths("a < b & $x$ y") == f'a &lt; b &amp; <span class="gv-formula">{mathml("x")}</span> y'


def test_a_formula_keeps_its_brackets_and_its_full_stop():
    assert with_maths("all ($Q$). So") == f'all <span class="gv-formula">({mathml("Q")}).</span> So'


@pytest.mark.parametrize("card", lab.CARDS, ids=lambda card: card.name)
def test_components_pass_the_template_engines(card):
    component = lab_card(card, depth=6)
    assert STATEMENTS[card.name].title in component.js_on_load
    assert "<math" not in component.html_template
    for control in card.controls:
        assert f'"name": "{control.name}"' in component.js_on_load


def test_the_head_offers_every_checkpoint_and_begins_without_gram():
    head = lab_head(CHECKPOINTS)
    assert head.value == {"checkpoint": "small-plain-8000", "source": "photograph"}
    assert all(f'"id": "{info.id}"' in head.js_on_load for info in CHECKPOINTS)
    only = [info for info in CHECKPOINTS if info.branch == "trunk"]
    assert lab_head(only).value["checkpoint"] == "small-trunk-2000"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (12, "12"),
        (-12345, "−12\u202f345"),
        (0.352249, "0.3522"),
        (-0.0025, "−0.0025"),
        (0.99999, "1"),
        (9.99996, "10"),
        (18213.7, "18\u202f214"),
        (3.14e-14, "3.1\u00a0×\u00a010<sup>−14</sup>"),
        (-1e-9, "−10<sup>−9</sup>"),
        (2.5e7, "2.5\u00a0×\u00a010<sup>7</sup>"),
        (math.inf, "∞"),
        (math.nan, "not a number"),
    ],
)
def test_numbers_are_written_for_people(value, text):
    assert written(value) == text


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("within 1e-12, not -3.5e+4", "within 10<sup>−12</sup>, not −3.5\u00a0×\u00a010<sup>4</sup>"),
        ("|G - G_0| and ||X||_F^2", "|G − G<sub>0</sub>| and ‖X‖<sub>F</sub><sup>2</sup>"),
        ("of run/gram_hires/200, top-1", "of run/gram_hires/200, top-1"),
        ("Delta H H^T for eta <= 1,234", "ΔH H<sup>T</sup> for η ≤ 1\u202f234"),
        ("1^T G 1 / P, 1 a^T, 1 / P", f"{ONES}<sup>T</sup> G {ONES} / P, {ONES} a<sup>T</sup>, 1 / P"),
        ("mean(h) . a = -dL/dh_i <b>", "mean(h) · a = −dL/dh<sub>i</sub> &lt;b&gt;"),
    ],
)
def test_sentences_have_their_maths_in_print(text, html):
    assert prose(text) == html


def test_a_finding_is_told_whole():
    finding = Finding(
        False,
        "because <1e-3",
        (Number("rank", 3, "of R"), Number("size", 0.25, "|a|")),
        (CHART, CHART),
        (Matrix("H", ((1.0, -0.0004), (0.33333, 2.0))),),
    )
    assert verdict_word(finding) == "fails"
    said = ElementTree.fromstring(verdict(finding))
    assert "".join(said.itertext()) == "failsbecause <10−3"
    below = ElementTree.fromstring(f"<div>{details(finding, 2)}</div>")
    assert ["".join(dt.itertext()) for dt in below.iter("dt")] == ["rank", "size"]
    assert [dd.text for dd in below.iter("dd")] == ["3", "of R", "0.25", "|a|"]
    assert [[td.text for td in row] for row in below.iter("tr")] == [["1", "0"], ["0.333", "2"]]
    assert [b.text for b in below.iter("b")] == ["T.", "T."]


@pytest.mark.parametrize(("holds", "word"), [(True, "holds"), (False, "fails"), (None, "cannot be decided")])
def test_a_verdict_is_a_word_and_a_sign(holds, word):
    said = verdict(Finding(holds, "so it is"))
    assert word in said
    assert "<svg" in said


def test_entries_of_a_matrix_are_rounded_without_a_minus_nought():
    assert [entry(value) for value in (-1e-9, -0.5, 2.0, 0.8944)] == ["0", "−0.5", "2", "0.894"]


@pytest.mark.parametrize("columns", [1, 2, 3])
@pytest.mark.parametrize("card", lab.CARDS, ids=lambda card: card.name)
def test_drawn_numbers_are_those_of_the_charts(card, columns):
    charts = lab.check(card.name, lab.blackboard(), {}).charts
    made = figure(charts, columns)
    assert (made is None) == (charts == ())
    if made is None:
        return
    drawn = iter(made.data)
    for chart in charts:
        for line in chart.lines:
            trace = next(drawn)
            assert trace.name == prose(line.name)
            assert tuple(trace.x) == line.x
            assert tuple(trace.y) == line.y
            assert trace.type == {"line": "scatter", "bar": "bar"}[chart.kind]
    assert next(drawn, None) is None
    axes = [(a.title.text, a.type) for a in made.select_xaxes() if a.title.text]
    assert axes == [(prose(c.x_axis), "log" if c.log_x else "linear") for c in charts]
    axes = [(a.title.text, a.type) for a in made.select_yaxes() if a.title.text]
    assert axes == [(prose(c.y_axis), "log" if c.log_y else "linear") for c in charts]
    assert [shape.x0 for shape in made.layout.shapes] == [
        c.mark for c in charts if c.mark is not None and (c.mark > 0 or not c.log_x)
    ]
    assert len(made.to_json()) < 60_000


def test_no_charts_no_figure():
    assert figure((), 2) is None


def test_lines_of_one_chart_look_different_and_arms_have_their_own_colours():
    assert all(look.colour != arm.colour for kind in LOOKS.values() for look in kind for arm in ARMS.values()
               if arm.label != "trunk")  # fmt: skip
    lines = [
        Line(name, (1,), (1,), role) for name, role in zip("abcd", ("main", *["other"] * 3), strict=True)
    ]
    assert len({look.colour for look in looks(lines)}) == 4
    assert looks([Line(ARMS["gram"].label, (1,), (1,))]) == [ARMS["gram"]]
