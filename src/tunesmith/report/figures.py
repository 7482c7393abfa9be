"""Figures as a person reads them: shares in percent, differences in points, sizes, durations."""

from __future__ import annotations

import math

MINUS = "−"
THIN = "\u202f"


def number(value: float, digits: int = 3) -> str:
    """A plain decimal; a dash where there is no number."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    text = f"{value:.{digits}f}"
    return text.replace("-", MINUS) if float(text) else text.lstrip("-")


def signed(value: float, digits: int = 3) -> str:
    """A decimal that carries its sign; zero has none."""
    text = number(value, digits)
    return f"+{text}" if value > 0 and text.strip("0.") else text


def score(value: float, share: bool) -> str:
    """A score: a share of right answers as percent, anything else as a decimal."""
    return number(value) if not share or math.isnan(value) else f"{number(100 * value, 1)}%"


def difference(value: float, share: bool) -> str:
    """A difference of two scores: of shares in percentage points, of others as a decimal."""
    return f"{signed(100 * value, 1)} points" if share else signed(value)


def interval(low: float, high: float, share: bool) -> str:
    """An interval of a score; of a share, with one percent sign for both ends."""
    return f"{score(low, share).removesuffix('%')} to {score(high, share)}"


def difference_interval(low: float, high: float, share: bool) -> str:
    """An interval of a difference."""
    if share:
        return f"{signed(100 * low, 1)} to {signed(100 * high, 1)}"
    return f"{signed(low)} to {signed(high)}"


def probability(p: float) -> str:
    """A p value, as journals print it."""
    if math.isnan(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds: float | None) -> str:
    """Seconds as the largest two units that matter."""
    if seconds is None or math.isnan(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.1f}{THIN}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{THIN}s"
    if whole < 3600:
        return f"{whole // 60}{THIN}min {whole % 60}{THIN}s"
    return f"{whole // 3600}{THIN}h {whole % 3600 // 60}{THIN}min"


def size(count: float) -> str:
    """Bytes in decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f}{THIN}{unit}" if unit == "B" else f"{count:.3g}{THIN}{unit}"
        count /= 1000
    return f"{count:.3g}{THIN}TB"


def integer(value: int) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,}"
