"""Passages of files: Markdown, HTML, PDF, plain text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tunesmith.config.collect import FilesSettings
from tunesmith.data.collect.document import Document
from tunesmith.data.collect.listing import Faults, listing, walk
from tunesmith.data.collect.markdown import soup_markdown, soup_of
from tunesmith.data.collect.page import Cursor, Page
from tunesmith.data.collect.passages import first_heading, passages
from tunesmith.data.collect.pdf import pdf_text
from tunesmith.errors import CollectError

PLAIN = (".md", ".markdown", ".txt", ".rst")
HTML = (".html", ".htm")
ENDINGS = (*PLAIN, *HTML, ".pdf")


@dataclass(frozen=True, slots=True)
class _Text:
    text: str
    title: str = ""
    author: str = ""
    fault: str = ""


def collect_files(settings: FilesSettings, cursor: Cursor | None = None) -> Iterator[Page]:
    """Pages of files that are new or have changed since the cursor."""
    files = listing(settings.paths, ENDINGS)

    def passages_of(name: str) -> tuple[Sequence[Document], Faults]:
        read = _read(files[name])
        documents = [] if read.fault else list(_documents(settings, name, files[name], read))
        fault = read.fault or ("" if documents else "no text in it")
        return documents, {f"{name}: {fault}": 1} if fault else {}

    return walk(files, cursor, passages_of)


def _documents(settings: FilesSettings, name: str, file: Path, read: _Text) -> Iterator[Document]:
    title = read.title or first_heading(read.text) or Path(name).stem
    changed = datetime.fromtimestamp(file.stat().st_mtime, UTC).date().isoformat()
    found = passages(read.text, longest=settings.longest, shortest=settings.shortest)
    for number, passage in enumerate(found, start=1):
        yield Document(
            id=f"file:{name}#{number}",
            source="files",
            url=f"{settings.url.rstrip('/')}/{name}" if settings.url else "",
            title=_titled(title, passage.heading),
            text=passage.text,
            licence=settings.licence,
            author=settings.author or read.author,
            date=changed,
            meta={"file": name, "passage": f"{number} of {len(found)}"},
        )


def _titled(title: str, heading: str) -> str:
    """A passage's title: the document's and the way to it, without saying a word twice."""
    if heading in title:
        return title
    return heading if heading.startswith(title) else f"{title}: {heading}"


def _read(file: Path) -> _Text:
    ending = file.suffix.lower()
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CollectError(
            f"{file}: cannot be read: {error.strerror}.", hint="Check its permissions."
        ) from error
    if ending == ".pdf":
        found = pdf_text(data)
        return _Text(found.text, found.title, found.author, found.fault)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _Text("", fault=f"not UTF-8 (byte {error.start})")
    if "\0" in text:
        return _Text("", fault="no text (it holds NUL bytes)")
    return _html(text) if ending in HTML else _Text(text)


def _html(text: str) -> _Text:
    soup = soup_of(text)
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    author = soup.find("meta", attrs={"name": "author"})
    body = soup.find("main") or soup.find("article") or soup.body or soup
    return _Text(soup_markdown(body), title, str(author.get("content", "")) if author else "")
