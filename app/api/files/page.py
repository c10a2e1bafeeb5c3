"""The published files as a page: workspaces, the days of a workspace, files."""

from collections.abc import Sequence
from html import escape
from typing import Final
from urllib.parse import quote, urlencode

import msgspec

from app.api.files.folders import Folder
from app.api.files.listing import FileFilter, FilePage
from app.api.pages.shell import Viewer, render_page
from app.api.pages.tables import TableColumn, render_table
from app.api.pages.words import counted, human_size, plain_time, utc_time
from app.kinds import Kind
from app.parquet.data_file import DataFile
from app.parquet.partition import first_day

FOLDERS_SHOWN_MAX: Final = 200

VIEW: Final = b"view"
"""The query parameter that requests a page about a file instead of the file."""

NUMBER: Final = "number"
TIME: Final = "time"

NO_FILE: Final = (
    "No published file matches. Accepted rows are buffered first: “Write now” publishes them, and so does "
    "<code>POST /flush</code>."
)


class Shown(msgspec.Struct, frozen=True):
    """A page of files and its request. flushed_rows: of a preceding flush, from the URL."""

    page: FilePage
    wanted: FileFilter
    limit: int
    is_first: bool = True
    flushed_rows: str = ""


def render_files_page(shown: Shown, folders: Sequence[Folder], viewer: Viewer) -> str:
    """folders: the folders that can be opened next, empty if there are only files."""
    wanted, page = shown.wanted, shown.page
    return render_page(
        "Published files",
        f"""{_crumbs(wanted, viewer)}
<h1>Published files</h1>
<p class="soft">{_summary(page)}</p>
{_flushed(shown.flushed_rows)}
{_form(wanted, shown.limit, viewer)}
{_flush(wanted)}
{_folders(folders, wanted) if shown.is_first else ""}
<h2>Files</h2>
{_files(page)}
{_next_page(shown)}""",
        viewer,
        "/files",
    )


def files_url(workspace_id: int | None = None, date: str | None = None) -> str:
    """date: a day; a month is found by any of its days."""
    query = {"workspace_id": workspace_id, "date": first_day(date) if date else None}
    text = urlencode({name: value for name, value in query.items() if value is not None})
    return escape(f"/files?{text}" if text else "/files")


def view_url(file: DataFile) -> str:
    return f"/files/{escape(quote(file.path))}?view=1"


def _crumbs(wanted: FileFilter, viewer: Viewer) -> str:
    parts = ["Files"] if viewer.workspace_id is not None else ['<a href="/files">All workspaces</a>']
    if wanted.workspace_id is not None:
        parts.append(f'<a href="{files_url(wanted.workspace_id)}">Workspace {wanted.workspace_id}</a>')
    if wanted.date is not None:
        parts.append(escape(wanted.date))
    return f'<p class="crumbs">{" / ".join(parts)}</p>'


def _summary(page: FilePage) -> str:
    if not page.files:
        return "Newest first."
    rows = sum(file.rows for file in page.files)
    size = human_size(sum(file.bytes for file in page.files))
    return f"{counted(len(page.files), 'file')} on this page, newest first: {counted(rows, 'row')}, {size}."


def _flushed(rows: str) -> str:
    if not rows.isdecimal() or not rows.isascii() or len(rows) > 18:
        return ""
    return f'<div class="notice" role="status">Written to files: {counted(int(rows), "row")}.</div>'


def _form(wanted: FileFilter, limit: int, viewer: Viewer) -> str:
    workspace_id = "" if wanted.workspace_id is None else str(wanted.workspace_id)
    kinds = "".join(
        f'<option value="{kind.value}"{" selected" if kind == wanted.kind else ""}>{kind.value}</option>'
        for kind in Kind
    )
    workspace = (
        f"""<label>Workspace <input name="workspace_id" inputmode="numeric" pattern="[0-9]*" size="12"
  value="{escape(workspace_id)}"></label>"""
        if viewer.workspace_id is None
        else ""
    )
    return f"""<form class="row" action="/files" method="get">
{workspace}
<label>Date <input name="date" type="date" value="{escape(wanted.date or "")}"></label>
<label>Kind <select name="kind"><option value="">all</option>{kinds}</select></label>
<input type="hidden" name="limit" value="{limit}">
<button>Show</button>
</form>"""


