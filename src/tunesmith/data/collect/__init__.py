"""Collect: questions, papers, graphs, machines, files and data sets into documents.

`collect` drives the collector that the settings name into a folder (`journal`), page by page,
through one polite client (`http`). Another source is one file here with a function
`collect_NAME(settings, ..., cursor) -> Iterator[Page]`, its settings in `config.collect`, and two
lines below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tunesmith.config.collect import (
    ArxivSettings,
    CollectorSettings,
    FilesSettings,
    GraphvizSettings,
    HubSettings,
    MachinesSettings,
    NetworkSettings,
    StackExchangeSettings,
)
from tunesmith.data.collect.document import Document, from_json, to_json
from tunesmith.data.collect.http import Http
from tunesmith.data.collect.journal import Collected, drive, key_of, read_documents, refreshing
from tunesmith.data.collect.page import Cursor, Page

__all__ = [
    "Collected",
    "Document",
    "Page",
    "collect",
    "from_json",
    "key_of",
    "read_documents",
    "to_json",
]


def collect(
    settings: CollectorSettings,
    folder: Path,
    *,
    cache: Path | None = None,
    limit: int | None = None,
    refresh: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Collected:
    """Collect into `folder`, from where it stands, to `limit` (else the settings' own) documents.

    `cache` is the file that keeps web pages (default: in the folder). To `refresh` is to go through
    the source once more: what is new is appended, what has changed takes its place. Files are
    always brought up to date. `say` hears one line a page and of each wait.
    """

    def pages(cursor: Cursor | None) -> Iterator[Page]:
        if not isinstance(settings, NetworkSettings):
            yield from _offline(settings, cursor)
            return
        again = refreshing(folder)  # a walk that was stopped goes on as it began
        with Http(settings, cache or folder / ".http.sqlite", refresh=again, say=say) as http:
            yield from _online(settings, http, cursor)

    return drive(folder, settings, pages, limit=limit or settings.limit, refresh=refresh, say=say)


def _online(settings: NetworkSettings, http: Http, cursor: Cursor | None) -> Iterator[Page]:
    if isinstance(settings, StackExchangeSettings):
        from tunesmith.data.collect.stack_exchange import collect_stack_exchange

        return collect_stack_exchange(settings, http, cursor)
    if isinstance(settings, ArxivSettings):
        from tunesmith.data.collect.arxiv import collect_arxiv

        return collect_arxiv(settings, http, cursor)
    if isinstance(settings, GraphvizSettings):
        from tunesmith.data.collect.graphviz import collect_graphviz

        return collect_graphviz(settings, http, cursor)
    raise TypeError(type(settings).__name__)


def _offline(settings: CollectorSettings, cursor: Cursor | None) -> Iterator[Page]:
    if isinstance(settings, MachinesSettings):
        from tunesmith.data.collect.machines import collect_machines

        return collect_machines(settings, cursor)
    if isinstance(settings, FilesSettings):
        from tunesmith.data.collect.files import collect_files

        return collect_files(settings, cursor)
    if isinstance(settings, HubSettings):
        from tunesmith.data.collect.hub import collect_hub

        return collect_hub(settings, cursor)
    raise TypeError(type(settings).__name__)
