"""Beneath the cache: the host's turn, keys that no disk sees, and answers that are whole.

A body is unpacked here and not by httpx2, which takes a packed body that was cut for a whole one.
What comes out is whole and checked, so that the cache above never holds anything else.
Import it lazily: it needs the extra `collect`.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable, Iterator

import httpx2
from hishel import BaseStorage, CacheOptions
from hishel.httpx2 import CacheTransport

from tunesmith.config.collect import NetworkSettings
from tunesmith.data.collect.answer import AGAIN, Again, Reply, Wish
from tunesmith.data.collect.hosts import Hosts
from tunesmith.errors import CollectError

PACKINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # the window bits by which zlib knows them
SLOW = 10  # an answer may take so many times the time-out in all
PIECE = 2**20
WISH, ASKED = "wish", "asked"  # extensions of a request: its Wish, and the host that it is of


class Polite(httpx2.BaseTransport):
    """Asks through `inner`, each host in its turn."""

    def __init__(
        self, inner: httpx2.BaseTransport, hosts: Hosts, settings: NetworkSettings
    ) -> None:
        self._inner, self._hosts, self._settings = inner, hosts, settings

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """A whole answer; Again, CollectError or what httpx2 raises where there is none."""
        wish: Wish = request.extensions[WISH]
        host = name_of(request.url, wish)
        longest = max(self._settings.longest_wait_s, self._settings.interval_s)
        with self._hosts.turn(host, longest):
            try:
                response = self._inner.handle_request(_with_secret(request, wish))
                try:
                    return self._answer(request, response, wish)
                finally:
                    response.close()
            finally:  # from the end of a call: what goes out at once may arrive late
                self._hosts.pause(host, self._settings.interval_s)

    def close(self) -> None:
        self._inner.close()

    def _answer(
        self, request: httpx2.Request, response: httpx2.Response, wish: Wish
    ) -> httpx2.Response:
        headers = response.headers.copy()
        if response.status_code in AGAIN:
            headers["cache-control"] = "no-store"
            return httpx2.Response(response.status_code, headers=_plain(headers))
        encoding = headers.get("content-encoding", "").strip().lower()
        chunks = response.iter_raw()
        if encoding in PACKINGS:
            chunks = unpacked(chunks, PACKINGS[encoding])
            headers = _plain(headers)
        else:
            headers.pop("transfer-encoding", None)
        body = self._read(request, chunks)
        whole = httpx2.Response(response.status_code, headers=headers, content=body)
        kept = response.status_code == 304
        if response.status_code == 200:
            reply = reply_of(whole, str(request.url))
            if (fault := wish.check(reply)) is not None:
                raise Again(fault)
            kept = wish.keep(reply)
        if wish.fresh_s:
            whole.headers.pop("expires", None)
            whole.headers["cache-control"] = f"max-age={wish.fresh_s:.0f}" if kept else "no-store"
        return whole

    def _read(self, request: httpx2.Request, chunks: Iterable[bytes]) -> bytes:
        largest = self._settings.largest_mb
        began = time.monotonic()
        body = bytearray()
        for chunk in chunks:
            body += chunk
            if len(body) > largest * 1e6:
                raise CollectError(
                    f"{_host(request.url)}: the answer to {request.url.path} is larger than "
                    f"{largest:g} MB.",
                    hint="Raise largest_mb if you want it.",
                )
            if time.monotonic() - began > SLOW * self._settings.timeout_s:
                raise Again("answers too slowly")
        return bytes(body)


def client(
    settings: NetworkSettings, hosts: Hosts, storage: BaseStorage | None, agent: str
) -> httpx2.Client:
    """A client whose transports are polite, those of the environment's proxies, too; with a
    `storage` it is a private cache by RFC 9111."""

    def layered(inner: httpx2.BaseTransport) -> httpx2.BaseTransport:
        polite = Polite(inner, hosts, settings)
        if storage is None:
            return polite
        return CacheTransport(polite, storage, rfc=CacheOptions(shared=False))

    class Client(httpx2.Client):
        """These two methods are where hishel's own client comes in, too."""

        def _init_transport(self, *args: object, **kwargs: object) -> httpx2.BaseTransport:
            return layered(super()._init_transport(*args, **kwargs))  # type: ignore[arg-type]

        def _init_proxy_transport(self, *args: object, **kwargs: object) -> httpx2.BaseTransport:
            return layered(super()._init_proxy_transport(*args, **kwargs))  # type: ignore[arg-type]

    return Client(
        headers={"User-Agent": agent, "Accept-Encoding": "gzip, deflate"},
        timeout=settings.timeout_s,
        follow_redirects=True,
    )


def reply_of(response: httpx2.Response, url: str) -> Reply:
    """An answer in our own words."""
    return Reply(
        url,
        response.status_code,
        {k.lower(): v for k, v in response.headers.items()},
        response.content,
        response.encoding or "utf-8",
        from_cache=bool(response.extensions.get("caching", {}).get("from_cache")),
    )


def name_of(url: httpx2.URL, wish: Wish) -> str:
    """What a host goes by among `Hosts`."""
    return f"{_host(url)} (with a key)" if wish.secret else _host(url)


def unpacked(chunks: Iterable[bytes], window: int) -> Iterator[bytes]:
    """A gzip or deflate body (RFC 1952, 1950, or bare 1951) in pieces, so that a small one cannot
    swell beyond every bound. Again where it cannot be unpacked or has no end."""
    box = None
    for chunk in chunks:
        data = chunk
        while data:
            if box is None:
                bare = window == 15 and data[0] & 15 != 8
                box = zlib.decompressobj(-15 if bare else window)
            elif box.eof:
                if window != 31 or data[0] != 0x1F:
                    break  # padding; else another member of the same file
                box = zlib.decompressobj(window)
            while not box.eof:
                try:
                    piece = box.decompress(data, PIECE)
                except zlib.error as error:
                    raise Again("sends a body that cannot be unpacked") from error
                data = box.unconsumed_tail
                if not piece:
                    break
                yield piece
            data = box.unused_data if box.eof else b""
    if box is not None and not box.eof:
        raise Again("breaks off its answer (the packed body has no end)")


def _plain(headers: httpx2.Headers) -> httpx2.Headers:
    """Headers of a body that is unpacked and no longer sent in chunks."""
    for name in ("content-encoding", "content-length", "transfer-encoding"):
        headers.pop(name, None)
    return headers


def _with_secret(request: httpx2.Request, wish: Wish) -> httpx2.Request:
    if not wish.secret or _host(request.url) != request.extensions[ASKED]:
        return request  # where a host redirects to, its key is nobody's business
    url = request.url.copy_merge_params(dict(wish.secret))
    return httpx2.Request(
        request.method, url, headers=request.headers, extensions=request.extensions
    )


def _host(url: httpx2.URL) -> str:
    return url.netloc.decode("ascii")
