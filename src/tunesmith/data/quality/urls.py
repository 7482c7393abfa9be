"""Links in answers that are cut or malformed: a model repeats them letter by letter.

Malformed: no host that could exist, a broken percent escape (RFC 3986, 2.1), a character that no
URL holds. Cut: it ends in an ellipsis or an open escape, or it stops in the middle of a word where
another row has the longer one.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from urllib.parse import urlsplit

from tunesmith.data.quality.flags import Flag, Hit
from tunesmith.data.quality.mask import masked
from tunesmith.records import Example, Severity

_URL = re.compile(r"\bhttps?:(?:/{0,2})[^\s<>\"'`]*", re.IGNORECASE)
_HOST = re.compile(
    r"^(?:(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+(?:[a-z]{2,63}|xn--[a-z0-9-]+)"
    r"|localhost|(?:\d{1,3}\.){3}\d{1,3}|\[[0-9a-f:.]+\])$",
    re.IGNORECASE,
)
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def urls(text: str) -> list[str]:
    """The links in a text, without the punctuation and the brackets of the sentence around them."""
    if "http" not in text.lower():
        return []
    return [found for match in _URL.finditer(text) if (found := _trimmed(match.group()))]


def fault(url: str) -> str | None:
    """What is wrong with a link by itself; None where nothing is."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "no URL"
    host = host.encode("idna", "ignore").decode() if not host.isascii() else host
    faults = {
        "ends in an ellipsis": url.endswith(("…", "...")),
        "no host": not url.lower().startswith(("http://", "https://")) or not host,
        "no host that could exist": not _HOST.match(f"[{host}]" if ":" in host else host),
        "a broken percent escape": _ESCAPE.search(url) is not None,
        "a character that no URL holds": any(c in url for c in "\\{}|^"),
    }
    return next((what for what, wrong in faults.items() if wrong), None)


def broken(examples: Sequence[Example]) -> list[Flag]:
    """Rows whose answer has a link that is cut or malformed."""
    found = [urls(e.target) for e in examples]
    known = sorted({url for several in found for url in several})
    faults = {url: fault(url) or _cut(url, known) for url in known}
    hits = []
    for row, several in enumerate(found):
        wrong = [url for url in dict.fromkeys(several) if faults[url]]
        if wrong:
            hits.append(Hit(row, "; ".join(f"{faults[url]}: {_short(url)}" for url in wrong[:2])))
    if not hits:
        return []
    advice = "Mend them in the source: a link that is wrong in training is wrong for ever."
    message = "answers hold links that are cut or malformed"
    return [Flag("broken_urls", Severity.WARNING, message, tuple(hits), advice)]


def _cut(url: str, known: Sequence[str]) -> str | None:
    """Whether the next longer link goes on in the middle of this one's last word."""
    at = bisect_right(known, url)
    longer = known[at] if at < len(known) else ""
    if not longer.startswith(url) or not url[-1].isalpha() or not longer[len(url)].isalpha():
        return None
    if "/" not in url.partition("://")[2]:
        return None  # a host is whole where it is a host
    word = re.split(r"[^A-Za-z]", longer[len(url) :])[0]
    # `/page` beside `/pages` are two pages; `/regis` beside `/registrar` is one that was cut.
    return f"cut, another row has {_short(longer)}" if len(word) > 2 else None


def _trimmed(url: str) -> str:
    """Without what belongs to the sentence; an ellipsis stays, it is a sign of a cut."""
    url = url.partition("](")[0]
    opening = {")": "(", "]": "[", "}": "{"}
    while url and not url.endswith(("...", "…")):
        last = url[-1]
        unmatched = last in opening and url.count(last) > url.count(opening[last])
        if not unmatched and last not in ".,;:!?*_'\"”’»|\\":
            break
        url = url[:-1]
    return url


def _short(url: str) -> str:
    """At most 70 characters; a secret is hidden first, for half of one is still told."""
    url = masked(url)
    return url if len(url) <= 70 else url[:69] + "…"
