"""The links of a text, and whether they came through whole.

A link begins with http://, https://, ftp://, mailto: or www. and goes on to the next white space.
What the sentence or Markdown put around it is no part of it, by the rules of GitHub's autolinks
(GFM 0.29, section 6.9), somewhat widened: punctuation at its end, a closing bracket that the link
never opened, a quotation mark that closes the one before the link. Everything else is, letter for
letter: `/ @ # ? & % = + $ ~ :` and capital letters; nothing is decoded, composed or folded.

A bare e-mail address is no link: it is often written on purpose as words ("name at host"), and a
score of the whole answer sees it. As `mailto:` it is one. Nor is a bare host ("example.org"), which
no rule tells from a file name.
"""

from __future__ import annotations

import re

_URL = re.compile(
    r"""(?:(?<![A-Za-z0-9])(?:https?://|ftp://|mailto:)|(?<![\w.@/-])www\.)[^\s<>"`\\]+""",
    re.IGNORECASE,
)
_BARE = re.compile(r"(?:https?://|ftp://|mailto:|www\.)$", re.IGNORECASE)
_CLOSING = ".,;:!?*_'|…”’»）】」。，；：！？"
_BRACKETS = {")": "(", "]": "[", "}": "{"}
# What stands before a link, and the mark that then ends it.
_ENCLOSED = {"'": "'", "|": "|", "“": "”", "‘": "’", "«": "»", "(": ")"}


def url_intact(response: str, reference: str) -> float:
    """1 if every link of the reference stands in the response letter for letter, else 0.

    A link that was cut, lengthened or "cleaned" is another link. Without a link in the reference
    there is none to break: 1.
    """
    return float(urls(reference) <= urls(response))


def urls(text: str) -> set[str]:
    """The links of a text, without the punctuation and brackets of the sentence around them."""
    found, at = set(), 0
    while match := _URL.search(text, at):
        before = text[match.start() - 1 : match.start()]
        url = _ended(match.group(), _ENCLOSED.get(before, ""))
        at = match.start() + max(len(url), 1)
        if url and not _BARE.match(url):
            found.add(url)
    return found


def _ended(run: str, closing: str) -> str:
    """The link at the start of a run without white space.

    An unmatched `]` or `}` ends it anywhere (RFC 3986 has neither outside of an address), and so
    does the mark that closes what was opened before it; an unmatched `)` only at the end.
    """
    opened: list[str] = []
    for at, sign in enumerate(run):
        if sign in _BRACKETS.values():
            opened.append(sign)
        elif sign in _BRACKETS and _BRACKETS[sign] in opened:
            opened.remove(_BRACKETS[sign])
        elif sign == closing or sign in "]}":
            run = run[:at]
            break
    while run and (run[-1] in _CLOSING or _unmatched(run)):
        run = run[:-1]
    return run


def _unmatched(run: str) -> bool:
    last = run[-1]
    return last in _BRACKETS and run.count(last) > run.count(_BRACKETS[last])
