"""Local servers that speak the documented wire formats of the sources; they keep what is asked.

`Server` answers GET by a function; `faults` are answers given first, one a call (None: as usual).
`StackExchange` is API 2.3: the wrapper object, always gzipped, answers per question, error objects
with status 400. `Arxiv` is the Atom feed of the export API with its PDFs. `pages` is a plain site
with ETags.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


@dataclass(frozen=True)
class Asked:
    """One request: its path, its query (first value of each name), headers by their
    names in lower case, and when (seconds)."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    at: float


@dataclass(frozen=True)
class Answer:
    """What is sent; `sent` cuts the body short of its Content-Length, `delay` (s) comes before."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    sent: int | None = None


class Local:
    """A server on this machine, as long as its block lasts; `known` is what its handler knows."""

    def __init__(self, handler: type[BaseHTTPRequestHandler], known: Mapping[str, object]) -> None:
        named = type("Handler", (handler,), dict(known))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), named)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class Server(Local):
    def __init__(self, answer: Callable[[Asked], Answer]) -> None:
        self.asked: list[Asked] = []
        self.faults: deque[Answer | None] = deque()
        self.delay = 0.0
        self.answer = answer
        super().__init__(_Handler, {"owner": self})

    @property
    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]


class _Handler(BaseHTTPRequestHandler):
    owner: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {k: v[0] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(unquote(parts.path), query, headers, time.monotonic())
        self.owner.asked.append(asked)
        fault = self.owner.faults.popleft() if self.owner.faults else None
        answer = self.owner.answer(asked) if fault is None else fault
        time.sleep(answer.delay + self.owner.delay)
        try:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.status != 304:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body[: answer.sent])
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # whoever asked had no patience left
        if answer.sent is not None:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


def json_answer(value: object, *, status: int = 200, packed: bool = True) -> Answer:
    body = json.dumps(value).encode()
    headers = {"Content-Type": "application/json; charset=utf-8"}
    if not packed:
        return Answer(body, status, headers)
    return Answer(gzip.compress(body), status, headers | {"Content-Encoding": "gzip"})


def api_error(number: int, name: str, message: str) -> Answer:
    """An error object of the Stack Exchange API; its status is 400 whatever its own number."""
    value = {"error_id": number, "error_name": name, "error_message": message}
    return json_answer(value, status=400)


class StackExchange(Server):
    """`questions` in the order in which they are listed, each with its own `answers`."""

    def __init__(
        self, questions: Sequence[Mapping[str, Any]], *, quota: int = 300, key: str = "right"
    ) -> None:
        super().__init__(self._reply)
        self.questions, self.quota, self.key = questions, quota, key
        self.backoffs: deque[int | None] = deque()

    def _reply(self, asked: Asked) -> Answer:
        query = asked.query
        if (fault := self._fault(query)) is not None:
            return fault
        if asked.path == "/2.3/questions":
            return self._page(asked, self._wanted(query))
        if found := re.fullmatch(r"/2\.3/questions/([\d;]+)/answers", asked.path):
            ids = set(map(int, found[1].split(";")))
            return self._page(
                asked, [a for q in self._by("question_id", ids) for a in q["answers"]]
            )
        if found := re.fullmatch(r"/2\.3/answers/([\d;]+)", asked.path):
            ids = set(map(int, found[1].split(";")))
            every = [a for q in self.questions for a in q["answers"]]
            return self._page(asked, [a for a in every if a["answer_id"] in ids])
        return api_error(404, "no_method", "no method found with this name")

    def _fault(self, query: Mapping[str, str]) -> Answer | None:
        if "site" not in query:
            return api_error(400, "bad_parameter", "site is required")
        if query.get("key", self.key) != self.key:
            return api_error(400, "bad_parameter", "`key` doesn't match a known application")
        if "key" not in query and int(query.get("page", 1)) > 25:
            return api_error(403, "access_denied", "page above 25 requires access token or app key")
        return None

    def _by(self, key: str, values: set[int]) -> list[Mapping[str, Any]]:
        assert len(values) <= 100
        return [q for q in self.questions if q[key] in values]

    def _wanted(self, query: Mapping[str, str]) -> list[Mapping[str, Any]]:
        tags = {tag for tag in query.get("tagged", "").split(";") if tag}
        least = int(query["min"]) if query.get("sort") == "votes" and "min" in query else -999
        first, last = int(query.get("fromdate", 0)), int(query.get("todate", 2**40))
        return [
            q
            for q in self.questions
            if tags <= set(q["tags"])
            and q["score"] >= least
            and first <= q["creation_date"] <= last
        ]

    def _page(self, asked: Asked, items: Sequence[Mapping[str, Any]]) -> Answer:
        page, size = int(asked.query.get("page", 1)), int(asked.query.get("pagesize", 30))
        if not 1 <= size <= 100:
            return api_error(400, "bad_parameter", "pagesize")
        hidden = {"answers"} | (set() if asked.query.get("filter") == "withbody" else {"body"})
        shown = items[(page - 1) * size : page * size]
        self.quota -= 1
        wrapper = {
            "items": [{k: v for k, v in item.items() if k not in hidden} for item in shown],
            "has_more": page * size < len(items),
            "quota_max": 300,
            "quota_remaining": self.quota,
        }
        if backoff := self.backoffs.popleft() if self.backoffs else None:
            wrapper["backoff"] = backoff
        return json_answer(wrapper)


def question(number: int, *, answers: Sequence[Mapping[str, Any]] = (), **other: Any) -> Any:
    """A question object as API 2.3 sends it, with answers that only the server sees."""
    accepted = next((a["answer_id"] for a in answers if a["is_accepted"]), None)
    return {
        "tags": ["ab-testing"],
        "owner": _owner(number),
        "is_answered": bool(answers),
        "view_count": 10,
        **({"accepted_answer_id": accepted} if accepted else {}),
        "answer_count": len(answers),
        "score": 5,
        "last_activity_date": 1700000000,
        "creation_date": 1600000000 + number,
        "question_id": number,
        "content_license": "CC BY-SA 4.0",
        "link": f"https://stats.stackexchange.com/questions/{number}/title-{number}",
        "title": f"Title &amp; {number}",
        "body": f"<p>Body <b>{number}</b></p>",
        "answers": [{**a, "question_id": number} for a in answers],
        **other,
    }


def answer(number: int, *, accepted: bool = False, **other: Any) -> Any:
    """An answer object; `question` puts its own number into it."""
    return {
        "owner": _owner(number),
        "is_accepted": accepted,
        "score": 3,
        "last_activity_date": 1700000000,
        "creation_date": 1600000000 + number,
        "answer_id": number,
        "content_license": "CC BY-SA 4.0",
        "body": f"<p>Answer {number}</p>",
        **other,
    }


def _owner(number: int) -> Mapping[str, Any]:
    return {
        "account_id": number,
        "reputation": 100,
        "user_id": number,
        "user_type": "registered",
        "display_name": f"user{number}",
        "link": f"https://stats.stackexchange.com/users/{number}/user{number}",
    }


@dataclass(frozen=True)
class Paper:
    name: str  # "2401.00001v1"
    title: str = "A title"
    summary: str = "An abstract."
    pdf: bytes | None = None


FEED = """<?xml version='1.0' encoding='UTF-8'?>
<feed xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/"
 xmlns:arxiv="http://arxiv.org/schemas/atom" xmlns="http://www.w3.org/2005/Atom">
  <id>https://arxiv.org/api/x</id><title>arXiv Query: q</title>
  <updated>2026-01-01T00:00:00Z</updated>
  <opensearch:itemsPerPage>{size}</opensearch:itemsPerPage>
  <opensearch:totalResults>{total}</opensearch:totalResults>
  <opensearch:startIndex>{start}</opensearch:startIndex>
{entries}</feed>
"""
ENTRY = """  <entry>
    <id>http://arxiv.org/abs/{name}</id>
    <title>{title}</title>
    <updated>2024-01-03T12:00:00Z</updated>
    <link href="https://arxiv.org/abs/{name}" rel="alternate" type="text/html"/>
    <link href="https://arxiv.org/pdf/{name}" rel="related" type="application/pdf" title="pdf"/>
    <summary>{summary}</summary>
    <category term="stat.ME" scheme="http://arxiv.org/schemas/atom"/>
    <category term="stat.AP" scheme="http://arxiv.org/schemas/atom"/>
    <published>2024-01-02T12:00:00Z</published>
    <arxiv:comment>12 pages</arxiv:comment>
    <arxiv:primary_category term="stat.ME"/>
    <author><name>Ada Author</name></author>
    <author><name>Ben Author</name></author>
  </entry>
