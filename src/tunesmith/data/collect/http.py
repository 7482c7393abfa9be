"""The one polite client: every collector asks hosts through it.

It says who asks (User-Agent), keeps a pause between two calls of one host, waits as long as a host
asks for (Retry-After, or a collector's own word; `hosts`), tries again after time-outs, broken
connections and bodies, 429 and 5xx with growing waits (tenacity), and keeps pages on disk to ask
for them again by ETag or Last-Modified (hishel, a private cache by RFC 9111; `transport`).
"""

from __future__ import annotations

import email.utils
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from tunesmith import __version__
from tunesmith.config.collect import NetworkSettings
from tunesmith.data.collect.answer import AGAIN, Again, Params, Reply, Wish
from tunesmith.data.collect.hosts import Hosts, too_long
from tunesmith.data.collect.page import library
from tunesmith.errors import CollectError

NOTHING = Wish()
DAY = 86400.0  # seconds; a page of a list is not asked for twice within it


class RefusedError(CollectError):
    """The host's answer is a status that no new attempt will change (400, 403, 404, ...)."""

    def __init__(self, message: str, *, hint: str, reply: Reply) -> None:
        super().__init__(message, hint=hint)
        self.reply = reply


class Http:
    """A client for one collection, to be closed. `cache` is the file that keeps pages; beside it
    lies when each host may be asked again. To `refresh` is to ask again for what it keeps."""

    def __init__(
        self,
        settings: NetworkSettings,
        cache: Path,
        *,
        refresh: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        library("httpx2")
        hishel = library("hishel")
        self._transport = library("tunesmith.data.collect.transport")
        self.settings, self.refresh, self._say = settings, refresh, say
        self._hosts = Hosts(cache.with_name(f"{cache.stem}.hosts"))
        agent = user_agent(settings.contact)
        self._kept = hishel.SqliteStorage(database_path=cache)
        self._plain = self._transport.client(settings, self._hosts, None, agent)
        self._cached = self._transport.client(settings, self._hosts, self._kept, agent)

    def __enter__(self) -> Http:
        return self

    def __exit__(self, *_: object) -> None:
        self._cached.close()
        self._plain.close()

    def get(
        self, url: str, params: Params | None = None, *, cached: bool = False, wish: Wish = NOTHING
    ) -> Reply:
        """The answer to a GET with a status below 400.

        `cached` keeps it on disk. Raises RefusedError on a status that is final, and CollectError
        where the attempts are used up or the host asks for too long a wait.
        """
        tenacity = library("tenacity")
        host = urlsplit(url).netloc
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(Again),
            stop=tenacity.stop_after_attempt(self.settings.attempts),
            wait=self._wait(tenacity),
            before_sleep=lambda state: self._say(
                f"{host}: {_reason(state)}; again in {state.next_action.sleep:.0f} s"
            ),
            reraise=True,
        )
        try:
            reply: Reply = retrying(self._attempt, url, params, cached, wish)
        except Again as error:
            times = f"{self.settings.attempts} times" if self.settings.attempts > 1 else "once"
            raise CollectError(
                f"{host}: {error.reason}; tried {times}.",
                hint="Check the address and the network; the host may be down for a while.",
            ) from error
        return reply

    def pause(self, url: str, seconds: float, wish: Wish = NOTHING) -> None:
        """Leave the host of `url` alone for so many seconds from now, whoever asks."""
        url_type = library("httpx2").URL
        self._hosts.pause(self._transport.name_of(url_type(url), wish), seconds)

    def _wait(self, tenacity: Any) -> Callable[[Any], float]:
        growing = tenacity.wait_exponential(
            multiplier=self.settings.backoff_s, max=self.settings.longest_wait_s
        )

        def wait(state: Any) -> float:
            asked = state.outcome.exception().wait
            return float(growing(state) if asked is None else asked)

        return wait

    def _attempt(self, url: str, params: Params | None, cached: bool, wish: Wish) -> Reply:
        host = urlsplit(url).netloc
        # params={} would take away the query that the URL brings along.
        options: dict[str, Any] = {"params": dict(params)} if params else {}
        if self.refresh and cached:
            options["headers"] = {"Cache-Control": "no-cache"}
        name = f"{url}?{urlencode(params or {})}"
        extensions = {self._transport.WISH: wish, self._transport.ASKED: host}
        extensions["caching"] = {"key": name}
        older = self._kept.get_entries(name) if cached else []
        with _transport_errors():
            client = self._cached if cached else self._plain
            response = client.get(url, extensions=extensions, **options)
        reply: Reply = self._transport.reply_of(response, str(response.url))
        if reply.status == 200 and not reply.from_cache:
            for entry in older:  # hishel 2.0 keeps one of them beside the new answer
                self._kept.remove_entry(entry.id)
        if reply.status in AGAIN:
            wait = retry_after(reply.headers)
            if wait is not None:
                self.pause(url, wait, wish)
                if wait > self.settings.longest_wait_s:
                    raise too_long(host, wait, self.settings.longest_wait_s)
            raise Again(f"answers {reply.status}", wait)
        if reply.status >= 400:
            path = urlsplit(reply.url).path
            raise RefusedError(
                f"{host}: answers {reply.status} to {path}.", hint=_meaning(reply), reply=reply
            )
        return reply


@contextmanager
def _transport_errors() -> Iterator[None]:
    httpx2 = library("httpx2")
    try:
        yield
    except httpx2.TimeoutException as error:
        raise Again("does not answer in time") from error
    except httpx2.DecodingError as error:  # of an encoding that nobody asked for
        raise Again("sends a body that cannot be unpacked") from error
    except httpx2.RemoteProtocolError as error:
        raise Again(f"breaks off its answer ({error})") from error
    except httpx2.UnsupportedProtocol as error:
        raise CollectError(f"{error}", hint="Check base_url: https://...") from error
    except (httpx2.TransportError, httpx2.TooManyRedirects) as error:
        raise Again(f"cannot be reached ({error})") from error
    except httpx2.InvalidURL as error:
        raise CollectError(f"no URL: {error}", hint="Check base_url: https://...") from error


def user_agent(contact: str) -> str:
    """Who asks: the program with its version, and whom to write to."""
    return f"tunesmith/{__version__}" + (f" ({contact})" if contact else "")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a Retry-After header asks for (a number or an HTTP date); None without one."""
    value = headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    try:
        then = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return max(0.0, (then - datetime.now(UTC)).total_seconds())


def _reason(state: Any) -> str:
    return str(state.outcome.exception().reason)


def _meaning(reply: Reply) -> str:
    if reply.status in (401, 403):
        return "The host does not let you in: check the key and the address, or its rules."
    if reply.status in (404, 410):
        return "There is no such page: check the address."
    return "Check the address and the settings; the host does not take this question."
