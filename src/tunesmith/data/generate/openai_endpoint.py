"""Chat completions of OpenAI, and of every server that speaks the same (vLLM, llama.cpp, Ollama).

Through the official library: https://github.com/openai/openai-python. Its own retries are off, for
each attempt is paid for, and counted by the ledger.
"""

from __future__ import annotations

from typing import Any

import openai
from openai.types.chat import ChatCompletion

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
from tunesmith.data.generate.ledger import host_of, most_tokens
from tunesmith.data.generate.waiting import asked_wait
from tunesmith.errors import EndpointError

MAKER = "https://api.openai.com/v1"
KEY = "OPENAI_API_KEY"
QUOTA = {"insufficient_quota", "billing_hard_limit_reached"}
TOO_LONG = {"context_length_exceeded", "string_above_max_length"}


class OpenAI:
    """One model at one OpenAI-compatible API."""

    kind = "openai"

    def __init__(self, settings: EndpointSettings) -> None:
        url = settings.base_url or MAKER
        self.model = settings.model
        self.host = host_of(url)
        self._settings = settings
        self._client = openai.OpenAI(
            api_key=key_of(settings, KEY) or "none",
            base_url=url,
            max_retries=0,
            timeout=settings.timeout,
        )

    def complete(self, request: Request) -> Completion:
        """Ask once."""
        try:
            answer: Any = self._client.chat.completions.create(**self._arguments(request))
        except openai.APITimeoutError as error:
            raise Unanswered(
                f"{self.host} did not answer within {self._settings.timeout:g} s",
                again=True,
                unsure=True,
            ) from error
        except openai.APIConnectionError as error:
            raise Unanswered(
                f"{self.host} cannot be reached ({error.__cause__ or error})",
                again=True,
                unsure=_perhaps_read(error),
            ) from error
        except openai.APIStatusError as error:
            raise self._told(error) from error
        except (
            openai.APIError,
            ValueError,
        ) as error:  # a body that is no JSON, or of no known form
            raise other_api(self.host) from error
        return self._completion(answer, request)

    def close(self) -> None:
        """Let go of every connection."""
        self._client.close()

    def _arguments(self, request: Request) -> dict[str, Any]:
        # Reasoning models know only the newer name; many servers of others know only the older.
        longest = "max_tokens" if self._settings.base_url else "max_completion_tokens"
        arguments: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": m.role, "content": m.content} for m in request.messages],
            longest: request.max_tokens,
        }
        if request.temperature is not None:
            arguments["temperature"] = request.temperature
        if request.effort is not None:
            arguments["reasoning_effort"] = request.effort
        if request.schema is not None and self._settings.structured == "object":
            arguments["response_format"] = {"type": "json_object"}
        if request.schema is not None and self._settings.structured == "schema":
            arguments["response_format"] = {
                "type": "json_schema",
                "json_schema": {
                    "name": "answer",
                    "strict": True,
                    "schema": native_schema(request.schema),
                },
            }
        return arguments

    def _completion(self, answer: Any, request: Request) -> Completion:
        if not isinstance(answer, ChatCompletion) or not answer.choices:
            raise other_api(self.host)
        choice = answer.choices[0]
        if choice.message is None:
            raise other_api(self.host)
        refusal = choice.message.refusal
        text = refusal or choice.message.content or ""
        stop = Stop.LENGTH if choice.finish_reason == "length" else Stop.DONE
        if refusal or choice.finish_reason == "content_filter":
            stop = Stop.REFUSED
        usage = answer.usage
        return Completion(
            text=text,
            # A server that counts nothing is counted at the most that it can have been.
            tokens_in=usage.prompt_tokens if usage else most_tokens(request),
            tokens_out=usage.completion_tokens if usage else request.max_tokens,
            model=answer.model or self.model,
            stop=stop,
        )

    def _told(self, error: openai.APIStatusError) -> EndpointError:
        """What a status means: for this call, or for all of them."""
        status, code = error.status_code, error.code or ""
        if status in (401, 403):
            return refused_key(self.host, self._settings, KEY)
        if code in QUOTA or status == 402:
            return EndpointError(
                f"{self.host} takes no more calls: the account's quota is used up",
                hint="add credit or raise the limit there; the same command then goes on",
            )
        if status in (408, 409, 429) or status >= 500:
            return Unanswered(
                f"{self.host} answered {status}",
                again=True,
                wait=asked_wait(error.response.headers),
                throttled=status in (429, 503),
                unsure=status in (408, 504),
            )
        if code in TOO_LONG or status == 413:
            return Unanswered(f"{self.host}: the prompt is too long for {self.model}")
        said = error.message.splitlines()[0] if error.message else f"status {status}"
        return EndpointError(
            f"{self.host} refused the call: {said}",
            hint="if it does not know JSON schemas set endpoint.structured: none; check "
            "endpoint.model and base_url"
            if "format" in said or "schema" in said
            else "check endpoint.model, base_url and parameters",
        )


def _perhaps_read(error: openai.APIConnectionError) -> bool:
    """Whether the call may have arrived before the connection broke."""
    import httpx2

    return not isinstance(error.__cause__, (httpx2.ConnectError, httpx2.ConnectTimeout))
