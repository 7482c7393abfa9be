"""What a collector may be told: one model a kind, told apart by `kind`.

A recipe holds them under `data.collect`, by a name of its owner; `tunesmith data collect` takes the
same keys as `--set KEY=VALUE`. Base URLs are settings, so that a mirror (or a test's server) can
stand in for the real host.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from tunesmith.errors import ConfigError

# A list of words; one may stand alone.
Words = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]


class CollectorSettings(BaseModel):
    """Base of every kind: frozen, and closed to unknown keys.

    `MANNERS` names the keys that say how politely to ask, and not what for: a collection goes on
    under other manners, but not under other wishes. `WATCHED` and `SNAPSHOT` say how it is
    refreshed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    MANNERS: ClassVar[frozenset[str]] = frozenset({"limit"})
    WATCHED: ClassVar[bool] = False  # whether its source is files, whose changes show at once
    SNAPSHOT: ClassVar[bool] = (
        False  # whether a walk meets all that there is, so that the rest left
    )

    limit: int | None = Field(None, gt=0, description="Stop at so many documents in all.")

    def located(self, beside: Callable[[str], str]) -> CollectorSettings:
        """The same with its local paths as `beside` finds them."""
        found: dict[str, Any] = {}
        if isinstance(path := getattr(self, "path", None), str):
            found["path"] = beside(path)
        if isinstance(paths := getattr(self, "paths", None), tuple):
            found["paths"] = tuple(map(beside, paths))
        return self.model_copy(update=found)

    def wishes(self) -> dict[str, Any]:
        """What decides which documents come out, as plain values."""
        asked = {k: v for k, v in self.model_dump(mode="json").items() if k not in self.MANNERS}
        if "paths" in asked:  # the same words mean other files in another folder
            asked["paths"] = [str(Path(path).expanduser().absolute()) for path in asked["paths"]]
        if "path" in asked and Path(asked["path"]).exists():
            asked["path"] = str(Path(asked["path"]).absolute())
        return asked


class NetworkSettings(CollectorSettings):
    """How hosts are asked."""

    MANNERS: ClassVar[frozenset[str]] = frozenset(
        {"contact", "interval_s", "timeout_s", "attempts", "backoff_s", "longest_wait_s"}
        | {"largest_mb", "key_env", "limit"}
    )

    contact: str = Field(
        "", description="Your e-mail or page, told to hosts in the User-Agent; they ask for it."
    )
    interval_s: float = Field(1.0, ge=0, description="Seconds between two calls of one host.")
    timeout_s: float = Field(30.0, gt=0, description="Seconds without a byte before a new attempt.")
    attempts: int = Field(5, ge=1, description="Attempts at one page before giving up.")
    backoff_s: float = Field(
        2.0, ge=0, description="Wait before the second attempt, doubled for each one after it."
    )
    longest_wait_s: float = Field(
        300.0, ge=0, description="Where a host asks for a longer wait, stop and say so (seconds)."
    )
    largest_mb: float = Field(50.0, gt=0, description="Refuse answers over so many megabytes.")


class StackExchangeSettings(NetworkSettings):
    """Questions with their accepted or best answer, from any Stack Exchange site (API 2.3)."""

    kind: Literal["stack_exchange"] = Field("stack_exchange", description="Which collector.")
    base_url: str = Field("https://api.stackexchange.com/2.3", description="The API, with version.")
    site: str = Field("stats", description="Name of the site in the API: stats, stackoverflow, ...")
    tags: Words = Field(
        (),
        description='Questions that bear one of these tags, of each in turn; "a;b" asks for both '
        "at once.",
    )
    answers: Literal["accepted_or_best", "accepted"] = Field(
        "accepted_or_best", description="Which answer: the accepted one, else the best; or never."
    )
    min_score: int = Field(1, description="Least score of a question.")
    min_answer_score: int = Field(1, description="Least score of an answer; accepted ones too.")
    sort: Literal["votes", "creation"] = Field(
        "votes", description="Best questions first, or oldest first (stable while paging)."
    )
    since: date | None = Field(None, description="Questions asked on this day or later.")
    until: date | None = Field(None, description="Questions asked before this day.")
    page_size: int = Field(100, ge=1, le=100, description="Questions of a page.")
    key_env: str = Field(
        "STACKEXCHANGE_KEY",
        description="Environment variable with your API key; without one 300 calls a day.",
    )


