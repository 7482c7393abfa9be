"""The data report draws what it is given, asks nobody for anything, and fits a phone."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser

from tunesmith.errors import StoreError
from tunesmith.records import Example, Finding, Message, Quality, Severity
from tunesmith.report.data_page import (
    Sheet,
    Shown,
    data_page,
    histogram,
    render_data,
    repeated,
)


def row(i: int, source: str = "stack", label: str | None = None) -> Example:
    return Example(
        (Message("user", f"Question {i // 2} <script>alert(1)</script>?"),),
        f"answer {i}",
        label or ("yes", "no", "perhaps")[i % 3],
        {"source": source},
        f"{source}.jsonl:{i}",
    )


FINDING = Finding("near", Severity.WARNING, "prompts <b>repeat</b>", 7, ("f:1",), "Drop them.")
SHEET = Sheet(
    title="faq",
    parts={
        "train": tuple(row(i) for i in range(40)),
        "test": tuple(row(i, "a source with quite a long name of its own") for i in range(40, 60)),
    },
    quality=Quality(70, 60, 10, {}, {}, {}, 30, 29, 0, 0, {}, (FINDING,)),
    lengths=tuple((20 + i, 3 * i) for i in range(60)),
    unit="tokens",
    max_length=128,
    rejected={"the answer is empty": 10},
    licences={"CC-BY-SA-4.0": 40, "MIT": 20},
    origins={"human": 40, "generated": 20},
    examples=(
        Shown(
            "stack.jsonl:1",
            "train",
            (
                ("special", "<|im_start|>"),
                ("prompt", "user\n<i>x</i>"),
                ("answer", "y"),
                ("special answer", "<|im_end|>"),
            ),
            9,
            2,
        ),
    ),
    repeat=(("command", "tunesmith data report faq.yaml"),),
)


@given(st.lists(st.integers(0, 5000), min_size=1), st.none() | st.integers(1, 5000))
def test_a_histogram_counts_every_length_once(lengths: list[int], limit: int | None) -> None:
    found = histogram("prompts", lengths, "tokens", limit=limit)
    told = [re.findall(r"[\d,]+", column.title) for column in found.columns]
    ranges = [(int(a.replace(",", "")), int(b.replace(",", ""))) for a, b, _ in told]
    counts = [int(n.replace(",", "")) for _, _, n in told]
    assert sum(counts) == len(lengths)
    for (low, high), count in zip(ranges, counts, strict=True):
        assert sum(low <= length <= high for length in lengths) == count
    assert max(column.height for column in found.columns) == 100
    assert found.limit is None or 0 <= found.limit <= 100


def test_repeated_prompts_put_contradictions_first() -> None:
    same = [replace(row(0, label="yes"), target="a")] * 5
    other = [row(2, label="yes"), row(2, label="no")]
    found = repeated([*same, *other, row(9)])
    assert [(it.rows, it.answers) for it in found] == [(2, 2), (5, 1)]
    assert found[0].labels == "yes 1, no 1"


def test_everything_that_was_given_stands_on_the_page() -> None:
    html = data_page(SHEET)
    for text in (
        "60 examples",
        "CC-BY-SA-4.0",
        "generated",
        "Drop them.",
        "the answer is empty",
        "training.max_length",
        "Labels by source",
        "tunesmith data report faq.yaml",
    ):
        assert text in html, text
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "prompts &lt;b&gt;repeat" in html
    assert '<span class="special-answer">&lt;|im_end|&gt;</span>' in html
    assert not re.findall(r'(?:src|href)="(?!#|data:)', html)


def test_a_bare_set_has_a_page_too() -> None:
    one = Example((Message("user", "q"),), "a")
    html = data_page(Sheet("one", {"all": (one,)}, None, ((1, 1),), "words"))
    assert "its card says what was found" in html
    assert "None was asked for" in html


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write the report"):
        render_data(SHEET, tmp_path / "file" / "page.html")


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "light"), (390, "dark")])
def test_a_browser_draws_it_in_peace(
    browser: Browser, tmp_path: Path, width: int, scheme: str
) -> None:
    page = render_data(SHEET, tmp_path / "deep" / "page.html")
    view = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)  # type: ignore[arg-type]
    said: list[str] = []
    view.on("console", lambda message: said.append(message.text))
    view.on("pageerror", lambda error: said.append(str(error)))
    view.on("request", lambda request: said.append(request.url))
    view.goto(page.as_uri())
    assert said == [page.as_uri()]
    assert view.evaluate("document.documentElement.scrollWidth") == width
    assert view.locator(".histogram rect").count() > 30
    boxes = [rect.bounding_box() for rect in view.locator(".histogram rect").all()[:5]]
    assert all(box is not None and box["width"] > 1 for box in boxes)
    view.close()
