"""The hand-laid batches of tests/vectors give the rows of vectors.json."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.decode.decoding import BINARY, POLICY, RECEIVED_MS, SOURCE_IP, WORKSPACE, decode_one, refusal

VECTORS = Path(__file__).parents[1] / "vectors"
EXPECTED: dict[str, Any] = json.loads((VECTORS / "vectors.json").read_text())["vectors"]
ACCEPTED = [name for name, rows in EXPECTED.items() if isinstance(rows, list)]


def body(name: str) -> bytes:
    return (VECTORS / f"{name}.fbs").read_bytes()


def wanted(row: dict[str, Any]) -> dict[str, Any]:
    values = dict(row)
    if values["timestamp"] == "time of receipt":
        values["timestamp"] = RECEIVED_MS
    for name in ("device_id", "session_id"):
        if values.get(name) is not None:
            values[name] = bytes.fromhex(values[name])
    text, added, service = values["payload"].partition(" + service ")
    if added:
        text = json.dumps({**json.loads(text), "service": service}, separators=(",", ":"), ensure_ascii=False)
    return {
        **values,
        "payload": text.encode(),
        "batch_timestamp": RECEIVED_MS,
        "workspace_id": WORKSPACE,
        "source_ip": SOURCE_IP,
    }


@pytest.mark.parametrize("policy", [POLICY, BINARY], ids=["json", "binary"])
@pytest.mark.parametrize("name", ACCEPTED)
def test_a_vector_gives_its_rows(name: str, policy: Any) -> None:
    verdict, rows = decode_one(body(name), policy)
    assert rows == [wanted(row) for row in EXPECTED[name]]
    assert (verdict.accepted, verdict.rejected, verdict.error) == (len(rows), 0, None)


@pytest.mark.parametrize("field", ["device_id", "event_type", "payload"])
def test_a_refused_vector_names_row_and_field(field: str) -> None:
    name = next(name for name in EXPECTED if name not in ACCEPTED and field.replace("_", "-") in name)
    verdict, rows = decode_one(body(name))
    assert (verdict.accepted, rows) == (0, [])
    assert (refusal(verdict).row, refusal(verdict).field) == (1, field)


def test_a_payload_that_is_not_json_is_taken_as_bytes_where_json_is_not_asked_for() -> None:
    verdict, rows = decode_one(body("refused-payload-not-json"), BINARY)
    assert verdict.accepted == 1
    assert rows[0]["payload"] == b"{nope"
