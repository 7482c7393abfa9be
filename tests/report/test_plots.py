"""Drawings say in words what they show, keep to their frame, and draw only numbers."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.report.plots import WIDTH, Line, blocks, heat_map, line_chart, short, thinned

NAMES = [f"model.layers.{i}.self_attn.{kind}" for i in range(3) for kind in ("q_proj", "v_proj")]


def label(svg: str) -> str:
    return ElementTree.fromstring(svg).get("aria-label", "")


def cells(svg: str) -> dict[tuple[str, str], int]:
    """How many cells of the map have each class and shade; the legend's are one each more."""
    found: dict[tuple[str, str], int] = {}
    for path in ElementTree.fromstring(svg).iter("path"):
        place = (path.get("class", ""), path.get("style", ""))
        found[place] = found.get(place, 0) + path.get("d", "").count("z")
    return found


def test_a_map_has_a_cell_for_every_number_and_none_for_the_others() -> None:
    values = {(name, step): 1.0 + i for i, name in enumerate(NAMES) for step in (2, 4)}
    values[NAMES[0], 2] = math.nan
    values[NAMES[1], 2] = math.inf
    drawn = heat_map("Rank <&>", "directions", values, "linear")
    assert drawn is not None
    assert sum(cells(drawn.svg).values()) == 11 + 13  # and the legend
    said = label(drawn.svg)
    assert said == (
        "Rank <&> by layer and step: 1 (model.layers.0.self_attn.q_proj, step 4) to "
        "6 (model.layers.2.self_attn.v_proj, step 2); infinite in 1 places"
    )
    assert ">q_proj<" in drawn.svg
    assert "NaN" not in drawn.svg
    assert "nan" not in drawn.svg


def test_a_ratio_has_another_hue_below_one_and_none_at_it() -> None:
    ratios = (0.01, 0.1, 1.0, 10.0)
    drawn = heat_map("r", "", {("a", i): ratio for i, ratio in enumerate(ratios)}, "ratio")
    assert drawn is not None
    found = cells(drawn.svg)
    assert found["low", "--heat:100%"] == found["low", "--heat:53%"] == 2  # a cell and the legend's
    assert found["high", "--heat:6%"] == found["high", "--heat:53%"] == 2
    assert ">0.01</text>" in drawn.svg
    assert ">100</text>" in drawn.svg


def test_one_look_at_one_layer_is_a_map_and_no_number_is_none() -> None:
    assert heat_map("t", "", {("a", 1): math.nan}, "log") is None
    assert heat_map("t", "", {}, "linear") is None
    for value in (0.0, 1.0, math.inf):
        assert heat_map("t", "", {("a", 1): value}, "log") is not None


def test_a_large_model_is_no_large_file() -> None:
    names = [f"layers.{i}.{kind}_proj" for kind in "qkvogud" for i in range(80)]
    drawn = heat_map("t", "", {(n, s): len(n) + s for n in names for s in range(200)}, "linear")
    assert drawn is not None
    assert len(drawn.svg) < 900_000
    assert sum(cells(drawn.svg).values()) == 560 * 60 + 13


def test_layers_stand_by_kind_and_in_their_order() -> None:
    names = ["h.10.attn.c_proj", "h.2.attn.c_proj", "h.2.mlp.c_proj", "h.2.attn.c_attn", "head"]
    assert blocks(names) == {
        "attn.c_proj": ["h.2.attn.c_proj", "h.10.attn.c_proj"],
        "mlp.c_proj": ["h.2.mlp.c_proj"],
        "c_attn": ["h.2.attn.c_attn"],
        "head": ["head"],
    }


def test_a_chart_says_where_its_lines_begin_and_end() -> None:
    lines = [Line("a", ((1, 10.0), (2, 0.0), (3, 1e-5))), Line("b", ((1, math.inf), (2, 3.0)))]
    drawn = line_chart("Spectra", "nats", lines, axis="direction", log=True)
    assert drawn is not None
    assert label(drawn.svg) == (
        "Spectra, nats: a: 10 at direction 1, 1e−5 at 3; b: 3 at direction 2, 3 at 2"
    )
    assert drawn.svg.count("<circle") == 3
    assert line_chart("t", "", [Line("", ())], axis="x") is None
    assert line_chart("t", "", [Line("", ((1, 0.0),))], axis="x", log=True) is None
    assert line_chart("t", "", [Line("", ((1, 0.0),))], axis="x") is not None


@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.floats(0, 1e300)), min_size=1, max_size=50),
    st.booleans(),
)
def test_nothing_is_drawn_outside_of_the_frame(
    points: list[tuple[float, float]], log: bool
) -> None:
    drawn = line_chart("t", "u", [Line("name", tuple(sorted(points)))], axis="step", log=log)
    if drawn is None:
        assert log
        return
    high = float(ElementTree.fromstring(drawn.svg).get("viewBox", "").split()[3])
    for x, y in re.findall(r'c?x="([-.\d]+)" c?y="([-.\d]+)"', drawn.svg):
        assert 0 <= float(x) <= WIDTH
        assert 0 <= float(y) <= high


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0"), (1.0, "1"), (0.05, "0.05"), (4.899, "4.9"), (12.34, "12.3"), (1234.5, "1234"),
        (100.0, "100"), (2.5e7, "2.5e7"), (1e-5, "1e−5"), (-3.14159, "−3.14"),
        (math.inf, "∞"), (math.nan, "–"),
    ],
)  # fmt: skip
def test_numbers_are_short(value: float, said: str) -> None:
    assert short(value) == said


def test_thinning_keeps_both_ends() -> None:
    assert thinned([1, 2, 3], 5) == [1, 2, 3]
    few = thinned(range(1000), 7)
    assert (len(few), few[0], few[-1]) == (7, 0, 999)
