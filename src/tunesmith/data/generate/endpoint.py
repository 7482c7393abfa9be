"""A language model that can be asked: one protocol, whatever stands behind it.

`openai_endpoint` and `anthropic_endpoint` speak to an API through its maker's own library; `Local`
asks a function that the caller hands in, so that this package need not know what a model is.
Attempts, pauses and money are the runner's: an endpoint asks once, and says what became of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from tunesmith.config.generate import EndpointSettings
from tunesmith.errors import ConfigError, EndpointError
from tunesmith.records import Message

# What the structured output of neither API takes; every answer is checked for it here.
NOT_NATIVE = frozenset({"minItems", "maxItems", "minLength", "maxLength", "pattern"})


class Stop(StrEnum):
    """Why an answer ended."""

    DONE = "done"
    LENGTH = "length"  # cut at max_tokens, or where the model's context ends
    REFUSED = "refused"  # by the model, or by a filter in front of it


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. `schema` is the JSON Schema of the answer, None for plain text.

    `attempt` is not sent: it is part of the content by which answers are kept, and another number
    asks anew.
    """

    messages: tuple[Message, ...]
    max_tokens: int
    schema: Mapping[str, Any] | None = None
    temperature: float | None = None
    effort: str | None = None
    attempt: int = 0

    def facts(self) -> dict[str, Any]:
        """Everything that decides the answer, as JSON."""
        return {
            "messages": [{"role": m.role, "content": m.content} for m in self.messages],
            "max_tokens": self.max_tokens,
            "schema": self.schema,
            "temperature": self.temperature,
            "effort": self.effort,
            "attempt": self.attempt,
        }

    def and_then(self, *messages: Message) -> Request:
        """The same request, with more turns."""
        return replace(self, messages=(*self.messages, *messages))


@dataclass(frozen=True, slots=True)
class Completion:
    """What came back. Tokens are those that the endpoint charges for; `model` is who answered."""

    text: str
    tokens_in: int
    tokens_out: int
    model: str
    stop: Stop


class Endpoint(Protocol):
    """Something that completes requests; it may be asked from several threads at a time."""

    kind: str
    model: str
    host: str

    def complete(self, request: Request) -> Completion:
        """Ask once. Unanswered where only this call failed, EndpointError where all would."""
        ...

    def close(self) -> None:
        """Let go of every connection."""
        ...


class Unanswered(EndpointError):  # noqa: N818 - it names what became of a call
    """A call came to nothing; others may fare better.

    `again`: trying once more may help, after `wait` seconds where the endpoint named a time.
    `throttled`: it asks for fewer calls, so all wait. `unsure`: it may charge for the call.
    """

    def __init__(
        self,
        message: str,
        *,
        again: bool = False,
        wait: float | None = None,
        throttled: bool = False,
        unsure: bool = False,
    ) -> None:
        super().__init__(message)
        self.again = again
        self.wait = wait
        self.throttled = throttled
        self.unsure = unsure


def call_key(endpoint: Endpoint, request: Request) -> str:
    """The content of a call, as a hash: who is asked (kind and model), and everything asked."""
    facts = {"kind": endpoint.kind, "model": endpoint.model, **request.facts()}
    written = json.dumps(facts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(written.encode()).hexdigest()


def native_schema(schema: Any) -> Any:
    """The schema without what the APIs' structured output does not take."""
    if isinstance(schema, Mapping):
        return {k: native_schema(v) for k, v in schema.items() if k not in NOT_NATIVE}
    if isinstance(schema, (list, tuple)):
        return [native_schema(item) for item in schema]
    return schema


def key_of(settings: EndpointSettings, default: str) -> str | None:
    """The endpoint's key, from the environment.

    The maker's own variable is read for the maker's own host alone: its key is no business of any
    other. ConfigError where a variable that is needed, or named, is not set.
    """
    name = settings.key_env or (None if settings.base_url else default)
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise ConfigError(
            f"no key for {settings.model}: the environment variable {name} is not set",
            hint=f"export {name}=…, or name another variable with endpoint.key_env",
        )
    return key


def refused_key(host: str, settings: EndpointSettings, default: str) -> EndpointError:
    """The endpoint does not take the key."""
    name = settings.key_env or (None if settings.base_url else default)
    which = f"the key in {name}" if name else "a call without a key"
    hint = (
        f"check {name}: is it complete, still valid, and allowed to use {settings.model}?"
        if name
        else "name the environment variable that holds the key: endpoint.key_env"
    )
    return EndpointError(f"{host} refused {which}", hint=hint)


def other_api(host: str) -> EndpointError:
    """Something answered that does not speak the API."""
    return EndpointError(
        f"{host} answered, but not as this API answers",
        hint="check endpoint.base_url (of an OpenAI-compatible server it often ends in /v1) "
        "and endpoint.kind",
    )


class Local:
    """A model of ours, behind a function that the caller hands in; it is asked one at a time."""

    kind = "local"
    host = "this machine"

    def __init__(self, model: str, answer: Callable[[Request], Completion]) -> None:
        self.model = model
        self._answer = answer
        self._turn = threading.Lock()

    def complete(self, request: Request) -> Completion:
        """Ask the function."""
        with self._turn:
            return self._answer(request)

    def close(self) -> None:
        """Nothing is held."""
