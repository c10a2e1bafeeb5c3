"""GET /status has one shape wherever the journal and the files are: the one that openapi.json describes."""

import pytest

from tests.support.described import check_answer
from tests.support.payloads import event, log_line
from tests.support.service import Service

BACKENDS = (
    "directory",
    "bucket",
    *(pytest.param(name, marks=pytest.mark.heavy) for name in ("tables", "workers", "kafka")),
)


def test_the_account_is_what_the_document_says(service: Service) -> None:
    service.post_json("events", [event(1), event(2)])
    service.post_json("logs", [log_line(1)], workspace=2)
    service.flush()
    status = service.status()

    check_answer("/status", "get", 200, status)
    account = {(row["workspace_id"], row["kind"]): row for row in status["rows"]}
    assert account[1, "events"]["published"] == account[1, "events"]["accepted"] == 2
    assert account[2, "logs"]["published"] == 1
    for row in status["rows"]:
        assert row["accepted"] == row["published"] + row["buffered"] + row["quarantined"]
