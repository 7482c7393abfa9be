"""Attribution: whom a data set has to credit, as a file that goes wherever its rows go.

CC BY-SA 4.0, 3(a)(1) asks whoever shares for the creators, the licence with its address, a notice
that there is no warranty, a link to the work, and whether it was changed; the other licences that
ask for credit ask for less. A row says what it knows in its meta (`author`, `title`, `url`,
`answer_url`, `date`, `citation`, `licence`); what it does not say is named as not stated.

It is Markdown, so that no pattern for data files takes it for rows.
Source: https://creativecommons.org/licenses/by-sa/4.0/legalcode.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunesmith.records import Example

FILE = "ATTRIBUTION.md"
SILENT = "not stated"
ASKS_NOTHING = re.compile(r"cc0|cc-pddc|pddl|0bsd|mit-0|unlicense|wtfpl|public.domain", re.I)
SPDX = {
    name.lower(): name
    for name in (
        "MIT", "Apache-2.0", "ISC", "Zlib", "BSD-2-Clause", "BSD-3-Clause", "EPL-1.0", "EPL-2.0",
        "MPL-2.0", "LGPL-2.1-only", "LGPL-3.0-only", "GPL-2.0-only", "GPL-2.0-or-later",
        "GPL-3.0-only", "GPL-3.0-or-later", "AGPL-3.0-only", "AGPL-3.0-or-later", "ODC-By-1.0",
        "ODbL-1.0", "GFDL-1.3-only", "PSF-2.0", "PostgreSQL",
    )
}  # fmt: skip
CHANGES = {  # by augmentation or kind
    "flips": "a permission and the answer to it were changed",
    "broken_dot": "an error was put into it, for the answer to mend",
    "generated": "a language model wrote question and answer from it",
    "paraphrased": "a language model put it in other words",
}
ARRANGED = "put into chat turns; markup may have been converted"
NOTICE = """\
Examples of this data set adapt the works below, each under the licence that stands above it. They
come as they are, without any warranty by their creators, and none of the creators endorses this
data set. Whoever passes the examples on passes these lines on; under a share-alike licence (-SA)
the examples, too, stay under it.
"""


@dataclass(frozen=True, slots=True)
class Work:
    """What examples were made from, empty where the rows do not say it; `source` is the recipe's
    name for it, where it has no other."""

    licence: str
    title: str
    author: str
    date: str
    url: str
    answer_url: str
    citation: str
    source: str
    change: str


def asks_credit(licence: str) -> bool:
    """Whether a licence asks for credit; of an expression (AND, OR, WITH) any part that does.

    One that nobody knows does: credit that was not asked for does no harm.
    """
    parts = re.split(r"\b(?:and|or|with)\b|[()/,;]", licence, flags=re.I)
    return any(part.strip() and not ASKS_NOTHING.search(part) for part in parts)


def works(files: Mapping[str, Sequence[Example]]) -> dict[Work, list[str]]:
    """The works to be credited, and the places ("train.jsonl:3", counted from 1) of their rows in
    `files`, which hold these examples line by line."""
    found: dict[Work, list[str]] = {}
    for name, examples in files.items():
        for line, example in enumerate(examples, 1):
            if asks_credit(example.meta.get("licence", "")):
                found.setdefault(_work(example), []).append(f"{name}:{line}")
    return found


def attribution(found: Mapping[Work, Sequence[str]], name: str) -> str:
    """The page, licence by licence and work by work; empty where nothing asks for credit."""
    by_licence: dict[str, list[str]] = {}
    for work, places in found.items():
        by_licence.setdefault(work.licence, []).append(_line(work, places))
    lines = [f"# Attribution: {_plain(name)}", "", NOTICE.rstrip()]
    for licence, them in sorted(by_licence.items()):
        links = [f"<{url}>" for url in licence_urls(licence)]
        lines += ["", f"## {_plain(licence)}", "", *([", ".join(links), ""] if links else [])]
        lines += sorted(them)
    return "\n".join(lines) + "\n" if by_licence else ""


def licence_urls(licence: str) -> tuple[str, ...]:
    """Where the texts of an expression's licences stand; those of unknown names are left out."""
    found = (_licence_url(part) for part in re.split(r"\b(?:AND|OR|WITH)\b|[()\s]+", licence))
    return tuple(dict.fromkeys(url for url in found if url))


def _licence_url(name: str) -> str:
    commons = re.fullmatch(r"CC-(BY(?:-NC)?(?:-SA|-ND)?)-(\d\.\d)", name, re.I)
    if commons:
        kind, version = commons[1].lower(), commons[2]
        return f"https://creativecommons.org/licenses/{kind}/{version}/"
    return f"https://spdx.org/licenses/{SPDX[name.lower()]}.html" if name.lower() in SPDX else ""


def _work(example: Example) -> Work:
    keys = ("licence", "title", "author", "date", "url", "answer_url", "citation")
    said = {key: " ".join(example.meta.get(key, "").split()) for key in keys}
    named = said["title"] or said["url"] or said["citation"]
    source = "" if named else example.meta.get("source", "")
    kinds = (example.meta.get("augmented", ""), example.meta.get("kind", ""))
    change = next((CHANGES[kind] for kind in kinds if kind in CHANGES), ARRANGED)
    return Work(**said, source=source, change=change)


def _line(work: Work, places: Sequence[str]) -> str:
    title = _plain(work.title or work.citation or work.url or f"source {work.source}")
    linked = f"[{title}]({_address(work.url)})" if _address(work.url) else title
    answer = f", answer: <{_address(work.answer_url)}>" if _address(work.answer_url) else ""
    cited = f", {_plain(work.citation)}" if work.citation and work.title else ""
    date = f", {_plain(work.date)}" if work.date else ""
    return (
        f"- {linked}{answer}{cited}; by {_plain(work.author or SILENT)}{date}. "
        f"Changed: {work.change}. In {', '.join(places)}"
    )


def _address(url: str) -> str:
    """A web address as a link takes it; nothing where it is none."""
    return url if re.fullmatch(r"https?://[^\s<>()\[\]]+", url) else ""


def _plain(text: str) -> str:
    """What came from data, with nothing in it that Markdown or a page would act upon."""
    return re.sub(r"([\\`*\[\]])", r"\\\1", text).replace("<", "&lt;")
