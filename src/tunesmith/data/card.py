"""The card of a data set, from its facts: Markdown with the hub's YAML in front.

The front matter is that of dataset cards on the Hugging Face hub, so that the folder of a version
can be pushed as it is, or loaded by `datasets`. It says what was counted and nothing else.
Source: https://huggingface.co/docs/hub/datasets-cards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunesmith.data.attribution import FILE, asks_credit
from tunesmith.data.freeze import PARTS
from tunesmith.data.versions import DEFAULT, counts, origins, source_folders
from tunesmith.records import Example, Quality, Splits

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
NO_LICENCE = "not stated"
HUB_LICENCES = {
    "mit", "apache-2.0", "cc0-1.0", "cc-by-4.0", "cc-by-3.0", "cc-by-2.0", "cc-by-sa-4.0",
    "cc-by-sa-3.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "odc-by", "odbl", "pddl",
    "bsd-3-clause", "bsd-2-clause", "gpl-3.0", "gpl-2.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0",
    "epl-2.0", "epl-1.0", "isc", "unlicense", "wtfpl",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card is made from. `origins` says human or generated of a source, `repeat` is how the
    set is made again, as name and value; `mix` what mixing took of each source."""

    name: str
    description: str
    id: str
    task: str
    seed: int
    splits: Splits
    quality: Quality
    rejected: Mapping[str, int] = field(default_factory=dict)
    licences: Mapping[str, str] = field(default_factory=dict)  # as the recipe says it of a source
    origins: Mapping[str, str] = field(default_factory=dict)
    mix: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    repeat: tuple[tuple[str, str], ...] = ()


def card(facts: CardFacts) -> str:
    """The whole card."""
    parts = (_front(facts), _opening(facts), _sources(facts), _quality(facts), _repeat(facts))
    return "\n".join(part.rstrip("\n") + "\n" for part in parts if part)


def licences(facts: CardFacts) -> dict[str, int]:
    """Rows under each licence: the row's own, else what the recipe says of its source."""
    found: Counter[str] = Counter()
    for by_licence in _licences(facts).values():
        found.update(by_licence)
    return dict(found.most_common())


def _licences(facts: CardFacts) -> dict[str, Counter[str]]:
    """The same, source by source."""
    found: dict[str, Counter[str]] = {}
    for example in (e for part in PARTS for e in getattr(facts.splits, part)):
        source = example.meta.get("source", "")
        licence = example.meta.get("licence") or facts.licences.get(source) or NO_LICENCE
        found.setdefault(source, Counter())[licence] += 1
    return found


def _front(facts: CardFacts) -> str:
    import yaml

    total = sum(facts.splits.sizes().values())
    held = [part for part in PARTS if getattr(facts.splits, part)]
    said = {name.lower() for name in licences(facts)}
    known = sorted(said & HUB_LICENCES)
    by_source = counts(facts.splits)
    folders = source_folders(by_source)
    front: dict[str, Any] = {
        "pretty_name": facts.name,
        "license": known[0] if said == set(known) and len(known) == 1 else "other",
        "task_categories": ["text-generation"],
        "size_categories": [next((name for top, name in SIZES if total < top), "n>1M")],
        "tags": ["tunesmith", facts.task],
        "configs": [
            {
                "config_name": DEFAULT,
                "default": True,
                "data_files": [{"split": part, "path": f"{part}.jsonl"} for part in held],
            },
            *(
                {
                    "config_name": folders[name],
                    "data_files": [
                        {"split": part, "path": f"sources/{folders[name]}/{part}.jsonl"}
                        for part, count in by_part.items()
                        if count
                    ],
                }
                for name, by_part in by_source.items()
            ),
        ],
    }
    if front["license"] == "other":
        front["license_name"] = "see-card"
    text = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    return f"---\n{text}---\n"


