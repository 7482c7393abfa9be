"""Heat maps and line charts as inline SVG: figures in, markup out.

Colours are the page's own (style.css), so that light, dark and paper need no other drawing. A map
is one path for each shade, so that hundreds of rows stay small; its label says in words what it
shows, its lowest and its highest figure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal, TypeVar

from tunesmith.report import figures

T = TypeVar("T")
Scale = Literal["linear", "log", "ratio"]
Place = tuple[str, int]  # row and column of a map

WIDTH, LEFT, RIGHT = 480, 104, 16  # of a drawing, in its own units: about pixels
LINE, TALL = 16, 180  # of a line of text, and of a chart without its words
SHADES = 12
MOST_COLUMNS = 60  # of a map; more are left out evenly
MOST_DOTS = 40
TICKS = 5


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure: its title, what its colours or axes are, and the SVG."""

    title: str
    unit: str
    svg: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a chart: its name ("" where it is the only one) and its points, x rising."""

    name: str
    points: tuple[tuple[float, float], ...]


def heat_map(title: str, unit: str, values: Mapping[Place, float], scale: Scale) -> Drawing | None:
    """Rows by columns; None where there is no number at all.

    Rows are ordered by `blocks`, columns by number. A place that is not in `values`, or NaN, stays
    blank; what is infinite has the last shade. A "ratio" has another hue below 1 than above it.
    """
    known = {place: value for place, value in values.items() if not math.isnan(value)}
    if not known:
        return None
    columns = thinned(sorted({column for _, column in values}), MOST_COLUMNS)
    kinds = blocks(row for row, _ in values)
    high = max(min(14, 400 / sum(map(len, kinds.values()))), 13 / min(map(len, kinds.values())))
    wide = (WIDTH - LEFT - RIGHT) / len(columns)
    shade = _shading(known.values(), scale)
    words, shades, y = [], dict[int, list[str]](), 4.0
    for kind, rows in kinds.items():
        words.append(_text(LEFT - 8, y + high * len(rows) / 2 + 4, kind, "end"))
        for row in rows:
            for i, column in enumerate(columns):
                if (row, column) in known:
                    cell = _cell(LEFT + i * wide, y, wide, high)
                    shades.setdefault(shade(known[row, column]), []).append(cell)
            y += high
        y += 3
    words.append(_text(LEFT - 24, y + 12, "step", "end"))
    for i in thinned(range(len(columns)), TICKS):
        middle = LEFT + (i + 0.5) * wide
        words.append(_text(middle, y + 12, figures.integer(columns[i]), "middle"))
    sized = {place: value for place, value in known.items() if math.isfinite(value)} or known
    least, most = min(sized, key=lambda p: sized[p]), max(sized, key=lambda p: sized[p])
    words += _legend(y + 24, sized[least], sized[most], scale)
    told = " to ".join(f"{short(sized[p])} ({p[0]}, step {p[1]})" for p in (least, most))
    if endless := len(known) - len(sized):
        words.append(_text(LEFT + 280, y + 33, f"{endless} infinite"))
        told += f"; infinite in {endless} places"
    cells = [_shade(level, "".join(shades[level])) for level in sorted(shades)]
    return Drawing(
        title, unit, _svg(y + 40, f"{title} by layer and step: {told}", [*cells, *words])
    )


def blocks(rows: Iterable[str]) -> dict[str, list[str]]:
    """Rows whose names differ in numbers alone together, in the order of these; by a short name."""
    kinds: dict[str, list[str]] = {}
    for row in dict.fromkeys(rows):
        kinds.setdefault(re.sub(r"\d+", "*", row), []).append(row)
    for found in kinds.values():
        found.sort(key=lambda row: [int(number) for number in re.findall(r"\d+", row)])
    ends = [kind.rpartition(".")[2] for kind in kinds]
    return {
        end if ends.count(end) == 1 else ".".join(kind.split(".")[-2:]): found
        for end, (kind, found) in zip(ends, kinds.items(), strict=True)
    }


def line_chart(
    title: str, unit: str, lines: Sequence[Line], *, axis: str, log: bool = False
) -> Drawing | None:
    """Lines over a common x, called `axis`; from 0 up, or by decades. None where there is no point.

    Points that are not finite are left out, in a chart by decades those not above 0 too.
    """
    drawn = [
        Line(line.name, kept)
        for line in lines
        if (kept := tuple(p for p in line.points if math.isfinite(_log(p[1]) if log else p[1])))
    ]
    points = [point for line in drawn for point in line.points]
    if not points:
        return None
    heights = [_log(y) if log else y for _, y in points]
    low = math.floor(min(heights)) if log else 0.0
    top = max(math.ceil(max(heights)), low + 1) if log else (max(heights) * 1.05 or 1.0)
    x0, x1 = min(x for x, _ in points), max(x for x, _ in points)
    head = LINE * sum(1 for line in drawn if line.name) + 6

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x0) / ((x1 - x0) or 1)
        up = ((_log(y) if log else y) - low) / (top - low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), head + TALL * (1 - up)

    parts = [_text(LEFT - 24, head + TALL + LINE, axis, "end")]
    ticks = [10.0**n for n in range(int(low), int(top) + 1)] if log else _round_ticks(top)
    for tick in thinned(ticks, TICKS):
        y = place(x0, tick)[1]
        parts.append(f'<path class="rule" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT - 8, y + 4, short(tick), "end"))
    for x in thinned(sorted({x for x, _ in points}), TICKS):
        at = place(x, top if not log else 10.0**top)[0]
        parts.append(_text(at, head + TALL + LINE, figures.integer(int(x)), "middle"))
    for number, line in enumerate(drawn):
        parts += _drawn(number, line, [place(*point) for point in line.points])
    told = "; ".join(
        f"{line.name}{': ' if line.name else ''}{short(line.points[0][1])} at {axis} "
        f"{line.points[0][0]:g}, {short(line.points[-1][1])} at {line.points[-1][0]:g}"
        for line in drawn
    )
    return Drawing(title, unit, _svg(head + TALL + 22, f"{title}, {unit}: {told}", parts))


def _drawn(number: int, line: Line, at: Sequence[tuple[float, float]]) -> list[str]:
    """A line with its dots and its name above the chart."""
    colour = f'style="--hue:var(--series-{number % 5})"'
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in at)
    parts = [f'<path class="line" {colour} d="M{path}"/>']
    for x, y in at if len(at) <= MOST_DOTS else ():
        parts.append(f'<circle {colour} cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>')
    if line.name:
        y = LINE * number + 10
        parts.append(f'<path class="line" {colour} d="M4 {y - 4}h18"/>')
        parts.append(_text(28, y, line.name, "start"))
    return parts


def thinned(items: Sequence[T], most: int) -> list[T]:
    """At most `most` of the items, evenly, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def short(value: float) -> str:
    """Three digits of a number of any size."""
    if math.isfinite(value) and value and not 1e-3 <= abs(value) < 1e4:
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}".replace("-", figures.MINUS)
    whole = not math.isfinite(value) or value == round(value)
    digits = 0 if whole else max(0, 2 - math.floor(math.log10(abs(value))))
    text = figures.number(value, digits)
    return text.rstrip("0").rstrip(".") if digits else text