"""


class Arxiv(Server):
    def __init__(self, papers: Sequence[Paper]) -> None:
        super().__init__(self._reply)
        self.papers = papers

    def _reply(self, asked: Asked) -> Answer:
        if found := re.fullmatch(r"/pdf/(.+)", asked.path):
            paper = next((p for p in self.papers if p.name == found[1]), None)
            if paper is None or paper.pdf is None:
                return Answer(b"no such paper", 404)
            return site_answer(asked, paper.pdf, "application/pdf")
        if asked.path != "/api/query":
            return Answer(b"", 404)
        start, size = int(asked.query["start"]), int(asked.query["max_results"])
        return self.feed(self.papers[start : start + size], start, size)

    def feed(self, papers: Sequence[Paper], start: int, size: int) -> Answer:
        entries = "".join(
            ENTRY.format(name=p.name, title=escape(p.title), summary=escape(p.summary))
            for p in papers
        )
        text = FEED.format(size=size, total=len(self.papers), start=start, entries=entries)
        return Answer(text.encode(), headers={"Content-Type": "application/atom+xml"})


def pages(content: Mapping[str, str | bytes]) -> Server:
    """A site of these paths, with ETags; 404 elsewhere. `content` may change while it runs."""

    def reply(asked: Asked) -> Answer:
        body = content.get(asked.path)
        if body is None:
            return Answer(b"not here", 404)
        kind = "text/plain" if asked.path.endswith((".gv", ".txt")) else "text/html; charset=utf-8"
        return site_answer(asked, body.encode() if isinstance(body, str) else body, kind)

    return Server(reply)


def site_answer(asked: Asked, body: bytes, kind: str) -> Answer:
    """A body with its ETag, or 304 to who has it."""
    headers = {"ETag": f'"{hashlib.sha1(body).hexdigest()}"', "Cache-Control": "no-cache"}
    if asked.headers.get("if-none-match") == headers["ETag"]:
        return Answer(b"", 304, headers)
    return Answer(body, headers=headers | {"Content-Type": kind})


def pdf(*texts: str, title: str = "") -> bytes:
    """A PDF with one page a text, its lines set in Helvetica; a page of "" holds no text."""
    count = len(texts)
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(count))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for i, text in enumerate(texts):
        shown = " ".join(f"({line}) Tj T*" for line in text.splitlines())
        stream = f"BT /F1 12 Tf 14 TL 72 720 Td {shown} ET" if text else "0 0 10 10 re f"
        objects += [
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * i} 0 R >>",
            f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        ]
    objects.append(f"<< /Title ({title}) >>")
    out, places = b"%PDF-1.4\n", []
    for number, value in enumerate(objects, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n{value}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}".encode()
    out += (
        f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>\n".encode()
    )
    return out + f"startxref\n{start}\n%%EOF\n".encode()