def _opening(facts: CardFacts) -> str:
    sizes = facts.splits.sizes()
    made = origins(facts.splits, facts.origins)
    total = sum(sizes.values())
    lines = [f"# {facts.name}", ""]
    lines += [facts.description, ""] if facts.description else []
    lines += [
        f"{total:,} supervised examples for the task `{facts.task}`: "
        + ", ".join(f"{count:,} {part}" for part, count in sizes.items())
        + f". Version `{facts.id[:12]}`.",
        "",
        *_table(
            ("who wrote the answers", "examples", "share"),
            [
                (name, f"{made[name]:,}", f"{made[name] / total:.1%}")
                for name in ("human", "generated", "unknown")
                if made.get(name)
            ],
        ),
        "",
        *_table(("licence", "examples"), [(n, f"{c:,}") for n, c in licences(facts).items()]),
    ]
    credited = [e for part in PARTS for e in getattr(facts.splits, part) if _asks(e)]
    if credited:
        silent = sum(not e.meta.get("author") for e in credited)
        lines += [
            "",
            f"[{FILE}]({FILE}) says whom to credit for {len(credited):,} of them, with links and "
            "what was changed"
            + (f"; of {silent:,} the author is not stated." if silent else ".")
            + " Pass it on with the examples.",
        ]
    return "\n".join(lines)


def _asks(example: Example) -> bool:
    return asks_credit(example.meta.get("licence", ""))


def _sources(facts: CardFacts) -> str:
    rows = []
    said, by_source = _licences(facts), counts(facts.splits)
    folders = source_folders(by_source)
    for name, by_part in by_source.items():
        mixed = facts.mix.get(name, {})
        wish = [f"weight {mixed['weight']:g}"] if mixed.get("weight") else []
        wish += [f"cap {mixed['cap']:,}"] if mixed.get("cap") else []
        left = f"{mixed['taken']:,} of {mixed['available']:,}" if mixed else ""
        rows.append(
            (
                name if folders[name] == name else f"{name} (`{folders[name]}`)",
                *(f"{by_part[part]:,}" for part in PARTS),
                _counted(said[name]),
                facts.origins.get(name, "unknown"),
                ", ".join([*wish, *([left] if left else [])]),
            )
        )
    heads = ("source", *PARTS, "licence", "answers by", "mix")
    labels = Counter(
        e.label for part in PARTS for e in getattr(facts.splits, part) if e.label is not None
    )
    lines = ["## Sources", "", *_table(heads, rows)]
    if labels:
        lines += ["", "## Labels", ""]
        lines += _table(("label", "examples"), [(n, f"{c:,}") for n, c in labels.most_common()])
    return "\n".join(lines)


def _counted(licences: Counter[str]) -> str:
    """The licences of a source, with their rows where there are several."""
    if len(licences) == 1:
        return next(iter(licences))
    return ", ".join(f"{name} ({count:,})" for name, count in licences.most_common())


def _quality(facts: CardFacts) -> str:
    quality = facts.quality
    lines = [
        "## Quality",
        "",
        f"Of {quality.rows:,} rows read, {quality.usable:,} were usable and {quality.rejected:,} "
        f"were set aside. {quality.duplicate_prompts:,} rows repeat an earlier prompt, "
        f"{quality.contradicting_prompts:,} prompts have answers that contradict one another.",
        "",
    ]
    if facts.rejected:
        lines += _table(("set aside because", "rows"), [(n, f"{c:,}") for n, c in _most(facts)])
        lines.append("")
    if quality.findings:
        lines += _table(
            ("finding", "severity", "count", "what to do"),
            [(f.message, f.severity.value, f"{f.count:,}", f.action) for f in quality.findings],
        )
    return "\n".join(lines)


def _most(facts: CardFacts) -> list[tuple[str, int]]:
    return sorted(facts.rejected.items(), key=lambda item: -item[1])


def _repeat(facts: CardFacts) -> str:
    rows = [("version", facts.id), ("seed", str(facts.seed)), *facts.repeat]
    return "\n".join(["## How to repeat", "", *_table(("what", "value"), rows)])


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [_line(heads), _line(("---",) * len(heads))]
    return [*lines, *(_line(row) for row in rows)]


def _line(cells: tuple[str, ...]) -> str:
    """A row of a Markdown table; what came from data cannot end a cell or begin a tag."""
    clean = (" ".join(c.split()).replace("|", "\\|").replace("<", "&lt;") for c in cells)
    return f"| {' | '.join(clean)} |"
