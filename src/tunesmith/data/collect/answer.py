"""What a call is about: the answer as a whole, what is wished of it, and the wish to ask again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})  # a later attempt may be answered
Params = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer, its body decoded; `url` after redirects. One `from_cache` was given by the
    host earlier (or is said by it to be still the same): what it says of now is no longer so."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    charset: str = "utf-8"
    from_cache: bool = False

    @property
    def text(self) -> str:
        """The body as text; bytes that are none are replaced."""
        return self.body.decode(self.charset, "replace")


Check = Callable[[Reply], str | None]  # what is wrong with an answer; None: nothing


@dataclass(frozen=True, slots=True)
class Wish:
    """An answer that `check` finds fault with is asked for again, and never kept. One that `keep`
    agrees to is kept for `fresh_s` seconds without asking. `secret` is sent, but stored nowhere."""

    check: Check = lambda _: None
    keep: Callable[[Reply], bool] = lambda _: True
    fresh_s: float = 0.0
    secret: Params = field(default_factory=dict)


class Again(Exception):  # noqa: N818 - a wish, not a fault
    """An attempt that failed and may be made again, after `wait` seconds where the host says so."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.wait = reason, wait
