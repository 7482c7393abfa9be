"""Papers of arXiv: title, abstract, metadata; on request the text of the PDF.

The library `arxiv` writes the query and reads the Atom feed; our client carries its requests, so
that the three seconds between calls hold for PDFs, too, and time-outs and Retry-After (which the
library leaves out) are kept. API: https://info.arxiv.org/help/api/user-manual.html; rules:
https://info.arxiv.org/help/api/tou.html. Abstracts and metadata are free to use (CC0); a PDF is
under its authors' licence, which the API does not say.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from tunesmith.config.collect import ArxivSettings
from tunesmith.data.collect.answer import Reply, Wish
from tunesmith.data.collect.document import Document
from tunesmith.data.collect.http import DAY, Http, RefusedError
from tunesmith.data.collect.page import Cursor, Page, library
from tunesmith.data.collect.pdf import pdf_text
from tunesmith.errors import CollectError

METADATA_LICENCE = "CC0-1.0"
SORTS = {
    "relevance": ("relevance", "descending"),
    "submitted": ("submittedDate", "descending"),
    "updated": ("lastUpdatedDate", "descending"),
    "oldest": ("submittedDate", "ascending"),
}
TOTAL = re.compile(rb"<(?:\w+:)?totalResults[^>]*>\s*(\d+)")


def collect_arxiv(
    settings: ArxivSettings, http: Http, cursor: Cursor | None = None
) -> Iterator[Page]:
    """Pages of papers, from the cursor on."""
    arxiv = library("arxiv")
    sort_by, order = SORTS[settings.sort]
    search = arxiv.Search(
        query=query(settings.categories, settings.terms),
        max_results=None,
        sort_by=arxiv.SortCriterion(sort_by),
        sort_order=arxiv.SortOrder(order),
    )
    carrier = _carrier()(http)
    client = _client(settings, carrier)
    offset = int(cursor["start"]) if cursor else 0
    results = client.results(search, offset=offset)
    host = urlsplit(settings.base_url).netloc
    while True:
        try:
            batch = list(islice(results, settings.page_size))
        except arxiv.ArxivError as error:
            raise CollectError(
                f"{host}: {error.message} at paper {offset:,}.", hint="arXiv does this at times."
            ) from error
        except ValueError as error:  # the library reads dates without a net
            raise CollectError(
                f"{host}: the feed is not the Atom that this version knows: {error}.",
                hint="Check base_url; if arXiv has changed, look for a newer `arxiv` library.",
            ) from error
        offset += len(batch)
        last = offset >= carrier.total
        if not batch and not last:
            raise CollectError(
                f"{host}: sends no paper at {offset:,} of the {carrier.total:,} it speaks of.",
                hint="arXiv does this at times.",
            )
        documents, skipped = _documents(settings, http, batch)
        yield Page(
            documents,
            cursor=None if last else {"start": offset},
            skipped=skipped,
            note=f"{offset:,} of {carrier.total:,} papers",
        )
        if last:
            return


def query(categories: Sequence[str], terms: Sequence[str]) -> str:
    """arXiv's query language: one of the categories and one of the terms."""
    parts = []
    if categories:
        parts.append(" OR ".join(f"cat:{name}" for name in categories))
    if terms:
        plain = [" ".join(term.replace('"', " ").split()) for term in terms]
        parts.append(" OR ".join(f'all:"{term}"' for term in plain if term))
    return " AND ".join(f"({part})" for part in parts if part)


def _client(settings: ArxivSettings, carrier: Any) -> Any:
    """The library's client, asking `base_url` through our carrier; each kind of trouble is met in
    one place only: ours retries the network, the library an empty page."""
    client = library("arxiv").Client(
        page_size=settings.page_size, delay_seconds=0.0, num_retries=settings.attempts - 1
    )
    client.query_url_format = settings.base_url.rstrip("/") + "/api/query?{}"
    session = library("requests").Session()
    session.mount("http://", carrier)
    session.mount("https://", carrier)
    client._session = session  # arxiv 4.0 offers no other way to a time-out
    return client


