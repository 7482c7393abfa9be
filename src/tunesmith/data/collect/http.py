"""The one polite client: every collector asks hosts through it.

It says who asks (User-Agent), keeps a pause between two calls of one host, waits as long as a host
asks for (Retry-After, or a collector's own word), tries again after time-outs, broken connections,
429 and 5xx with growing waits (tenacity), and keeps pages on disk to ask for them again by ETag
or Last-Modified (hishel, a private cache by RFC 9111).
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tunesmith import __version__
from tunesmith.config.collect import NetworkSettings
from tunesmith.data.collect.page import library
from tunesmith.errors import CollectError

AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})  # a later attempt may be answered
SLOW = 10  # an answer may take so many times the time-out in all
Params = Mapping[str, str | int]
Check = Callable[["Reply"], str | None]  # what is wrong with an answer; None: nothing


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer, its body decoded; `url` after redirects."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    charset: str = "utf-8"

    @property
    def text(self) -> str:
        """The body as text; bytes that are none are replaced."""
        return self.body.decode(self.charset, "replace")


class RefusedError(CollectError):
    """The host's answer is a status that no new attempt will change (400, 403, 404, ...)."""

    def __init__(self, message: str, *, hint: str, reply: Reply) -> None:
        super().__init__(message, hint=hint)
        self.reply = reply


class _Again(Exception):  # noqa: N818 - a wish, not a fault
    """An attempt that failed and may be made again, after `wait` seconds where the host says so."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.wait = reason, wait


class Http:
    """A client for one collection, to be closed. `cache` is a file; None keeps nothing on disk."""

    def __init__(
        self,
        settings: NetworkSettings,
        cache: Path | None = None,
        *,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        httpx2 = library("httpx2")
        self.settings = settings
        self._say = say
        self._not_before: dict[str, float] = {}  # host -> monotonic seconds
        options: dict[str, Any] = {
            "headers": {"User-Agent": user_agent(settings.contact)},
            "timeout": settings.timeout_s,
            "follow_redirects": True,
        }
        self._plain = httpx2.Client(**options)
        self._cached = self._plain
        if cache is not None:
            cache.parent.mkdir(parents=True, exist_ok=True)
            hishel = library("hishel")
            self._cached = library("hishel.httpx2").CacheClient(
                storage=hishel.SqliteStorage(database_path=cache),
                rfc=hishel.CacheOptions(shared=False),
                **options,
            )

    def __enter__(self) -> Http:
        return self

    def __exit__(self, *_: object) -> None:
        self._cached.close()
        self._plain.close()

    def get(
        self,
        url: str,
        params: Params | None = None,
        *,
        cached: bool = False,
        check: Check = lambda _: None,
    ) -> Reply:
        """The answer to a GET with a status below 400.

        `cached` keeps it on disk (never where the URL holds a key). An answer that `check` finds
        fault with counts as a failed attempt. Raises RefusedError on a status that is final, and
        CollectError where the attempts are used up or the host asks for too long a wait.
        """
        tenacity = library("tenacity")
        host = urlsplit(url).netloc
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Again),
            stop=tenacity.stop_after_attempt(self.settings.attempts),
            wait=self._wait(tenacity),
            before_sleep=lambda state: self._say(
                f"{host}: {_reason(state)}; again in {state.next_action.sleep:.0f} s"
            ),
            reraise=True,
        )
        try:
            reply: Reply = retrying(self._attempt, url, params, cached, check)
        except _Again as error:
            times = f"{self.settings.attempts} times" if self.settings.attempts > 1 else "once"
            raise CollectError(
                f"{host}: {error.reason}; tried {times}.",
                hint="Check the address and the network; the host may be down for a while.",
            ) from error
        return reply

    def pause(self, url: str, seconds: float) -> None:
        """Leave the host of `url` alone for so many seconds from now."""
        host = urlsplit(url).netloc
        until = time.monotonic() + seconds
        self._not_before[host] = max(self._not_before.get(host, 0.0), until)

    def _wait(self, tenacity: Any) -> Callable[[Any], float]:
        growing = tenacity.wait_exponential(
            multiplier=self.settings.backoff_s, max=self.settings.longest_wait_s
        )

        def wait(state: Any) -> float:
            asked = state.outcome.exception().wait
            return float(growing(state) if asked is None else asked)

        return wait

    def _attempt(self, url: str, params: Params | None, cached: bool, check: Check) -> Reply:
        self._turn(url)
        try:
            with _transport_errors():
                reply = self._fetch(self._cached if cached else self._plain, url, params)
        finally:  # from the end of a call: what goes out at once may arrive late
            self.pause(url, self.settings.interval_s)
        host = urlsplit(url).netloc
        if reply.status in AGAIN:
            wait = retry_after(reply.headers)
            if wait is not None and wait > self.settings.longest_wait_s:
                raise self._too_long(host, wait)
            raise _Again(f"answers {reply.status}", wait)
        if reply.status >= 400:
            path = urlsplit(reply.url).path
            raise RefusedError(
                f"{host}: answers {reply.status} to {path}.", hint=_meaning(reply), reply=reply
            )
        if (fault := check(reply)) is not None:
            raise _Again(fault)
        return reply

    def _turn(self, url: str) -> None:
        """Wait until this host may be asked."""
        host = urlsplit(url).netloc
        left = self._not_before.get(host, 0.0) - time.monotonic()
        if left > max(self.settings.longest_wait_s, self.settings.interval_s):
            raise self._too_long(host, left)
        if left > 0:
            time.sleep(left)

    def _fetch(self, client: Any, url: str, params: Params | None) -> Reply:
        largest = int(self.settings.largest_mb * 1e6)
        began = time.monotonic()
        body = bytearray()
        # params={} would take away the query that the URL brings along.
        query = {"params": dict(params)} if params else {}
        with client.stream("GET", url, **query) as response:
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > largest:
                    raise CollectError(
                        f"{urlsplit(url).netloc}: the answer to {urlsplit(url).path} is larger "
                        f"than {self.settings.largest_mb:g} MB.",
                        hint="Raise largest_mb if you want it.",
                    )
                if time.monotonic() - began > SLOW * self.settings.timeout_s:
                    raise _Again("answers too slowly")
            headers = {str(k).lower(): str(v) for k, v in response.headers.items()}
            charset = str(response.encoding or "utf-8")
            return Reply(
                str(response.url), int(response.status_code), headers, bytes(body), charset
            )

    def _too_long(self, host: str, seconds: float) -> CollectError:
        return CollectError(
            f"{host}: asks to be left alone for {_duration(seconds)}, longer than longest_wait_s "
            f"({self.settings.longest_wait_s:g} s).",
            hint=f"Run the same command again in {_duration(seconds)}.",
        )


@contextmanager
def _transport_errors() -> Iterator[None]:
    httpx2 = library("httpx2")
    try:
        yield
    except httpx2.TimeoutException as error:
        raise _Again("does not answer in time") from error
    except httpx2.DecodingError as error:
        raise _Again("sends a body that cannot be unpacked") from error
    except httpx2.RemoteProtocolError as error:
        raise _Again(f"breaks off its answer ({error})") from error
    except httpx2.UnsupportedProtocol as error:
        raise CollectError(f"{error}", hint="Check base_url: https://...") from error
    except (httpx2.TransportError, httpx2.TooManyRedirects) as error:
        raise _Again(f"cannot be reached ({error})") from error
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


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
