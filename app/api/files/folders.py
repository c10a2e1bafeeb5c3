"""Totals of published files: by workspace, and within a workspace by day."""

from collections.abc import Iterable

import msgspec

from app.parquet.data_file import DataFile


class Folder(msgspec.Struct):
    """Files of one workspace (date empty) or of one of its days. growing: how many may still change.

    first_ms, last_ms: of the rows' own times. updated_at: when the latest file changed.
    """

    workspace_id: int
    date: str
    files: int = 0
    growing: int = 0
    rows: int = 0
    bytes: int = 0
    first_ms: int = 2**63 - 1
    last_ms: int = -(2**63)
    updated_at: str = ""

    def take(self, file: DataFile) -> None:
        self.files += 1
        self.growing += not file.sealed
        self.rows += file.rows
        self.bytes += file.bytes
        self.first_ms = min(self.first_ms, file.min_timestamp)
        self.last_ms = max(self.last_ms, file.max_timestamp)
        self.updated_at = max(self.updated_at, file.changed_at)


def folders_of(files: Iterable[DataFile]) -> dict[int | None, list[Folder]]:
    """Under None all workspaces by number, under a workspace its days, newest first."""
    workspaces: dict[int, Folder] = {}
    days: dict[int, dict[str, Folder]] = {}
    for file in files:
        workspace_id = file.workspace_id
        if workspace_id not in workspaces:
            workspaces[workspace_id] = Folder(workspace_id, "")
            days[workspace_id] = {}
        workspaces[workspace_id].take(file)
        day = days[workspace_id].get(file.date)
        if day is None:
            day = days[workspace_id][file.date] = Folder(workspace_id, file.date)
        day.take(file)
    found: dict[int | None, list[Folder]] = {
        workspace_id: sorted(of.values(), key=lambda folder: folder.date, reverse=True)
        for workspace_id, of in days.items()
    }
    found[None] = [workspaces[workspace_id] for workspace_id in sorted(workspaces)]
    return found