@cache
def _carrier() -> Any:
    """A transport for `requests` that hands each request to our client."""
    requests = library("requests")
    base: Any = requests.adapters.BaseAdapter

    class Carrier(base):  # type: ignore[misc] # loaded lazily
        """`total` is how many papers the last feed speaks of."""

        def __init__(self, http: Http) -> None:
            super().__init__()
            self.http, self.total = http, 0

        def send(self, request: Any, **_: Any) -> Any:
            wish = Wish(check=_no_feed, keep=_has_papers, fresh_s=DAY)
            reply = self.http.get(request.url, cached=True, wish=wish)
            found = TOTAL.search(reply.body)
            self.total = int(found[1]) if found else 0
            response = requests.Response()
            response.status_code, response.url, response.request = reply.status, reply.url, request
            response.raw = io.BytesIO(reply.body)
            return response

        def close(self) -> None:
            """The client is closed by whoever opened it."""

    return Carrier


def _no_feed(reply: Reply) -> str | None:
    """The library only warns of a broken feed, and of its papers the rest would be missing."""
    etree = library("lxml.etree")
    try:
        root = etree.fromstring(reply.body)
    except etree.XMLSyntaxError:
        return "sends a feed that is no whole XML"
    if TOTAL.search(reply.body) is None or not str(root.tag).endswith("}feed"):
        return "sends no Atom feed with a count of results"
    fault = root.findtext("{*}entry/{*}id") or ""
    if "/api/errors" in fault:  # arXiv's way to say what is wrong with a question, with status 200
        said = root.findtext("{*}entry/{*}summary") or ""
        raise CollectError(
            f"{urlsplit(reply.url).netloc}: {said.strip()}.", hint="Check categories and terms."
        )
    return None


def _has_papers(reply: Reply) -> bool:
    """Whether a feed may be kept: arXiv at times sends an empty one where there are papers."""
    return b"<entry>" in reply.body


def _documents(
    settings: ArxivSettings, http: Http, results: Sequence[Any]
) -> tuple[tuple[Document, ...], Mapping[str, int]]:
    documents, skipped = [], dict[str, int]()
    for result in results:
        text, facts, fault = " ".join(result.summary.split()), {"text": "abstract"}, ""
        if settings.pdf:
            paper, fault = _paper(settings, http, result)
            if fault:
                facts["pdf"] = fault
                skipped[fault] = skipped.get(fault, 0) + 1
            else:
                text = f"## Abstract\n\n{text}\n\n## Paper\n\n{paper}"
                facts = {"text": "abstract and paper"}
        documents.append(_document(result, text, facts))
    return tuple(documents), skipped


def _document(result: Any, text: str, facts: Mapping[str, str]) -> Document:
    # Without its version: a later one takes the place of the earlier.
    name, _, version = re.sub(r"v(\d+)$", r" \1", result.get_short_id()).partition(" ")
    meta = {"version": version, "categories": ", ".join(result.categories)}
    meta |= {"primary": result.primary_category}
    meta |= {"doi": result.doi or "", "journal": result.journal_ref or ""}
    meta |= {"comment": " ".join((result.comment or "").split())}
    meta |= {"updated": result.updated.isoformat()}
    whole = facts["text"] != "abstract"
    return Document(
        id=f"arxiv:{name}",
        source="arxiv",
        url=result.entry_id.replace("http://", "https://", 1),
        title=result.title,
        text=text,
        # What the paper's own licence is, the API does not say: an empty one asks to be looked at.
        licence="" if whole else METADATA_LICENCE,
        author=", ".join(author.name for author in result.authors),
        date=result.published.isoformat(),
        meta={k: v for k, v in meta.items() if v} | dict(facts),
    )


def _paper(settings: ArxivSettings, http: Http, result: Any) -> tuple[str, str]:
    """The text of a paper's PDF, or what stands in its way."""
    url = f"{settings.base_url.rstrip('/')}/pdf/{result.get_short_id()}"
    try:
        reply = http.get(url, cached=True)
    except RefusedError as error:
        return "", f"PDF refused with status {error.reply.status}"
    found = pdf_text(reply.body)
    return found.text, found.fault
