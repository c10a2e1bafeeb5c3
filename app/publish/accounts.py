"""The account of rows before this start, from the manifest."""

from app.kinds import Kind
from app.publish.intake import RowNumbers
from app.publish.manifest import Manifest


def accounts_of(manifest: Manifest) -> dict[tuple[int, Kind], RowNumbers]:
    """By workspace and kind; nothing is buffered."""
    accounts = {key: RowNumbers(published=rows) for key, rows in manifest.rows_published().items()}
    for rows in manifest.quarantined():
        accounts.setdefault((rows.workspace_id, rows.kind), RowNumbers()).quarantined += rows.rows
    for key, removed in manifest.rows_removed().items():
        accounts.setdefault(key, RowNumbers()).removed += removed
    return accounts
