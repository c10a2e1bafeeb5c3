"""Who watches sees rows of its workspace, also of groups that hold those of others."""

import asyncio
import json

import pyarrow as pa
import pytest

from app.api.watched_rows import parse_filter, shown_rows
from app.commit.tap import ROWS_MAX, Tap, TooManyListeners
from app.kinds import Kind
from app.schema import SCHEMAS


def group(*workspaces: int) -> pa.RecordBatch:
    """One row for each of these workspaces, numbered."""
    rows = [
        {
            "timestamp": 0,
            "batch_timestamp": 0,
            "workspace_id": workspace,
            "event_type": "track",
            "source_ip": bytes(16),
            "payload": json.dumps({"n": n}).encode(),
        }
        for n, workspace in enumerate(workspaces)
    ]
    return pa.RecordBatch.from_pylist(rows, SCHEMAS[Kind.EVENTS])


def seen(workspace: int | None, *groups: pa.RecordBatch) -> tuple[list[int], int]:
    """The numbers that a listener gets to see of these groups, and how many it missed."""

    async def watch() -> tuple[list[int], int]:
        tap = Tap(1)
        listener = tap.listen(workspace)
        for rows in groups:
            await asyncio.to_thread(tap.offer, Kind.EVENTS, rows)
        taken, missed = await listener.take(10)
        tap.leave(listener)
        shown = [row for watched in taken for row in shown_rows(watched, workspace, parse_filter(b""))]
        return [json.loads(row)["payload"]["n"] for row in shown], missed

    return asyncio.run(watch())


@pytest.mark.parametrize(("workspace", "found"), [(1, [0, 3]), (2, [1, 2]), (None, [0, 1, 2, 3])])
def test_a_group_of_several_workspaces_is_told_apart(workspace: int | None, found: list[int]) -> None:
    assert seen(workspace, group(1, 2, 2, 1)) == (found, 0)


def test_what_does_not_fit_is_counted_and_only_of_the_own_workspace() -> None:
    rows = group(*[1, 2] * ROWS_MAX)
    found, missed = seen(2, rows, group(1, 2, 2))
    assert (len(found), missed) == (ROWS_MAX, 2)
    assert found == list(range(1, 2 * ROWS_MAX, 2))


def test_places_are_limited() -> None:
    async def fill() -> None:
        tap = Tap(1)
        first = tap.listen(None)
        with pytest.raises(TooManyListeners):
            tap.listen(1)
        tap.leave(first)
        tap.listen(1)

    asyncio.run(fill())
