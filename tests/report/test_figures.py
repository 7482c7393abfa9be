"""Figures read as a person expects them to."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.report import figures


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (figures.score(0.8333, True), "83.3%"),
        (figures.score(0.8333, False), "0.833"),
        (figures.score(math.nan, True), "–"),
        (figures.difference(-0.05, True), "−5.0 points"),
        (figures.difference(0.0, True), "0.0 points"),
        (figures.difference(0.0123, False), "+0.012"),
        (figures.difference_interval(-0.1, 0.2, True), "−10.0 to +20.0"),
        (figures.signed(-0.0001), "0.000"),
        (figures.signed(math.inf), "+∞"),
        (figures.number(-math.inf), "−∞"),
        (figures.probability(0.0004), "< 0.001"),
        (figures.probability(0.05), "0.050"),
        (figures.duration(None), "–"),
        (figures.duration(3.14), "3.1\u202fs"),
        (figures.duration(59.6), "1\u202fmin 0\u202fs"),
        (figures.duration(7260), "2\u202fh 1\u202fmin"),
        (figures.size(999), "999\u202fB"),
        (figures.size(1_300_000_000), "1.3\u202fGB"),
        (figures.integer(31630), "31,630"),
    ],
)
def test_figures(shown: str, wanted: str) -> None:
    assert shown == wanted


@given(st.floats(-1, 1))
def test_a_sign_is_shown_for_what_is_shown(value: float) -> None:
    text = figures.signed(value)
    read = float(text.replace("−", "-"))
    assert abs(read - value) <= 0.0005 + 1e-12
    assert text[0] == ("+" if read > 0 else "−" if read < 0 else "0")
