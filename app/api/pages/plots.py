"""Plots as SVG that the server draws: they need no script, and use the page's colours."""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Final

WIDTH: Final = 480
HEIGHT: Final = 130
TOP: Final = 16
BOTTOM: Final = 18

BAR_CHARACTERS: Final = 40

Words = Callable[[float], str]


def line_plot(points: Sequence[tuple[float, float]], ends: tuple[str, str], words: Words, label: str) -> str:
    """points: rising in x. ends: the labels below the first and the last. words: formats a value."""
    if not points:
        return f'<p class="soft small">{escape(label)}: nothing yet.</p>'
    first, last = points[0][0], points[-1][0]
    most = nice_limit(max(value for _, value in points))
    low = min(0.0, min(value for _, value in points))
    span, height = (last - first) or 1.0, HEIGHT - TOP - BOTTOM
    places = [
        (
            (x - first) / span * WIDTH if len(points) > 1 else WIDTH,
            TOP + height * (1 - (value - low) / ((most - low) or 1.0)),
        )
        for x, value in points
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    floor = HEIGHT - BOTTOM
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}; at the end '
        f'{escape(words(points[-1][1]))}, at most {escape(words(max(value for _, value in points)))}">'
        f'<line class="axis" x1="0" y1="{TOP}" x2="{WIDTH}" y2="{TOP}"/>'
        f'<line class="axis" x1="0" y1="{floor}" x2="{WIDTH}" y2="{floor}"/>'
        f'<polygon class="area" points="{places[0][0]:.1f},{floor} {line} {places[-1][0]:.1f},{floor}"/>'
        f'<polyline class="line" points="{line}"/>'
        f'<text x="0" y="12">{escape(words(most))}</text>'
        f'<text x="0" y="{HEIGHT - 4}">{escape(ends[0])}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 4}" text-anchor="end">{escape(ends[1])}</text></svg>'
    )


def bar_chart(bars: Sequence[tuple[str, float]], words: Words, label: str) -> str:
    """One bar per line: its name, the bar, its value."""
    most = max((abs(value) for _, value in bars), default=0.0) or 1.0
    lines = "".join(
        f'<span title="{escape(name)}">{escape(_cut(name))}</span>'
        f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="bar" width="{max(abs(value) / most * 100, 0.3):.1f}" height="10"/></svg>'
        f'<span class="number">{escape(words(value))}</span>'
        for name, value in bars
    )
    return f'<div class="bars" role="group" aria-label="{escape(label)}">{lines}</div>'


def nice_limit(most: float) -> float:
    """The next of 1, 2, 5, 10, 20, … that is not below it."""
    if most <= 0 or not math.isfinite(most):
        return 1.0
    unit = 10.0 ** math.floor(math.log10(most))
    return next(step * unit for step in (1, 2, 5, 10) if step * unit >= most * 0.999999)


def _cut(name: str) -> str:
    return name if len(name) <= BAR_CHARACTERS else name[: BAR_CHARACTERS - 1] + "…"
