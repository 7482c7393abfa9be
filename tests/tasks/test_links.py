"""Links must come through whole: what is a link, and what breaks one."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tunesmith.tasks.links import url_intact, urls

URL = "https://www.example.edu/path/page.php?a=1&b=%20x+y$z~w:8#top"
SIGNS = "/@#?&%=+$~:-_.,;!*'()[]{}|^"
# What a cleaning step of the study's server drops.
DROPPED = "=&%+$~:"


@pytest.mark.parametrize(
    ("response", "score"),
    [
        (f"See {URL}.", 1.0),
        (f"See [the page]({URL}), please", 1.0),
        (f"[{URL}]({URL})", 1.0),
        (f"<{URL}>", 1.0),
        (f'<a href="{URL}">x</a>', 1.0),
        (f"<a href='{URL}'>x</a>", 1.0),
        (f"**{URL}**", 1.0),
        (f"({URL})!", 1.0),
        (f"“{URL}”…", 1.0),
        (f"|{URL}|{URL}|", 1.0),
        (f"['{URL}','{URL}x']", 1.0),
        (f"\\href{{{URL}}}{{the page}}", 1.0),
        (URL.replace("&", ""), 0.0),
        (URL.replace("%", ""), 0.0),
        (URL.replace("~", " "), 0.0),
        (URL.replace("https", "HTTPS"), 0.0),
        (URL.replace("&", "&amp;"), 0.0),
        (URL.removeprefix("https://"), 0.0),
        (URL[:-1], 0.0),
        (f"{URL}s", 0.0),
        (f"s{URL}", 0.0),
        (f"{URL}/more", 0.0),
        (f"https://mirror.example/{URL}", 0.0),
        ("no link", 0.0),
    ],
)
def test_a_link_is_whole_or_broken(response: str, score: float) -> None:
    assert url_intact(response, f"Go to {URL} now") == score


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "(https://en.wikipedia.org/wiki/Set_(mathematics))",
            {"https://en.wikipedia.org/wiki/Set_(mathematics)"},
        ),
        ("www.a.org, https://b.org/; nothing.else", {"www.a.org", "https://b.org/"}),
        ("(https://a.org),(https://b.org)", {"https://a.org", "https://b.org"}),
        ("https://a.org/?f[]=1&g={id}", {"https://a.org/?f[]=1&g={id}"}),
        ("https://a.org/o'brien?x=a|b", {"https://a.org/o'brien?x=a|b"}),
        ("[mail](mailto:ann@a.org?subject=a%20b)", {"mailto:ann@a.org?subject=a%20b"}),
        ("write to ann@www.a.org or ann@a.org; see readme.md", set()),
        ("https:// and www. alone", set()),
    ],
)
def test_what_is_a_link(text: str, found: set[str]) -> None:
    assert urls(text) == found


def test_every_link_of_the_reference_is_wanted_and_more_do_no_harm() -> None:
    assert url_intact("https://a.org", "https://a.org and https://b.org") == 0.0
    assert url_intact("https://b.org https://c.org https://a.org", "https://a.org") == 1.0
    assert url_intact("anything", "no link here") == 1.0


def test_what_stands_behind_a_quotation_mark_or_a_bracket_counts() -> None:
    assert url_intact("https://a.org/o'neil", "https://a.org/o'brien") == 0.0
    assert url_intact("https://a.org/?f[]=2", "https://a.org/?f[]=1") == 0.0


PIECES = st.text(alphabet="abcXYZ019" + SIGNS, min_size=1, max_size=25)
LINKS = st.builds(
    lambda host, tail: f"https://{host}.example/{tail}z",
    st.from_regex(r"[a-z]{1,8}", fullmatch=True),
    PIECES,
)
AROUND = st.sampled_from(
    ["{}", "{}.", "({})", "<{}>", "**{}**", "[page]({})", "see {}, please", "“{}”", "'{}'", "{}?!"]
)


@given(LINKS, AROUND)
def test_a_link_survives_whatever_a_sentence_puts_around_it(url: str, around: str) -> None:
    assume(urls(url) == {url})  # brackets that it never opened end it: it is no link as it stands
    assume("'" not in url or around != "'{}'")
    assume("(" not in around or not {"(", ")"} & set(url))
    assert url_intact(around.format(url), f"Go to {url} now") == 1.0


@given(LINKS, st.data())
def test_any_sign_that_is_lost_changed_or_added_breaks_it(url: str, data: st.DataObject) -> None:
    assume(urls(url) == {url})
    at = data.draw(st.integers(1, len(url) - 1))
    other = data.draw(st.sampled_from("aZ7-/"))
    for changed in (url[:at] + url[at + 1 :], url[:at] + other + url[at:], url + other):
        assume(changed != url)
        assert url_intact(f"See {changed} now", url) == 0.0


@given(LINKS, st.integers(1, 8))
def test_a_link_that_was_cut_short_is_not_whole(url: str, lost: int) -> None:
    assume(urls(url) == {url})
    assert url_intact(f"{url[:-lost]}...", url) == 0.0


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_scored_and_holds_its_own_links(response: str, reference: str) -> None:
    assert url_intact(response, reference) in {0.0, 1.0}
    assert url_intact(reference, reference) == 1.0
    assert all(url in reference for url in urls(reference))


def test_a_cleaning_step_is_seen_in_exactly_the_links_that_it_changes() -> None:
    """500 links; the study's server cleans its answers and drops `= & % + $ ~ :`."""
    r = random.Random(0)
    tails = ("", "", "", "?id={}", "#part-{}", "~ann/{}", "?a={}&b=x%20y", "?q=a+b", "?sum=$9")
    links = [
        f"https://www.example.edu/page-{i}/{r.choice(tails).format(r.randint(1, 99))}"
        for i in range(500)
    ]

    def cleaned(link: str) -> str:
        scheme, _, rest = link.partition("://")
        return f"{scheme}://" + "".join(c for c in rest if c not in DROPPED)

    changed = {link for link in links if cleaned(link) != link}
    assert 100 < len(changed) < 400
    for link in links:
        assert url_intact(f"See {cleaned(link)}.", f"See {link}.") == float(link not in changed)
    for sign in DROPPED:
        assert all(
            url_intact(link.replace(sign, ""), link) == 0.0 for link in links if sign in link
        )


def test_links_of_the_real_answers_survive_and_the_cleaned_ones_do_not(shared_data: Path) -> None:
    answers = [
        row["response"]
        for path in sorted((shared_data / "campus").glob("*.json"))
        for row in json.loads(path.read_text("utf-8"))
    ]
    linked = [answer for answer in answers if "http" in answer]
    assert len(linked) > 20
    assert all(urls(answer) for answer in linked)
    assert all(url_intact(answer, answer) == 1.0 for answer in linked)
    assert all(url_intact(answer.replace("/", ""), answer) == 0.0 for answer in linked)
