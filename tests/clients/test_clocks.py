"""What a client says of when it sent a batch corrects its times, and never spoils good ones."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from tests.clients.bodies import basic
from tests.support.service import KEYS, Service

YEAR: Final = timedelta(days=365)
HOUR: Final = timedelta(hours=1)
NOW: Final = datetime.now(UTC)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
TOLERANCE_S: Final = 120

# By name: the time and the sending by the client's clock, and the time that must be stored.
CLOCKS: Final[dict[str, tuple[datetime, Any, datetime]]] = {
    "a right clock": (NOW - HOUR, NOW, NOW - HOUR),
    "a clock two hours ahead": (NOW + HOUR, NOW + 2 * HOUR, NOW - HOUR),
    "a clock that begins in 1970": (EPOCH + HOUR, EPOCH + 2 * HOUR, NOW - HOUR),
    "a clock thirty years ahead": (NOW + 30 * YEAR, NOW + 30 * YEAR + HOUR, NOW - HOUR),
    "queued for a month": (NOW - timedelta(days=30), NOW, NOW - timedelta(days=30)),
    "sent in 1970": (NOW - HOUR, EPOCH, NOW - HOUR),
    "sent in 1971": (NOW - HOUR, EPOCH + YEAR, NOW - HOUR),
    "sent half a year before it happened": (NOW - HOUR, NOW - YEAR / 2, NOW - HOUR),
    "sent in the year 1": (NOW - HOUR, "0001-01-01T00:00:00Z", NOW - HOUR),
    "sent in the year 1, further east": (NOW - HOUR, "0001-01-01T00:00:00+23:59", NOW - HOUR),
    "sent in the year 9999": (NOW - HOUR, "9999-12-31T23:59:59.999-23:59", NOW - HOUR),
    "sent in thirty years": (NOW - HOUR, NOW + 30 * YEAR, NOW - HOUR),
    "sent at 0": (NOW - HOUR, 0, NOW - HOUR),
    "sent at a number of seconds": (NOW - HOUR, NOW.timestamp(), NOW - HOUR),
    "sent at a number beyond all": (NOW - HOUR, 10**25, NOW - HOUR),
    "sent at no time": (NOW - HOUR, "soon", NOW - HOUR),
    "sent at null": (NOW - HOUR, None, NOW - HOUR),
    "sent at an object": (NOW - HOUR, {"a": 1}, NOW - HOUR),
    "set back two years while it waited": (NOW + 2 * YEAR, NOW, NOW + 2 * YEAR),
    "years ahead, and sent two years later": (NOW + 30 * YEAR, NOW + 32 * YEAR, NOW - 2 * YEAR),
}
REFUSED: Final = {"set back two years while it waited"}


def text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


@pytest.mark.parametrize("place", ["batch", "message", "posthog"])
def test_a_clock_that_is_wrong_spoils_no_time(service: Service, workspace: int, place: str) -> None:
    key = KEYS[workspace]
    for name, (happened, sent, _) in CLOCKS.items():
        message = {"type": "track", "event": name, "userId": "u", "timestamp": text(happened)}
        body: dict[str, Any] = {"batch": [message], "sentAt": text(sent)}
        path = "/v1/batch"
        if place == "message":
            body = {"batch": [{**message, "sentAt": text(sent)}]}
        elif place == "posthog":
            event = {"event": name, "distinct_id": "u", "timestamp": text(happened)}
            body, path = {"api_key": key, "batch": [event], "sent_at": text(sent)}, "/batch/"
        response = service.http.post(path, json=body, headers={"authorization": basic(key)})
        if name not in REFUSED:
            assert (response.status_code, "error" in response.text) == (200, False), (name, response.text)
        else:
            assert "must be between" in response.text, response.text
    service.flush(workspace)
    rows = {row["event_name"]: row["timestamp"] for row in service.table("events", workspace).to_pylist()}
    assert rows.keys() == CLOCKS.keys() - REFUSED
    late_s = time.time() - NOW.timestamp()
    for name, stored_ms in rows.items():
        expected = CLOCKS[name][2].timestamp()
        assert abs(stored_ms / 1000 - expected) < TOLERANCE_S + late_s, (name, stored_ms)
