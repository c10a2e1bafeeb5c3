"""Tables that keep all columns on a phone: there, each row becomes a card with labelled cells."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple


class TableColumn(NamedTuple):
    """label: in the header and, on a phone, in each cell. name: CSS classes of its cells."""

    label: str
    name: str = ""


def render_table(
    columns: Sequence[TableColumn], rows: Iterable[Sequence[str]], empty: str, caption: str = ""
) -> str:
    """rows: cells as HTML. empty: HTML shown if there are no rows.

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