class ArxivSettings(NetworkSettings):
    """Abstracts and metadata of arXiv papers; the text of their PDFs on request."""

    kind: Literal["arxiv"] = Field("arxiv", description="Which collector.")
    base_url: str = Field("https://export.arxiv.org", description="Host of the API and the PDFs.")
    categories: Words = Field((), description="One of these: stat.ME, cs.LG, ...")
    terms: Words = Field((), description="One of these words or phrases, in any field.")
    sort: Literal["submitted", "updated", "relevance", "oldest"] = Field(
        "submitted",
        description="Newest first, by the day of submission or of the last version; most relevant "
        "first; or oldest first.",
    )
    pdf: bool = Field(False, description="Fetch each paper's PDF, too, and take its text.")
    page_size: int = Field(100, ge=1, le=2000, description="Papers of a page.")
    interval_s: float = Field(3.0, ge=0, description="Seconds between calls; arXiv asks for three.")

    @field_validator("categories")
    @classmethod
    def _categories(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not name or any(sign in name for sign in ' :"()'):
                raise ValueError(f"{name!r} is no arXiv category; they look like stat.ME")
        return value

    @model_validator(mode="after")
    def _some_question(self) -> ArxivSettings:
        if not any(word.strip(' "') for word in (*self.categories, *self.terms)):
            raise ValueError("neither categories nor terms, for instance categories: [stat.ME]")
        return self


class GraphvizSettings(NetworkSettings):
    """Pages of a Graphviz documentation site: descriptions with their DOT."""

    kind: Literal["graphviz"] = Field("graphviz", description="Which collector.")
    base_url: str = Field("https://graphviz.org", description="The site; links off it are left.")
    start: Words = Field(
        ("/gallery/", "/docs/attrs/"), min_length=1, description="Pages to begin at."
    )
    follow: Words = Field(
        ("/gallery/", "/docs/"), description="Follow links under these paths (any case)."
    )
    pages: int = Field(1000, ge=1, description="Visit at most so many pages.")
    licence: str = Field("EPL-2.0", description="Licence of the site, for the record.")


class MachinesSettings(CollectorSettings):
    """State machines in code and their DOT: .smcat, and machines of Python's `transitions`."""

    kind: Literal["machines"] = Field("machines", description="Which collector.")
    WATCHED: ClassVar[bool] = True
    MANNERS: ClassVar[frozenset[str]] = frozenset({"smcat", "timeout_s", "limit"})
    paths: Words = Field(
        min_length=1, description="Files, folders or patterns: .smcat, .py, .json, .yaml."
    )
    smcat: str = Field(
        "", description="The smcat program; default: node_modules/.bin here, else on the PATH."
    )
    timeout_s: float = Field(30.0, gt=0, description="Seconds that smcat may take for a file.")
    show_conditions: bool = Field(False, description="Write guards into the edges' labels.")
    licence: str = Field("", description="Licence of these files, for the record.")
    author: str = Field("", description="Whom to credit.")
    url: str = Field("", description="Where the files are from; each file's path is added.")


class FilesSettings(CollectorSettings):
    """Passages of Markdown, HTML, PDF and plain text files."""

    kind: Literal["files"] = Field("files", description="Which collector.")
    WATCHED: ClassVar[bool] = True
    paths: Words = Field(
        min_length=1, description="Files, folders or patterns: .md, .html, .pdf, .txt, .rst."
    )
    longest: int = Field(4000, ge=200, description="Characters of a passage, at most.")
    shortest: int = Field(
        200, ge=0, description="A shorter passage is joined to its neighbour in the file."
    )
    licence: str = Field("", description="Licence of these files, for the record.")
    author: str = Field("", description="Whom to credit.")
    url: str = Field("", description="Where the files are from; each file's path is added.")


HUB_FIELDS = ("text", "answer", "title", "url", "author", "date", "licence", "id")


class HubSettings(CollectorSettings):
    """Rows of a Hugging Face data set (or of a local file) as documents."""

    kind: Literal["hub"] = Field("hub", description="Which collector.")
    SNAPSHOT: ClassVar[bool] = True
    MANNERS: ClassVar[frozenset[str]] = frozenset({"batch", "limit"})
    path: str = Field(description="owner/name, owner/name:configuration, or a local file.")
    split: str | None = Field(None, description="Split of the data set.")
    revision: str | None = Field(None, description="Commit or tag; default: what is newest.")
    fields: dict[str, str] = Field(
        description=f"Column for each of {', '.join(HUB_FIELDS)}; text is needed. "
        "Any other name is kept in meta."
    )
    licence: str = Field("", description="Licence of the data set, where no column says it.")
    author: str = Field("", description="Whom to credit, where no column says it.")
    batch: int = Field(1000, ge=1, description="Rows written at a time.")

    @field_validator("fields")
    @classmethod
    def _text(cls, value: dict[str, str]) -> dict[str, str]:
        if "text" not in value:
            raise ValueError("names no column for text, for instance {text: question}")
        return value


AnyCollector = Annotated[
    StackExchangeSettings
    | ArxivSettings
    | GraphvizSettings
    | MachinesSettings
    | FilesSettings
    | HubSettings,
    Field(discriminator="kind"),
]
_ADAPTER: TypeAdapter[Any] = TypeAdapter(AnyCollector)
MODELS: Mapping[str, type[CollectorSettings]] = {
    model.model_fields["kind"].default: model for model in get_args(get_args(AnyCollector)[0])
}
KINDS = tuple(MODELS)


def collector_settings(values: Mapping[str, Any], where: str) -> CollectorSettings:
    """The settings that these values make; ConfigError naming `where` and the key that is wrong."""
    try:
        found: CollectorSettings = _ADAPTER.validate_python(dict(values))
    except ValidationError as error:
        raise _complaint(error, values, where) from error
    return found


def _complaint(error: ValidationError, values: Mapping[str, Any], where: str) -> ConfigError:
    errors = error.errors(include_url=False)
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    key = ".".join(str(part) for part in first["loc"][1:])
    if not first["loc"] or first["type"].startswith("union_tag"):
        return ConfigError(
            f"{where}: {values.get('kind')!r} is no kind of collector",
            hint=f"kind is one of {', '.join(KINDS)}",
        )
    fields = MODELS[str(values["kind"])].model_fields
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, fields, n=1, cutoff=0.55)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(sorted(fields))}"
        return ConfigError(f"{where}: unknown key {key}", hint=hint)
    described = fields[key.partition(".")[0]].description if key.partition(".")[0] in fields else ""
    if first["type"] == "missing":
        return ConfigError(f"{where}: {key} is missing", hint=described or "")
    message = first["msg"].removeprefix("Value error, ")
    if not key:
        return ConfigError(
            f"{where}: {message}", hint=f"See `tunesmith data collect {values['kind']} --settings`."
        )
    given = first.get("input")
    shown = f" (got {given!r})" if isinstance(given, (str, int, float, bool)) else ""
    return ConfigError(f"{where}: {key}: {message}{shown}", hint=described or "")
