"""Tables that lose no column on a phone: there, a line becomes a card whose cells say what they are."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple


class TableColumn(NamedTuple):
    """label: as the head and, on a phone, each cell has it. name: classes of its cells."""

    label: str
    name: str = ""


def render_table(
    columns: Sequence[TableColumn], rows: Iterable[Sequence[str]], empty: str, caption: str = ""
) -> str:
    """rows: cells as HTML. empty: HTML of what is said where there is no row.

    caption: for a screen reader.
    """
    head = "".join(f"<th{_class(column)}>{escape(column.label)}</th>" for column in columns)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td{_class(column)} data-label="{escape(column.label)}">{cell}</td>'
            for column, cell in zip(columns, row, strict=True)
        )
        + "</tr>\n"
        for row in rows
    )
    body = body or f'<tr><td colspan="{len(columns)}" class="empty">{empty}</td></tr>'
    said = f' aria-label="{escape(caption)}"' if caption else ""
    return f'<table class="cards"{said}><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>'


def _class(column: TableColumn) -> str:
    return f' class="{column.name}"' if column.name else ""
