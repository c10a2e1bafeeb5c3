"""What is kept of refusals: the last of each workspace, never more than there is room for."""

import pytest

from app.commit.recent_refusals import (
    PER_BATCH_MAX,
    PER_WORKSPACE_MAX,
    SEARCHED_BYTES_MAX,
    TEXT_CHARACTERS_MAX,
    WORKSPACES_MAX,
    RecentRefusal,
    RecentRefusals,
    batch_refused,
    rows_refused,
)
from app.errors import MalformedBatch
from app.kinds import Kind
from app.submission import RowRefusal, Submission, WireFormat


def refused(workspace_id: int, at_ms: int) -> RecentRefusal:
    return RecentRefusal(at_ms, workspace_id, "events", "invalid_row", 1, "type", "no", "")


def submission(body: bytes, wire_format: WireFormat = WireFormat.JSON) -> Submission:
    return Submission(wire_format, Kind.EVENTS, body, bytes(16), 7, bytes(16), 1_000)


def test_the_last_of_a_workspace_are_kept_the_newest_first() -> None:
    kept = RecentRefusals()
    kept.note([refused(1, at) for at in range(PER_WORKSPACE_MAX + 5)])
    kept.note([refused(2, 1)])
    assert [each.at_ms for each in kept.last(1)] == list(range(PER_WORKSPACE_MAX + 4, 4, -1))
    assert [each.workspace_id for each in kept.last(None)[-2:]] == [1, 1]
    assert [each.at_ms for each in kept.last(2)] == [1]
    assert kept.last(3) == []


def test_the_workspace_that_was_quiet_longest_makes_room() -> None:
    kept = RecentRefusals()
    kept.note([refused(workspace, workspace) for workspace in range(WORKSPACES_MAX)])
    kept.note([refused(0, 5_000)])
    kept.note([refused(WORKSPACES_MAX, 6_000)])
    assert kept.last(1) == []
    assert len(kept.last(0)) == 2
    assert len(kept.last(WORKSPACES_MAX)) == 1


@pytest.mark.parametrize(
    ("body", "row", "text"),
    [
        (b'{"a":1}\n{"b":2}\n{broken', 3, "{broken"),
        (b'{"a":1}\r\n{"b":2}\r\n', 2, '{"b":2}'),
        (b' [{"a":1}, {"b": 2}]', 2, '{"b": 2}'),
        (b'{\n "a": 1\n}', 1, '{\n "a": 1\n}'),
        (b"[{,}]", 1, "[{,}]"),
        (b"x" * 5_000, 1, "x" * TEXT_CHARACTERS_MAX),
        (b'"\xff\xfe"', 1, '"\ufffd\ufffd"'),
        (b'{"a":1}', 9, ""),
        (b"x" * (SEARCHED_BYTES_MAX + 1), 1, ""),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_row_is_shown_as_it_begins(body: bytes, row: int, text: str) -> None:
    (note,) = rows_refused(submission(body), "invalid_row", [RowRefusal(row, "f", "m")])
    assert (note.row, note.text, note.at_ms, note.workspace_id) == (row, text, 1_000, 7)


def test_of_one_batch_the_first_are_noted_and_of_binary_ones_no_text() -> None:
    many = [RowRefusal(row, "type", "m" * 1_000) for row in range(1, 100)]
    notes = list(rows_refused(submission(b"binary", WireFormat.FLATBUFFER), "invalid_row", many))
    assert [note.row for note in notes] == list(range(1, PER_BATCH_MAX + 1))
    assert {len(note.message) for note in notes} == {TEXT_CHARACTERS_MAX}
    assert {note.text for note in notes} == {""}
    whole = batch_refused(submission(b"<xml/>"), MalformedBatch("That is no JSON."))
    assert (whole.row, whole.reason, whole.text) == (0, "malformed_batch", "<xml/>")
