"""Elasticsearch's bulk call: an action that is not valid costs no other."""

import json
from typing import Final

import pytest

from tests.clients.bodies import basic
from tests.support.service import KEYS, Service

BACKENDS = ["directory", "workers"]
GOOD: Final = ['{"index":{"_index":"i"}}', '{"message":"before"}', '{"create":{}}', '{"message":"after"}']

# What stands between the good ones, and the number of items that it is.
BETWEEN: Final[dict[str, tuple[list[str], int]]] = {
    "an unknown action": (['{"upsert":{"_index":"i"}}', '{"message":"lost"}'], 1),
    "an unknown action without a document": (['{"upsert":{"_index":"i"}}'], 1),
    "an action that is cut": (['{"index":{"_ind', '{"message":"lost"}'], 1),
    "an action that is no object": (['"index"', '{"message":"lost"}'], 1),
    "an action whose value is no object": (['{"index":5}'], 1),
    "two actions in one": (['{"index":{},"create":{}}'], 1),
    "documents without actions": (['{"message":"lost","n":1}', '{"message":"lost","n":2}'], 2),
    "an empty action": (["{}"], 1),
    "a delete": (['{"delete":{"_id":"1"}}'], 1),
    "an update": (['{"update":{"_id":"1"}}', '{"doc":{"message":"lost"}}'], 1),
    "a document that is none": (['{"index":{}}', "[1]"], 1),
    "blank lines": (["", "  ", "\r"], 0),
    "an action twice": (['{"index":{},"index":{}}', '{"message":"between"}'], 1),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_an_action_that_is_not_valid_costs_no_other(service: Service, workspace: int, name: str) -> None:
    between, count = BETWEEN[name]
    body = "\n".join([*GOOD[:2], *between, *GOOD[2:]]) + "\n"
    response = service.http.post("/_bulk", content=body, headers={"authorization": basic(KEYS[workspace])})
    assert response.status_code == 200, response.text
    answer = response.json()
    statuses = [next(iter(item.values()))["status"] for item in answer["items"]]
    refused = 201 if name == "an action twice" else 400
    assert statuses == [201, *[refused] * count, 201]
    assert answer["errors"] == (400 in statuses)
    for item in answer["items"][1:-1]:
        assert refused == 201 or next(iter(item.values()))["error"]["reason"]
    service.flush(workspace)
    payloads = [json.loads(row["payload"]) for row in service.table("logs", workspace).to_pylist()]
    assert {"before", "after"} <= {payload["message"] for payload in payloads}
    assert "lost" not in {payload["message"] for payload in payloads}


@pytest.mark.parametrize("body", ['{"message":"a"}\n{"message":"b"}\n', "7\n", '{"a":{}}\n', "\n\n", "[]"])
def test_a_body_without_any_action_is_refused(service: Service, body: str) -> None:
    response = service.http.post("/_bulk", content=body, headers={"authorization": basic(KEYS[1])})
    assert response.status_code == 400, response.text
    assert "action" in response.json()["error"]["reason"]
