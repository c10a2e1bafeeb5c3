"""Chooses a plot for a query result, if one is suitable."""

import datetime
from collections.abc import Sequence
from decimal import Decimal
from html import escape
from itertools import pairwise
from typing import Any, Final

from app.api.pages.cells import plain_text
from app.api.pages.plots import bar_chart, line_plot
from app.api.pages.words import human_count

BARS_MAX: Final = 40
POINTS_MIN: Final = 2


def chart(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """HTML of a plot of the first numeric column over the first column that labels it; else empty.

    A line over times and numbers that rise, bars over words.
    """
    if len(rows) < POINTS_MIN:
        return ""
    kinds = [_kind([row[place] for row in rows]) for place in range(len(names))]
    over = next((place for place, kind in enumerate(kinds) if kind in ("word", "time")), None)
    numbers = [place for place, kind in enumerate(kinds) if kind == "number"]
    if over is None and len(numbers) > 1:
        over = numbers.pop(0)
    if over is None or not numbers:
        return ""
    shown = numbers[0]
    label = f"{names[shown]} by {names[over]}"
    pairs = [
        (row[over], float(row[shown])) for row in rows if row[over] is not None and row[shown] is not None
    ]
    if len(pairs) < POINTS_MIN:
        return ""
    if kinds[over] != "word" and _rises([pair[0] for pair in pairs]):
        points = [(_position(x), y) for x, y in pairs]
        ends = (plain_text(pairs[0][0]), plain_text(pairs[-1][0]))
        return _figure(label, line_plot(points, ends, human_count, label))
    bars = [(plain_text(x), y) for x, y in pairs[:BARS_MAX]]
    more = f", the first {BARS_MAX}" if len(pairs) > BARS_MAX else ""
    return _figure(label + more, bar_chart(bars, human_count, label))


def _figure(label: str, plot: str) -> str:
    return f'<figure class="result"><figcaption>{escape(label)}</figcaption>{plot}</figure>'


def _kind(values: Sequence[Any]) -> str:
    """The type of the values of one column: number, time, word, or other."""
    types = {type(value) for value in values if value is not None}
    if not types:
        return "other"
    if types <= {int, float, Decimal}:
        return "number" if all(float(v) - float(v) == 0 for v in values if v is not None) else "other"
    if types <= {datetime.datetime} or types <= {datetime.date}:
        return "time"
    return "word" if types <= {str, bool} else "other"


def _rises(values: Sequence[Any]) -> bool:
    return all(before < after for before, after in pairwise(values))


def _position(x: Any) -> float:
    if isinstance(x, datetime.datetime):
        return x.timestamp()
    return float(x.toordinal()) if isinstance(x, datetime.date) else float(x)
