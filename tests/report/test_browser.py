"""The report in a real browser: it asks for nothing, fits its window, can be read and printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page


def opened(browser: Browser, report: Path, width: int, scheme: Any) -> tuple[Page, list[str]]:
    """The report in a window of this width, and what the browser complained of or asked for."""
    view = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    said: list[str] = []
    view.on("console", lambda message: said.append(message.text))
    view.on("pageerror", lambda error: said.append(str(error)))
    view.on("request", lambda request: said.append(request.url))
    view.goto(report.as_uri())
    view.wait_for_selector("#curves .main-svg")
    return view, said


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "light"), (390, "dark")])
def test_a_browser_draws_it_in_peace(
    browser: Browser, report: Path, width: int, scheme: str
) -> None:
    view, said = opened(browser, report, width, scheme)
    assert said == [report.as_uri()]
    assert view.evaluate("document.documentElement.scrollWidth") == width
    assert view.locator("#curves .scatterlayer .trace").count() == 4
    assert view.locator(".drawing svg").count() > 0
    for table in view.locator("table").all():
        wide = table.evaluate("t => t.closest('.scroll') !== null || t.offsetWidth <= innerWidth")
        assert wide, "a table scrolls in its own box"
    view.close()


@pytest.mark.browser
def test_dark_and_light_have_contrast_enough_to_read(browser: Browser, report: Path) -> None:
    measure = """(selector) => {
      const light = (colour) => {
        const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).slice(0, 3).map((v) => {
          const s = v / 255; return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4; });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
      const seen = document.querySelector(selector);
      const a = light(getComputedStyle(seen).color);
      const b = light(getComputedStyle(document.body).backgroundColor);
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); }"""
    for scheme in ("light", "dark"):
        view, _ = opened(browser, report, 1280, scheme)
        # WCAG 2.2, 1.4.3: at least 4.5 to 1.
        for selector in ("h1", ".lead", ".better .verdict", ".no-evidence .verdict", "small"):
            assert view.evaluate(measure, selector) >= 4.5, (scheme, selector)
        view.close()


@pytest.mark.browser
def test_paper_gets_everything_that_is_folded_on_the_screen(browser: Browser, report: Path) -> None:
    view, _ = opened(browser, report, 1280, "dark")
    folded = "document.querySelectorAll('details.on-paper[open]').length"
    assert view.evaluate(folded) == 0
    view.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert view.evaluate(folded) == 3
    view.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert view.evaluate(folded) == 0
    view.emulate_media(media="print")
    background = view.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(255, 255, 255)"
    assert view.pdf(format="A4").startswith(b"%PDF")
    view.close()
