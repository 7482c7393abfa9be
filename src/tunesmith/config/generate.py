"""What a recipe says under `data.generate`: rows that a language model writes.

    data:
      generate:
        stats_qa:
          kind: questions
          from: data/crossvalidated/documents.jsonl
          endpoint: {kind: openai, model: gpt-4.1-mini}
          per_document: 3
          types: {definition: 2, methodology: 3, comparison: 2, calculation: 1, best_practice: 2}
          budget: 5.00

Keys of the endpoints are never in a recipe: `key_env` names the environment variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

QuestionType = Literal["definition", "methodology", "comparison", "calculation", "best_practice"]
DEFAULT_SHARES: dict[QuestionType, float] = {
    "definition": 0.2,
    "methodology": 0.3,
    "comparison": 0.2,
    "calculation": 0.1,
    "best_practice": 0.2,
}


class _Settings(BaseModel):
    """Frozen, and closed to unknown keys."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
        allow_inf_nan=False,
        populate_by_name=True,
        serialize_by_alias=True,
    )


class PriceSettings(_Settings):
    """What a model costs, in USD for a million tokens."""

    input: float = Field(ge=0, description="USD for a million tokens of the prompt.")
    output: float = Field(ge=0, description="USD for a million tokens of the answer.")


class EndpointSettings(_Settings):
    """The language model that is asked, and how fast."""

    kind: Literal["openai", "anthropic", "local"] = Field(
        description="openai: any API of that form; anthropic; local: a model that runs here."
    )
    model: str = Field(min_length=1, description="The model's name at the endpoint, or a base.")
    base_url: str | None = Field(
        None, description="Where the API is, such as http://localhost:8000/v1; None: its maker's."
    )
    key_env: str | None = Field(
        None,
        description="Environment variable that holds the key; None: OPENAI_API_KEY or "
        "ANTHROPIC_API_KEY, which an endpoint of your own may lack.",
    )
    max_tokens: int = Field(2048, gt=0, description="Longest answer, in tokens, thinking included.")
    temperature: float | None = Field(
        None, ge=0, le=2, description="Left to the model where it is not said; some refuse it."
    )
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = Field(
        None, description="How much a reasoning model thinks; None: as the model does by itself."
    )
    structured: Literal["schema", "object", "none"] = Field(
        "schema",
        description="What the API is asked to hold to: the JSON schema, any JSON object (openai), "
        "or nothing; answers are checked here in any case.",
    )
    price: PriceSettings | Literal["free"] | None = Field(
        None, description="USD for a million tokens, or free; None: the package's table."
    )
    prices: str | None = Field(
        None, description="A TOML file of prices that is asked before the package's table."
    )
    concurrency: int = Field(4, gt=0, le=64, description="Calls in flight at a time.")
    requests_per_minute: int | None = Field(None, gt=0, description="At most so many calls.")
    tokens_per_minute: int | None = Field(
        None, gt=0, description="At most so many tokens, of prompts and answers together."
    )
    timeout: float = Field(120.0, gt=0, description="Seconds to wait for an answer.")
    retries: int = Field(
        4, ge=0, description="Attempts after the first, where trying again may help."
    )
    backoff: float = Field(
        1.0, gt=0, description="Seconds before the first retry; doubled each time, at most 60."
    )

    @model_validator(mode="after")
    def _fits(self) -> EndpointSettings:
        if self.kind == "local" and (self.base_url or self.key_env):
            raise ValueError("a local endpoint has neither base_url nor key_env")
        if self.kind != "openai" and self.structured == "object":
            raise ValueError("structured: object is known to the kind openai alone")
        return self


class _Generation(_Settings):
    """What every generation by a language model has.

    `MANNERS` names the keys that say how to ask, and what for how much, but not for which rows.
    """

    MANNERS: ClassVar[Mapping[str, bool | set[str]]] = {
        "budget": True,
        "endpoint": {
            *("key_env", "price", "prices", "concurrency", "requests_per_minute"),
            *("tokens_per_minute", "timeout", "retries", "backoff"),
        },
    }

    source: str = Field(
        alias="from",
        min_length=1,
        description="A collection of data.collect by its name, or a JSONL file of documents.",
    )
    endpoint: EndpointSettings = Field(description="The language model that is asked.")
    limit: int | None = Field(None, gt=0, description="Take only the first so many documents.")
    rows: int | None = Field(
        None,
        gt=0,
        description="Take documents in an order by chance, and stop once so many rows passed the "
        "checks; None: ask for every document, in their order.",
    )
    seed: int = Field(0, ge=0, description="Decides the order of the documents where rows is said.")
    budget: float | None = Field(
        None, gt=0, description="USD that all sittings of this generation may cost together."
    )
    attempt: int = Field(
        0, ge=0, description="Another number asks anew instead of taking the stored answers."
    )

    def wishes(self) -> dict[str, Any]:
        """What decides which rows come out of the same documents, as plain values."""
        return self.model_dump(mode="json", exclude=dict(self.MANNERS))


class QuestionsSettings(_Generation):
    """Question-answer pairs from documents."""

    kind: Literal["questions"] = Field(description="questions, or paraphrase.")
    per_document: int = Field(3, gt=0, le=20, description="Pairs from each document.")
    types: dict[QuestionType, Annotated[float, Field(ge=0)]] = Field(
        default_factory=lambda: dict(DEFAULT_SHARES),
        description="Weight of each question type; they need not sum to one.",
    )
    max_document_chars: int = Field(
        12_000, gt=0, description="A longer document is cut at a paragraph before this."
    )
    cite_in_answer: bool = Field(
        True, description="End each answer with its source; the row names it in any case."
    )
    language: str = Field("English", min_length=1, description="Language of the pairs.")

    @field_validator("types")
    @classmethod
    def _some_weight(cls, value: dict[QuestionType, float]) -> dict[QuestionType, float]:
        if not sum(value.values()):
            raise ValueError("some question type needs a weight above 0")
        return value


class ParaphraseSettings(_Generation):
    """The same question in other words, for documents that have an answer."""

    kind: Literal["paraphrase"] = Field(description="questions, or paraphrase.")
    per_document: int = Field(2, gt=0, le=20, description="Other wordings of each question.")
    keep_numbers: bool = Field(
        True, description="Set aside a wording that lost or changed a number of the original."
    )


GenerationSettings = Annotated[QuestionsSettings | ParaphraseSettings, Field(discriminator="kind")]
