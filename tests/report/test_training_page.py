"""The page of a comparison of trainings: it holds its figures and asks for nothing."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from study_runs import study
from tunesmith.compare.training import compare_training
from tunesmith.errors import StoreError
from tunesmith.report.training_page import render_training, training_page


def test_it_holds_every_figure_verdict_and_origin() -> None:
    found = compare_training(study(tasks=("lines", "other")), name="small")
    html = training_page(found, [("study", "small")])
    for quantity in found.quantities:
        assert quantity.definition.replace("'", "&#39;") in html
    for row in found.advice:
        assert row.wish in html
    assert html.count("against full") >= 4
    assert "run-lines-3" in html and "run-other-5" in html
    outside = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    assert "http" not in outside.replace('http-equiv="Content-Security-Policy"', "")
    (told,) = re.findall(r'id="plots-data">(.*?)</script>', html, re.DOTALL)
    plots = json.loads(told)
    assert [p["id"] for p in plots if p["what"] == "curve"] == [
        f"curve-{axis}-{n}" for n in (0, 1) for axis in ("tokens", "seconds")
    ]
    assert all(f'id="{p["id"]}"' in html for p in plots)


def test_one_seed_and_no_curves_still_make_a_page() -> None:
    from dataclasses import replace

    found = compare_training([replace(r, curve=()) for r in study(1)], name="bare")
    html = training_page(found)
    assert "No training kept its steps." in html
    assert "nothing is tested, for want of seeds" in html


def test_tables_carry_the_same_figures(tmp_path: Path) -> None:
    found = compare_training(study(), name="small")
    render_training(found, [], tmp_path)
    with (tmp_path / "tables" / "tests.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(r["p_adjusted"]) for r in rows] == [t.found.p_adjusted for t in found.tests]
    assert [r["verdict"] for r in rows] == [t.found.verdict.value for t in found.tests]
    with pytest.raises(StoreError, match="cannot write"):
        render_training(found, [], tmp_path / "report.html")


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_browser_draws_it_in_peace(
    browser: Browser, tmp_path: Path, width: int, scheme: str
) -> None:
    page = render_training(compare_training(study(), name="small"), [], tmp_path)
    view = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)  # type: ignore[arg-type]
    said: list[str] = []
    view.on("console", lambda message: said.append(message.text))
    view.on("pageerror", lambda error: said.append(str(error)))
    view.on("request", lambda request: said.append(request.url))
    view.goto(page.as_uri())
    view.wait_for_selector("#front-3 .main-svg")
    assert said == [page.as_uri()]
    assert view.evaluate("document.documentElement.scrollWidth") == width
    assert view.locator("#curve-tokens-0 .scatterlayer .trace").count() == 9  # three a method
    view.screenshot(path=str(tmp_path / "page.png"), full_page=True)
    view.close()
