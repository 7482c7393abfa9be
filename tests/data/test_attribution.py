"""Whom to credit: named where a licence asks for it, tied to the rows, and safe to show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.data.attribution import asks_credit, attribution, licence_urls, works
from tunesmith.data.card import CardFacts, card
from tunesmith.data.versions import write_version
from tunesmith.records import Example, Message, Quality, Splits

POST = {
    "source": "asked",
    "licence": "CC-BY-SA-3.0 AND CC-BY-SA-4.0",
    "title": "When may I stop?",
    "author": "question by Ann [A]; answer by <b>Bo</b>",
    "date": "2014-05-06",
    "url": "https://example.org/q/1",
    "answer_url": "https://example.org/a/2",
}


def row(text: str, **meta: str) -> Example:
    return Example((Message("user", text),), f"to {text}", None, meta, "f:1")


@pytest.mark.parametrize(
    ("licence", "asks"),
    [
        ("", False),
        ("CC0-1.0", False),
        ("Unlicense OR CC0-1.0", False),
        ("MIT", True),
        ("CC-BY-4.0", True),
        ("(CC0-1.0 AND CC-BY-SA-4.0)", True),
        ("our own terms", True),
    ],
)
def test_which_licences_ask(licence: str, asks: bool) -> None:
    assert asks_credit(licence) is asks


def test_where_a_licence_stands() -> None:
    assert licence_urls(POST["licence"]) == (
        "https://creativecommons.org/licenses/by-sa/3.0/",
        "https://creativecommons.org/licenses/by-sa/4.0/",
    )
    assert licence_urls("mit OR (our own)") == ("https://spdx.org/licenses/MIT.html",)


def test_a_work_is_credited_with_all_that_cc_by_sa_asks_for() -> None:
    rows = (row("a", **POST), row("b", **POST), row("c", source="made", licence="CC0-1.0"))
    made = row("d", **POST | {"kind": "generated", "citation": "post 1"})
    found = works({"train.jsonl": rows, "test.jsonl": (made,)})
    assert list(found.values()) == [["train.jsonl:1", "train.jsonl:2"], ["test.jsonl:1"]]
    text = attribution(found, "faq")
    for words in (
        "without any warranty",
        "<https://creativecommons.org/licenses/by-sa/4.0/>",
        "[When may I stop?](https://example.org/q/1), answer: <https://example.org/a/2>",
        "by question by Ann \\[A\\]; answer by &lt;b>Bo&lt;/b>, 2014-05-06.",
        "Changed: put into chat turns; markup may have been converted. In train.jsonl:1",
        "Changed: a language model wrote question and answer from it. In test.jsonl:1",
    ):
        assert words in text
    silent = attribution(
        works({"x": [row("a", source="s", licence="MIT", url="javascript:x")]}), ""
    )
    assert "by not stated" in silent
    assert "](" not in silent
    assert attribution(works({"x": [row("a", source="s", licence="CC0-1.0")]}), "faq") == ""


def test_a_version_brings_it_along_and_its_card_points_there(tmp_path: Path) -> None:
    splits = Splits((row("a", **POST), row("b", source="s", licence="MIT")), (), ())
    quality = Quality(2, 2, 0, {}, {}, {}, 0, 0, 0, 0, {}, ())
    text = card(CardFacts("faq", "", "0" * 64, "text", 1, splits, quality))
    write_version(tmp_path, splits, text, seed=1, name="faq")
    credits = (tmp_path / "ATTRIBUTION.md").read_text("utf-8")
    assert credits.startswith("# Attribution: faq\n")
    assert "Ann" in credits
    line = next(part for part in credits.split() if part.startswith("train.jsonl:"))
    rows = (tmp_path / "train.jsonl").read_text("utf-8").splitlines()
    assert '"content": "a"' in rows[int(line.partition(":")[2]) - 1]
    told = (tmp_path / "README.md").read_text("utf-8")
    assert "[ATTRIBUTION.md](ATTRIBUTION.md) says whom to credit for 2 of them" in told
    assert "of 1 the author is not stated" in told
