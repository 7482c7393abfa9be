"""All detectors over one set: for `data check` with samples where one is costly, else whole.

What was looked at only in part, or not at all, is said by a finding of its own (`not_all_looked`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tunesmith.config.quality import CODES, QualitySettings
from tunesmith.data.near import clusters, prompt_text
from tunesmith.data.quality import (
    answers,
    language,
    licences,
    noise,
    overlap,
    private,
    repeats,
    sizes,
    urls,
)
from tunesmith.data.quality.flags import Flag, Hit
from tunesmith.data.source import RawRow
from tunesmith.records import Example, Finding, Severity

CLUSTERED = 10_000  # rows up to which near-duplicates are searched without being asked for
PERSONAL, LANGUAGE, NOISE = 2_000, 300, 2_000  # rows up to which they look unasked
DEEP_NOISE = 20_000  # rows looked at in any case: more say no more
LONG_ANSWER = 20  # characters below which an answer may stand in its prompt by chance


@dataclass(frozen=True, slots=True)
class Seen:
    """What the detectors saw: flags about rows, and findings about the whole."""

    flags: tuple[Flag, ...]
    findings: tuple[Finding, ...] = ()


def look(
    examples: Sequence[Example],
    keys: Sequence[str],
    settings: QualitySettings,
    *,
    deep: bool,
    tests: Mapping[str, Sequence[str]] | None = None,
    only: Collection[str] = CODES,
    raw: Iterable[RawRow] = (),
) -> Seen:
    """Run the detectors of the codes in `only`; with `deep` each looks at every row.

    `keys`: the prompt key of each example. `tests`: texts of public test sets by name. `raw`: the
    rows as they stand in their files, for secrets in columns that no example holds.
    """
    wanted = frozenset(only)
    partly: list[str] = []
    flags = [f for codes, found in _cheap(examples, settings) if wanted & codes for f in found()]
    if "secrets" in wanted:
        flags += private.keys(examples, raw)
    flags += _costly(examples, keys, settings, wanted, partly, deep=deep)
    findings: list[Finding] = []
    if wanted & {"incompatible_licences", "unknown_licences"}:
        found_licences, findings = licences.licences(examples)
        flags += found_licences
    if tests and "test_overlap" in wanted:
        flags += overlap.against_tests(examples, tests)
    kept = tuple(flag for flag in flags if flag.code in wanted)
    return Seen(kept, (*findings, *_partly(partly, len(examples), deep=deep)))


def _costly(
    examples: Sequence[Example],
    keys: Sequence[str],
    settings: QualitySettings,
    wanted: frozenset[str],
    partly: list[str],
    *,
    deep: bool,
) -> list[Flag]:
    """Detectors that look at a part where nobody asked for more; `partly` is told which did."""
    count = len(examples)
    flags: list[Flag] = []

    def rows(of: str, limit: int) -> Sequence[int]:
        if deep or count <= limit:
            return range(count)
        partly.append(f"{of} in {limit:,} rows")
        return spread(count, limit)

    leaders = _numbered(keys)
    if "near_duplicates" in wanted and not deep and count > CLUSTERED:
        partly.append("near-duplicates not at all")
    elif wanted & {"near_duplicates", "label_noise"} and (deep or count <= CLUSTERED):
        leaders = clusters([prompt_text(e) for e in examples])
        flags += repeats.near(examples, leaders, settings.max_near_duplicates_per_cluster or 1)
    if "personal_data" in wanted:
        looked = rows("personal data", PERSONAL)
        flags += private.people(examples, looked, settings.phone_region)
    if "language_outliers" in wanted:
        flags += language.outliers(examples, rows("language", LANGUAGE), settings.languages)
    if "label_noise" in wanted and any(e.label is not None for e in examples):
        if deep or count <= NOISE:
            flags += noise.noise(examples, spread(count, DEEP_NOISE), leaders)
        if count > (DEEP_NOISE if deep else NOISE):
            partly.append(
                f"label noise in {DEEP_NOISE:,} rows" if deep else "label noise not at all"
            )
    return flags


def spread(count: int, wanted: int) -> Sequence[int]:
    """`wanted` positions of `count`, evenly spaced."""
    return [at * count // wanted for at in range(min(count, wanted))]


def _cheap(
    examples: Sequence[Example], settings: QualitySettings
) -> list[tuple[set[str], Callable[[], list[Flag]]]]:
    """Detectors that look at every row in any case, with the codes that they speak of."""
    low, high = settings.min_characters, settings.max_characters
    return [
        ({"too_short", "too_long"}, lambda: sizes.bounds(examples, low, high)),
        ({"low_score"}, lambda: sizes.low_scores(examples, settings.min_score)),
        ({"length_outliers"}, lambda: sizes.outliers(examples)),
        ({"refusals"}, lambda: answers.refusals(examples)),
        ({"boilerplate"}, lambda: answers.boilerplate(examples)),
        ({"broken_urls"}, lambda: urls.broken(examples)),
    ]


def by_prompt(examples: Sequence[Example], keys: Sequence[str], codes: Collection[str]) -> Seen:
    """Flags for what `check` counts by prompt: it tells them in its own findings."""
    flags: list[Flag] = []
    if "duplicate_prompts" in codes:
        flags += repeats.exact(examples, keys)
    if "contradicting_prompts" in codes:
        flags += repeats.contradicting(examples, keys)
    if "differing_answers" in codes:
        flags += repeats.differing(examples, keys)
    if "answer_in_prompt" in codes:
        copied = tuple(Hit(i) for i, e in enumerate(examples) if holds_answer(e))
        if copied:
            message = "rows hold their whole answer in the prompt"
            flags.append(Flag("answer_in_prompt", Severity.WARNING, message, copied))
    return Seen(tuple(flags))


def holds_answer(example: Example) -> bool:
    """Whether the whole answer, no short one, stands in the prompt."""
    return len(example.target) >= LONG_ANSWER and example.target in prompt_text(example)


def _numbered(keys: Sequence[str]) -> list[int]:
    first: dict[str, int] = {}
    return [first.setdefault(key, row) for row, key in enumerate(keys)]


def _partly(partly: Sequence[str], count: int, *, deep: bool) -> list[Finding]:
    if not partly:
        return []
    more = "" if deep else "Look at every row with --deep (slower)."
    message = f"of {count:,} rows not all were looked at: {'; '.join(partly)}"
    return [Finding("not_all_looked", Severity.WARNING, message, 0, action=more)]
