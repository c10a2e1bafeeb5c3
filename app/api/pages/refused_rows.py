"""The latest refusals, as a table."""

from collections.abc import Sequence
from html import escape

from app.api.pages.tables import TableColumn, render_table
from app.api.pages.words import utc_time
from app.commit.recent_refusals import RecentRefusal

NOTHING = "Nothing has been refused since the service was started."


def refused_table(refused: Sequence[RecentRefusal], empty: str = NOTHING) -> str:
    columns = (
        TableColumn("Time (UTC)", "time"),
        TableColumn("Workspace", "number"),
        TableColumn("Kind"),
        TableColumn("Row", "number"),
        TableColumn("Why", "path"),
        TableColumn("Beginning of the row", "path"),
    )
    return render_table(columns, map(_cells, refused), escape(empty), "Latest refusals")


def _cells(each: RecentRefusal) -> Sequence[str]:
    field = f"<b>{escape(each.field)}</b>: " if each.field else ""
    return (
        utc_time(each.at_ms),
        str(each.workspace_id),
        escape(each.kind or "any"),
        str(each.row) if each.row else "all",
        f'{field}{escape(each.message)} <span class="soft small">{escape(each.reason)}</span>',
        f"<code>{escape(each.text)}</code>" if each.text else '<span class="soft">not shown</span>',
    )
