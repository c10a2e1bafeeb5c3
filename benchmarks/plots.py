"""Line charts as SVG, with nothing but text."""

from collections.abc import Mapping, Sequence
from html import escape
from math import log10
from typing import Final

WIDTH: Final = 640
HEIGHT: Final = 360
LEFT: Final = 80
RIGHT: Final = 150
TOP: Final = 40
BOTTOM: Final = 50
COLOURS: Final = ("#1f6fb4", "#d1495b", "#2e8b57", "#8a5fbf", "#c77d0a")

Series = Mapping[str, Sequence[tuple[float, float]]]


def line_chart(title: str, x_title: str, y_title: str, series: Series) -> str:
    """Points by series name; x on a logarithmic scale, y from 0."""
    points = [point for line in series.values() for point in line]
    low, high = (log10(bound(x for x, _ in points)) for bound in (min, max))
    top = max(y for _, y in points) * 1.1

    def place(x: float, y: float) -> tuple[float, float]:
        across = (log10(x) - low) / ((high - low) or 1)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)

    parts = [_text(WIDTH / 2, 20, title, "middle", 15)]
    for x in sorted({x for x, _ in points}):
        at, floor = place(x, 0)
        parts.append(_line(at, floor, at, TOP, "#ddd"))
        parts.append(_text(at, floor + 18, f"{x:g}", "middle"))
    for step in range(6):
        at, height = place(10**low, top * step / 5)
        parts.append(_line(at, height, WIDTH - RIGHT, height, "#ddd"))
        parts.append(_text(at - 8, height + 4, _short(top * step / 5), "end"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_title, "middle"))
    parts.append(_text(LEFT - 70, TOP - 12, y_title, "start"))
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [place(*point) for point in sorted(line)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        parts.append(_text(WIDTH - RIGHT + 10, TOP + 14 + 18 * number, name, "start", colour=colour))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n{body}\n</svg>\n'
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _text(x: float, y: float, text: str, anchor: str, size: int = 12, colour: str = "#333") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">'
        f"{escape(text)}</text>"
    )


def _short(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:.1f} M"
    return f"{value / 1e3:.0f} k" if value >= 1e3 else f"{value:.3g}"
