"""Anthropic's Messages API, through the official library.

https://github.com/anthropics/anthropic-sdk-python. Its own retries are off, for each attempt is
paid for, and counted by the ledger. Blocks of thinking are not text; they count as tokens.
"""

from __future__ import annotations

from typing import Any

import anthropic
from anthropic.types import Message as Answer

from tunesmith.config.generate import EndpointSettings
from tunesmith.data.generate.endpoint import (
    Completion,
    Request,
    Stop,
    Unanswered,
    key_of,
    native_schema,
    other_api,
    refused_key,
)
from tunesmith.data.generate.ledger import host_of
from tunesmith.data.generate.waiting import asked_wait
from tunesmith.errors import EndpointError

MAKER = "https://api.anthropic.com"
KEY = "ANTHROPIC_API_KEY"
STOPS = {
    "max_tokens": Stop.LENGTH,
    "model_context_window_exceeded": Stop.LENGTH,
    "refusal": Stop.REFUSED,
}


class Anthropic:
    """One model at Anthropic's API, or at a gateway that speaks it."""

    kind = "anthropic"

    def __init__(self, settings: EndpointSettings) -> None:
        url = settings.base_url or MAKER
        self.model = settings.model
        self.host = host_of(url)
        self._settings = settings
        self._client = anthropic.Anthropic(
            api_key=key_of(settings, KEY) or "none",
            base_url=url,
            max_retries=0,
            timeout=settings.timeout,
        )

    def complete(self, request: Request) -> Completion:
        """Ask once."""
        try:
            answer: Any = self._client.messages.create(**self._arguments(request))
        except anthropic.APITimeoutError as error:
            raise Unanswered(
                f"{self.host} did not answer within {self._settings.timeout:g} s",
                again=True,
                unsure=True,
            ) from error
        except anthropic.APIConnectionError as error:
            raise Unanswered(
                f"{self.host} cannot be reached ({error.__cause__ or error})",
                again=True,
                unsure=_perhaps_read(error),
            ) from error
        except anthropic.APIStatusError as error:
            raise self._told(error) from error
        except (
            anthropic.APIError,
            ValueError,
        ) as error:  # a body that is no JSON, or of no known form
            raise other_api(self.host) from error
        return self._completion(answer)

    def close(self) -> None:
        """Let go of every connection."""
        self._client.close()

    def _arguments(self, request: Request) -> dict[str, Any]:
        system = "\n\n".join(m.content for m in request.messages if m.role == "system")
        arguments: dict[str, Any] = {
            "model": self.model,
            "messages": [
                {"role": m.role, "content": m.content}
                for m in request.messages
                if m.role != "system"
            ],
            "max_tokens": request.max_tokens,
        }
        if system:
            arguments["system"] = system
        if request.temperature is not None:  # newer models refuse it, and the library dropped it
            arguments["extra_body"] = {"temperature": request.temperature}
        output: dict[str, Any] = {}
        if request.effort is not None:
            output["effort"] = request.effort
        if request.schema is not None and self._settings.structured == "schema":
            output["format"] = {"type": "json_schema", "schema": native_schema(request.schema)}
        if output:
            arguments["output_config"] = output
        return arguments

    def _completion(self, answer: Any) -> Completion:
        if not isinstance(answer, Answer) or answer.content is None or answer.usage is None:
            raise other_api(self.host)
        usage = answer.usage
        return Completion(
            text="".join(block.text for block in answer.content if block.type == "text"),
            tokens_in=usage.input_tokens
            + (usage.cache_creation_input_tokens or 0)
            + (usage.cache_read_input_tokens or 0),
            tokens_out=usage.output_tokens,
            model=answer.model or self.model,
            stop=STOPS.get(answer.stop_reason or "", Stop.DONE),
        )

    def _told(self, error: anthropic.APIStatusError) -> EndpointError:
        """What a status means: for this call, or for all of them."""
        status, said = error.status_code, error.api_message or f"status {error.status_code}"
        if status in (401, 403):
            return refused_key(self.host, self._settings, KEY)
        if status == 402 or error.type == "billing_error" or "credit balance" in said:
            return EndpointError(
                f"{self.host} takes no more calls: the account's credit is used up",
                hint="add credit there; the same command then goes on",
            )
        if status in (408, 409, 429) or status >= 500:
            return Unanswered(
                f"{self.host} answered {status}",
                again=True,
                wait=asked_wait(error.response.headers),
                throttled=status in (429, 503, 529),
                unsure=status in (408, 504),
            )
        if status == 413 or "prompt is too long" in said:
            return Unanswered(f"{self.host}: the prompt is too long for {self.model}")
        return EndpointError(
            f"{self.host} refused the call: {said.splitlines()[0]}",
            hint="if this model does not know JSON schemas set endpoint.structured: none; check "
            "endpoint.model"
            if "format" in said or "schema" in said
            else "check endpoint.model and parameters",
        )


def _perhaps_read(error: anthropic.APIConnectionError) -> bool:
    """Whether the call may have arrived before the connection broke."""
    import httpx2

    return not isinstance(error.__cause__, (httpx2.ConnectError, httpx2.ConnectTimeout))
