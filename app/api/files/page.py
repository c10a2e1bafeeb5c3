"""The published files as a page for a browser: one document, no scripts, nothing loaded from elsewhere."""

from datetime import UTC, datetime
from html import escape
from typing import Final
from urllib.parse import quote, urlencode

from app.api.files.listing import FileFilter, FilePage
from app.kinds import Kind
from app.parquet.data_file import DataFile

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1d2330; --soft: #5d6675; --line: #dfe3ea; --paper: #fff;
  --band: #f5f7fa; --link: #0b5bd3; --done: #1a7f4b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ef; --soft: #98a2b3; --line: #2e3543;
  --paper: #14181f; --band: #1b212b; --link: #7db1ff; --done: #5fce98; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem clamp(1rem, 4vw, 3rem); background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.35rem; margin: 0 0 .25rem; }
p { color: var(--soft); margin: 0 0 1.25rem; }
form { display: flex; flex-wrap: wrap; gap: .75rem; align-items: end; margin-bottom: 1.25rem; }
label { display: grid; gap: .2rem; font-size: .8rem; color: var(--soft); }
input, select, button { font: inherit; color: var(--ink); background: var(--paper);
  border: 1px solid var(--line); border-radius: 6px; padding: .35rem .6rem; min-height: 2.3rem; }
button { background: var(--band); cursor: pointer; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; white-space: nowrap; }
th { text-align: left; font-weight: 600; font-size: .8rem; color: var(--soft); }
th, td { padding: .45rem .75rem; border-bottom: 1px solid var(--line); }
tbody tr:hover { background: var(--band); }
.number { text-align: right; font-variant-numeric: tabular-nums; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
.sealed { color: var(--done); }
.open, .empty { color: var(--soft); }
nav { margin-top: 1rem; }
"""

_SIZE_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


def render_files_page(page: FilePage, wanted: FileFilter, limit: int) -> str:
    """HTML of one page of files, with the filters that led to it."""
    rows = "".join(_row(file) for file in page.files)
    if not rows:
        rows = '<tr><td colspan="8" class="empty">No published file matches. What was accepted is buffered '
        rows += "first: <code>POST /flush</code> publishes it now.</td></tr>"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Published files</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Published files</h1>
<p>{_summary(page)}</p>
{_form(wanted, limit)}
<div class="scroll">
<table>
<thead><tr><th>File</th><th>Workspace</th><th>Kind</th><th class="number">Rows</th>
<th class="number">Size</th><th>Rows from</th><th>to (UTC)</th><th>State</th></tr></thead>
<tbody>{rows}</tbody>
</table>
</div>
{_next_page(page, wanted, limit)}
</body>
</html>
"""


def human_size(size: int) -> str:
    """`size` bytes in the unit that leaves at most three digits before the point."""
    amount = float(size)
    for unit in _SIZE_UNITS[:-1]:
        if amount < 999.5:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.95 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} {_SIZE_UNITS[-1]}"


def _summary(page: FilePage) -> str:
    if not page.files:
        return "Newest first."
    rows = sum(file.rows for file in page.files)
    size = human_size(sum(file.bytes for file in page.files))
    files = "1 file" if len(page.files) == 1 else f"{len(page.files)} files"
    return f"{files} on this page, newest first: {'1 row' if rows == 1 else f'{rows:,} rows'}, {size}."


def _row(file: DataFile) -> str:
    state = '<span class="sealed">complete</span>' if file.sealed else '<span class="open">growing</span>'
    return (
        f'<tr><td><a href="/files/{escape(quote(file.path))}">{escape(file.path)}</a></td>'
        f"<td>{file.workspace_id}</td><td>{escape(file.kind.value)}</td>"
        f'<td class="number">{file.rows:,}</td><td class="number">{human_size(file.bytes)}</td>'
        f"<td>{_time(file.min_timestamp)}</td><td>{_time(file.max_timestamp)}</td><td>{state}</td></tr>\n"
    )


def _time(timestamp_ms: int) -> str:
    """A client's timestamp may lie outside of what a calendar knows."""
    try:
        return datetime.fromtimestamp(timestamp_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{timestamp_ms} ms"


def _form(wanted: FileFilter, limit: int) -> str:
    workspace_id = "" if wanted.workspace_id is None else str(wanted.workspace_id)
    kinds = "".join(
        f'<option value="{kind.value}"{" selected" if kind == wanted.kind else ""}>{kind.value}</option>'
        for kind in Kind
    )
    return f"""<form action="/files" method="get">
<label>Workspace <input name="workspace_id" inputmode="numeric" pattern="[0-9]*" size="12"
  value="{escape(workspace_id)}"></label>
<label>Date <input name="date" type="date" value="{escape(wanted.date or "")}"></label>
<label>Kind <select name="kind"><option value="">all</option>{kinds}</select></label>
<input type="hidden" name="limit" value="{limit}">
<button>Show</button>
</form>"""


def _next_page(page: FilePage, wanted: FileFilter, limit: int) -> str:
    if page.next_cursor is None:
        return ""
    query = {
        "workspace_id": wanted.workspace_id,
        "date": wanted.date,
        "kind": wanted.kind.value if wanted.kind else None,
        "limit": limit,
        "cursor": page.next_cursor,
    }
    url = "/files?" + urlencode({name: value for name, value in query.items() if value is not None})
    return f'<nav><a href="{escape(url)}">Next page →</a></nav>'