def _flush(wanted: FileFilter) -> str:
    of = "" if wanted.workspace_id is None else f"?workspace_id={wanted.workspace_id}"
    return f"""<form class="row" action="/flush{of}" method="post">
<button>Write now</button> <span class="soft small">writes all rows that are in no file yet to files.</span>
</form>"""


_CONTENT_COLUMNS: Final = (
    TableColumn("Rows", NUMBER),
    TableColumn("Size", NUMBER),
    TableColumn("Rows from", TIME),
    TableColumn("to (UTC)", TIME),
    TableColumn("State"),
    TableColumn("Updated (UTC)", TIME),
)
"""What folders and files have in common."""


def _folders(folders: Sequence[Folder], wanted: FileFilter) -> str:
    if not folders:
        return ""
    is_days = wanted.workspace_id is not None
    columns = (
        TableColumn("Day" if is_days else "Workspace"),
        TableColumn("Files", NUMBER),
        *_CONTENT_COLUMNS,
    )
    table = render_table(columns, map(_folder, folders[:FOLDERS_SHOWN_MAX]), "")
    more = len(folders) - FOLDERS_SHOWN_MAX
    name = "Days" if is_days else "Workspaces"
    behind = (
        (f'<p class="soft small">And {more:,} more: use the fields above to find them.</p>')
        if more > 0
        else ""
    )
    return f"<h2>{name}</h2>\n{table}{behind}"


def _folder(folder: Folder) -> Sequence[str]:
    name = folder.date or str(folder.workspace_id)
    url = files_url(folder.workspace_id, folder.date or None)
    return (
        f'<a href="{url}">{escape(name)}</a>',
        f"{folder.files:,}",
        f"{folder.rows:,}",
        human_size(folder.bytes),
        utc_time(folder.first_ms),
        utc_time(folder.last_ms),
        _state(is_sealed=not folder.growing),
        escape(plain_time(folder.updated_at)),
    )


def _state(*, is_sealed: bool) -> str:
    return '<span class="sealed">complete</span>' if is_sealed else '<span class="open">growing</span>'


def _files(page: FilePage) -> str:
    columns = (
        TableColumn("File", "path"),
        TableColumn("Workspace", NUMBER),
        TableColumn("Kind"),
        *_CONTENT_COLUMNS,
        TableColumn("Get"),
    )
    return render_table(columns, map(_file, page.files), NO_FILE)


def _file(file: DataFile) -> Sequence[str]:
    return (
        f'<a href="{view_url(file)}">{escape(file.path)}</a>',
        str(file.workspace_id),
        escape(file.kind.value),
        f"{file.rows:,}",
        human_size(file.bytes),
        utc_time(file.min_timestamp),
        utc_time(file.max_timestamp),
        _state(is_sealed=file.sealed),
        escape(plain_time(file.changed_at)),
        f'<a href="/files/{escape(quote(file.path))}" aria-label="Download {escape(file.path)}">Download</a>',
    )


def _next_page(shown: Shown) -> str:
    if shown.page.next_cursor is None:
        return ""
    wanted = shown.wanted
    query = {
        "workspace_id": wanted.workspace_id,
        "date": wanted.date,
        "kind": wanted.kind.value if wanted.kind else None,
        "updated_since": wanted.updated_since,
        "limit": shown.limit,
        "cursor": shown.page.next_cursor,
    }
    url = "/files?" + urlencode({name: value for name, value in query.items() if value is not None})
    return f'<nav><a href="{escape(url)}">Next page →</a></nav>'