def _log(value: float) -> float:
    if value > 0:
        return math.log10(value)
    return math.nan if math.isnan(value) else -math.inf


def _shading(values: Iterable[float], scale: Scale) -> Callable[[float], int]:
    """The shade of a value: 0 to SHADES from the least to the largest; of a ratio -SHADES to
    SHADES, 0 at 1."""
    turn = float if scale == "linear" else _log
    finite = [found for value in values if math.isfinite(found := turn(value))]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    if scale == "ratio":
        low, high = 0.0, max(abs(low), abs(high))
    least = -1.0 if scale == "ratio" else 0.0
    return lambda value: round(
        SHADES * min(1.0, max(least, (turn(value) - low) / (high - low or 1)))
    )


def _shade(level: int, path: str) -> str:
    kind, heat = "low" if level < 0 else "high", 6 + round(94 * abs(level) / SHADES)
    return f'<path class="{kind}" style="--heat:{heat}%" d="{path}"/>'


def _cell(x: float, y: float, wide: float, high: float) -> str:
    return f"M{x:.1f} {y:.1f}h{wide:.1f}v{high:.1f}h-{wide:.1f}z"


def _legend(y: float, least: float, most: float, scale: Scale) -> list[str]:
    """Every shade, between the figures that have the first and the last."""
    levels = range(-SHADES if scale == "ratio" else 0, SHADES + 1)
    if scale == "ratio":
        far = [abs(_log(value)) for value in (least, most) if math.isfinite(_log(value))]
        most = 10 ** max(far, default=0.0)
        least = 1 / most
    start, wide = LEFT + 60, 160 / len(levels)
    shades = [_shade(n, _cell(start + i * wide, y, wide, 10)) for i, n in enumerate(levels)]
    ends = (_text(start - 6, y + 9, short(least), "end"), _text(start + 166, y + 9, short(most)))
    return [*shades, *ends]


def _round_ticks(top: float) -> list[float]:
    """From 0 to the last round number that is not above `top`."""
    unit = 10.0 ** math.floor(math.log10(top))
    step = next(unit * m for m in (0.2, 0.5, 1.0, 2.0) if top / (unit * m) < TICKS)
    return [step * i for i in range(int(top / step) + 1)]


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _svg(high: float, label: str, parts: Iterable[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {high:.0f}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
