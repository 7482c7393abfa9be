"""The page says what a method saw in its layers, and nothing where none looked."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser

from tunesmith.records import LayerReport, TrainingStep
from tunesmith.report.facts import Facts, gather
from tunesmith.report.layers import inside, time_shares
from tunesmith.report.page import page

KINDS = ("self_attn.q_proj", "mlp.down_proj")
LAYERS = [f"model.layers.{i}.{kind}" for i in range(3) for kind in KINDS]


def looks(step: int) -> list[LayerReport]:
    """Six layers, of which the last ones use more directions."""
    return [
        LayerReport(
            step, layer, 4, (1.0, 0.1, 1e-3, 0.0), 1.0 + i / 2 + step / 60,
            math.inf if i == 0 and step == 20 else 10.0 * (i + 1), 5.0 + i, 2.0 - i / 3, None, 0.6,
        )
        for i, layer in enumerate(LAYERS)
    ]  # fmt: skip


def kept(step: int, *shares: float) -> list[LayerReport]:
    reports = zip(looks(step), shares, strict=False)
    return [
        replace(look, rank=i + 2, energy_kept=share, natural_to_plain=1.0, seconds=0.0)
        for i, (look, share) in enumerate(reports)
    ]


@pytest.fixture
def facts(filled: Any) -> Facts:
    """The filled store's run, in which grit looked at steps 20, 40 and 60 of 60."""
    seen = (*looks(20), *looks(40), *kept(40, 0.99, 0.95, 1.0), *looks(60))
    return replace(gather(filled.store, filled.run_id), layers={"grit": seen})


def test_nobody_looked_so_nothing_is_said(filled: Any) -> None:
    plain = gather(filled.store, filled.run_id)
    assert plain.layers == {}
    assert inside(plain) == []
    assert '<section class="layers">' not in page(plain, lambda said: said.b)


def test_a_variant_is_told_by_maps_curves_and_reprojections(facts: Facts) -> None:
    [grit] = inside(facts)
    assert grit.variant == "grit"
    assert grit.lead == (
        "Seen at 3 of 60 steps in 6 layers of rank 4. The method's own work took 2.0% of the "
        "steps' time."
    )
    assert [drawing.title for drawing in grit.drawings] == [
        "Effective rank",
        "Natural over plain gradient",
        "Condition of the inputs",
        "Condition of the gradients",
        "Time that grit spent on this",
        "Spectra at the last look",
    ]
    labels = [
        ElementTree.fromstring(drawing.svg).get("aria-label", "") for drawing in grit.drawings
    ]
    assert "1.33 (model.layers.0.self_attn.q_proj, step 20)" in labels[0]
    assert "4.5 (model.layers.2.mlp.down_proj, step 60)" in labels[0]
    assert labels[2].endswith("infinite in 1 places")
    assert labels[4].endswith("2 at step 20, 2 at 60")
    assert "model.layers.2.mlp.down_proj (effective rank 4.5): 1 at direction 1" in labels[5]
    assert labels[5].count("effective rank") == 3
    assert grit.reprojections is not None
    [(name, _, cells)] = grit.reprojections.rows
    assert name == "step 40"
    assert [cell.value for cell in cells] == ["3", "2 to 4", "98.0%", "95.0%"]
    assert cells[-1].note == "model.layers.0.mlp.down_proj"


def test_a_share_of_time_is_of_the_steps_since_the_look_before() -> None:
    steps = [TrainingStep(i, 0.0, 1.0, 0.0, 0.0, 1, 1, float(i), 0) for i in range(1, 7)]
    reports = [replace(looks(at)[0], seconds=spent) for at, spent in ((2, 0.3), (5, 1.2), (9, 1.0))]
    assert time_shares(reports, steps) == [
        (2, pytest.approx(0.1)), (5, pytest.approx(0.1)), (9, pytest.approx(1 / 6)),
    ]  # fmt: skip
    assert time_shares(reports, []) == []


def test_reprojections_alone_are_a_table_alone(facts: Facts) -> None:
    [alone] = inside(replace(facts, layers={"grit": tuple(kept(40, 1.0))}))
    assert alone.drawings == ()
    assert alone.lead == ""
    many = tuple(report for step in range(1, 101) for report in kept(step, 0.5))
    [grit] = inside(replace(facts, layers={"grit": many}))
    assert grit.reprojections is not None
    assert len(grit.reprojections.rows) == 40
    assert grit.reprojections.caption.endswith("(40 of 100 are shown)")


def test_nothing_but_nan_is_no_drawing(facts: Facts) -> None:
    empty = [
        replace(
            look,
            spectrum=(math.nan,),
            effective_rank=math.nan,
            condition_input=math.nan,
            condition_gradient=math.nan,
            natural_to_plain=math.nan,
            seconds=math.nan,
        )
        for look in looks(20)
    ]
    [grit] = inside(replace(facts, layers={"grit": tuple(empty)}))
    assert grit.drawings == ()


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_browser_draws_it_in_the_pages_colours(
    browser: Browser, facts: Facts, tmp_path: Path, width: int, scheme: Any
) -> None:
    file = tmp_path / "report.html"
    file.write_text(page(facts, lambda said: said.b), encoding="utf-8")
    view = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    said: list[str] = []
    view.on("console", lambda message: said.append(message.text))
    view.on("request", lambda request: said.append(request.url))
    view.goto(file.as_uri())
    assert said == [file.as_uri()]
    assert view.evaluate("document.documentElement.scrollWidth") == width
    drawings = view.locator("section.layers svg[role=img]")
    assert drawings.count() == 6
    for drawing in drawings.all():
        box = drawing.bounding_box()
        assert box is not None
        assert box["width"] > 300
        assert box["height"] > 90
    assert view.get_by_role("img", name="Effective rank by layer and step").count() == 1
    fill = "e => getComputedStyle(e).fill"
    darkest = view.locator(".plots svg").first.locator("path.high").last.evaluate(fill)
    lightest = view.locator(".plots svg").first.locator("path.high").first.evaluate(fill)
    assert "oklab" in darkest
    assert darkest != lightest
    overlap = """svg => { const boxes = [...svg.querySelectorAll('text')]
      .map(t => t.getBoundingClientRect());
      const outer = svg.getBoundingClientRect();
      return boxes.some((a, i) => a.left < outer.left - 1 || a.right > outer.right + 1
        || boxes.some((b, j) => i < j && a.left < b.right && b.left < a.right
          && a.top + 3 < b.bottom && b.top + 3 < a.bottom)); }"""
    for drawing in drawings.all():
        assert not drawing.evaluate(overlap), drawing.get_attribute("aria-label")
    view.close()
