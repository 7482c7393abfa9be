"""Descriptions with their DOT, from the pages of a Graphviz site: its gallery, its documentation.

A page is read from top to bottom: what is said since the last heading or graph describes the next
graph, be it written in the page or linked as a source file. Each graph is judged by the parser of
`tunesmith.tasks.dot`; what is no sound DOT is counted and left out.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit
from urllib.robotparser import RobotFileParser

from tunesmith.config.collect import GraphvizSettings
from tunesmith.data.collect.answer import Reply
from tunesmith.data.collect.document import Document
from tunesmith.data.collect.http import Http, RefusedError, user_agent
from tunesmith.data.collect.markdown import NO_TEXT, soup_markdown, soup_of
from tunesmith.data.collect.page import Cursor, Page
from tunesmith.errors import CollectError
from tunesmith.tasks.dot import valid_all

LOOKS_LIKE_DOT = re.compile(
    r"^(?:\s|//[^\n]*|/\*.*?\*/|#[^\n]*)*(?:strict\s+)?(?:di)?graph\b[^{;]*\{", re.S | re.I
)
SOURCES = (".gv", ".gv.txt", ".dot", ".dot.txt")
NO_PAGE = re.compile(r"\.(svgz?|png|jpe?g|gif|ico|css|js|json|xml|pdf|ps|zip|gz|txt|gv|dot)$", re.I)
SAYING = ("p", "li", "dd", "td", "figcaption", "blockquote")
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")


@dataclass(frozen=True, slots=True)
class Pair:
    """A graph on a page: what is said of it, and its DOT or the address of its source file."""

    section: str
    description: str
    dot: str = ""
    link: str = ""


@dataclass(slots=True)
class _Found:
    title: str = ""
    pairs: list[Pair] = field(default_factory=list)
    links: list[str] = field(default_factory=list)


def collect_graphviz(
    settings: GraphvizSettings, http: Http, cursor: Cursor | None = None
) -> Iterator[Page]:
    """A page for each page of the site that holds something, breadth first from `start`."""
    base = settings.base_url.rstrip("/")
    starts = [base + path for path in settings.start]
    queue = deque(cursor["queue"] if cursor else starts)
    seen = set(cursor["seen"] if cursor else starts)
    visited = int(cursor["visited"]) if cursor else 0
    allowed = _robots(base, http, settings.contact)
    while queue and visited < settings.pages:
        url = queue.popleft()
        visited += 1
        documents: tuple[Document, ...] = ()
        skipped: Counter[str] = Counter()
        if not allowed(url):
            skipped["closed to programs by robots.txt"] += 1
        else:
            try:
                reply = http.get(url, cached=True)
            except RefusedError as error:
                if url in starts:
                    raise
                skipped[f"page refused with status {error.reply.status}"] += 1
            else:
                found = read_page(reply.text, reply.url) if _is_html(reply) else _Found()
                for link in found.links:
                    if link not in seen and _follows(link, base, settings):
                        seen.add(link)
                        queue.append(link)
                documents, lost = _documents(settings, http, allowed, reply.url, found)
                skipped += lost
        more = bool(queue) and visited < settings.pages
        state = {"queue": list(queue), "seen": sorted(seen), "visited": visited}
        note = f"{visited:,} pages read, {len(queue):,} known"
        yield Page(documents, state if more else None, skipped, note)


def read_page(text: str, url: str) -> _Found:
    """The title, the pairs and the links of an HTML page."""
    soup = soup_of(text)
    found = _Found()
    for anchor in soup.find_all("a", href=True):
        link = urldefrag(urljoin(url, anchor["href"])).url
        if urlsplit(link).scheme in ("http", "https"):
            found.links.append(link)
    for unread in soup.find_all((*NO_TEXT, "aside")):
        unread.decompose()
    body = soup.find(class_="td-content") or soup.find("main") or soup.body or soup
    heading = body.find("h1") or soup.title
    found.title = heading.get_text(" ", strip=True) if heading else ""
    _walk(body, url, found)
    return found


def _walk(body: Any, url: str, found: _Found) -> None:
    section, said = "", list[str]()
    linked: set[str] = set()
    graphs: set[str] = set()
    for tag in body.find_all((*HEADINGS, *SAYING, "pre", "a")):
        if tag.name in HEADINGS:
            section, said = tag.get_text(" ", strip=True), []
        elif tag.name == "pre":
            dot = tag.get_text().strip()
            if LOOKS_LIKE_DOT.match(dot) and dot not in graphs:
                graphs.add(dot)
                found.pairs.append(Pair(section, "\n\n".join(said), dot=dot))
                said = []
        elif tag.name == "a":
            link = urldefrag(urljoin(url, tag.get("href") or "")).url
            if link.lower().endswith(SOURCES) and link not in linked:
                linked.add(link)
                found.pairs.append(Pair(section, "\n\n".join(said), link=link))
        elif not tag.find_parent(SAYING) and not tag.find("pre") and (words := _words(tag)):
            said.append(words)


def _words(tag: Any) -> str:
    """What a paragraph says; one that only leads to files or pictures says nothing."""
    text = soup_markdown(_copy(tag))
    bare = re.sub(r"!?\[[^\]]*\]\([^)]*\)|[\[\]\\\s|,·-]", "", text)
    return text if any(map(str.isalpha, bare)) else ""


def _copy(tag: Any) -> Any:
    import copy

    return copy.copy(tag)


def _documents(
    settings: GraphvizSettings, http: Http, allowed: Any, url: str, found: _Found
) -> tuple[tuple[Document, ...], Counter[str]]:
    skipped: Counter[str] = Counter()
    whole = [pair for pair in found.pairs if pair.dot]
    graphs = {_tight(pair.dot) for pair in whole}
    for pair in (p for p in found.pairs if p.link):
        if not allowed(pair.link) or not pair.link.startswith(settings.base_url.rstrip("/")):
            skipped["source file elsewhere, or closed by robots.txt"] += 1
            continue
        try:
            dot = http.get(pair.link, cached=True).text.strip()
        except RefusedError as error:
            skipped[f"source file refused with status {error.reply.status}"] += 1
            continue
        if _tight(dot) not in graphs:  # most pages show the file that they link
            graphs.add(_tight(dot))
            whole.append(Pair(pair.section, pair.description, dot=dot, link=pair.link))
    documents = []
    for number, (pair, sound) in enumerate(
        zip(whole, valid_all([pair.dot for pair in whole]), strict=True), start=1
    ):
        said = pair.description or (pair.section if pair.section != found.title else "")
        if not sound:
            skipped["not valid DOT"] += 1
        elif not (said or found.title):
            skipped["graph without a description"] += 1
        else:
            documents.append(_document(settings, url, number, found.title, pair, said))
    return tuple(documents), skipped


def _document(
    settings: GraphvizSettings, url: str, number: int, title: str, pair: Pair, said: str
) -> Document:
    base = settings.base_url.rstrip("/")
    meta = {"kind": "described", "section": pair.section, "file": pair.link}
    return Document(
        id=f"graphviz:{url.removeprefix(base)}#{number}",
        source="graphviz",
        url=url,
        title=title,
        text=said or title,
        answer=pair.dot,
        licence=settings.licence,
        author=f"Graphviz authors ({base})",
        meta={k: v for k, v in meta.items() if v},
    )


def _robots(base: str, http: Http, contact: str) -> Any:
    """Whether a program may read a URL, as the site's robots.txt says; without one it may."""
    rules = RobotFileParser()
    parts = urlsplit(base)
    try:
        lines = http.get(
            f"{parts.scheme}://{parts.netloc}/robots.txt", cached=True
        ).text.splitlines()
    except RefusedError as error:
        if error.reply.status in (401, 403):
            raise CollectError(
                f"{parts.netloc}: refuses its robots.txt, so no program may read it.",
                hint="Ask whoever runs it, or use another base_url.",
            ) from error
        lines = []
    rules.parse(lines)
    agent = user_agent(contact)
    return lambda url: rules.can_fetch(agent, url)


def _follows(link: str, base: str, settings: GraphvizSettings) -> bool:
    if not link.startswith(base + "/") or "?" in link or NO_PAGE.search(link):
        return False
    path = link.removeprefix(base).lower()
    return any(path.startswith(prefix.lower()) for prefix in settings.follow)


def _is_html(reply: Reply) -> bool:
    kind = reply.headers.get("content-type", "")
    return "html" in kind or (not kind and "<" in reply.text[:200])


def _tight(text: str) -> str:
    return re.sub(r"\s+", "", text)
