"""The same batch sent twice is stored once, whatever happened to the service in between."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from app.kinds import Kind
from tests.support.flatbuffer_batches import hand_laid
from tests.support.payloads import TIMESTAMP_MS, event, numbers
from tests.support.service import KEYS, Service

CONFIG = {"journal": {"segment_size": "4KiB"}, "sinks.parquet": {"flush_interval": "3600s"}}
BACKENDS = (
    "directory",
    "bucket",
    "happened",
    *(pytest.param(name, marks=pytest.mark.heavy) for name in ("kafka", "tables", "workers")),
)
BATCH_ID = 0xFEED_0000_0000_0001

Send = Callable[[Service, list[int]], httpx.Response]


def by_header(service: Service, rows: list[int]) -> httpx.Response:
    """Rows of these numbers, always under the same id."""
    body = json.dumps([event(number) for number in rows])
    return service.post("events", body, headers={"Idempotency-Key": "the same"})


def by_batch_id(service: Service, rows: list[int]) -> httpx.Response:
    laid = [
        {
            "event_type": "track",
            "timestamp": TIMESTAMP_MS,
            "event_name": "sent",
            "payload": b'{"number": %d}' % n,
        }
        for n in rows
    ]
    return service.post("ingest", hand_laid(Kind.EVENTS, laid, bytes.fromhex(KEYS[1]), batch_id=BATCH_ID))


def nothing(service: Service) -> None:
    pass


def restart(service: Service) -> None:
    service.restart()


def kill(service: Service) -> None:
    service.kill9()
    service.start()


def trim_and_kill(service: Service) -> None:
    """Until the frame that carries the id is gone from the journal: then only the saved window knows it."""
    (first,) = segments_with_entries(service)
    number = 1_000
    while first.exists():
        service.post_json("logs", [{"message": "x" * 1_000, "data": {"number": number}}], wait="file")
        number += 1
    kill(service)


def segments_with_entries(service: Service) -> list[Path]:
    found = sorted((service.journal / "segments").glob("*.segment"))
    return [path for path in found if path.stat().st_size > 72]


@pytest.mark.parametrize("send", [by_header, by_batch_id])
@pytest.mark.parametrize(
    ("backend", "meanwhile"),
    [
        *(("directory", meanwhile) for meanwhile in (nothing, restart, kill, trim_and_kill)),
        ("bucket", trim_and_kill),
    ],
    scope="module",
)
def test_a_batch_sent_again_is_stored_once_and_another_payload_is_refused(
    own_service: Service, send: Send, meanwhile: Callable[[Service], None]
) -> None:
    first = send(own_service, [1, 2])
    assert first.status_code == 202, first.text
    assert not first.json().get("duplicate")
    meanwhile(own_service)

    again, other = send(own_service, [1, 2]), send(own_service, [3])

    assert again.status_code == 202, again.text
    assert (again.json()["duplicate"], again.json()["accepted"]) == (True, 2)
    assert other.status_code == 409, other.text
    assert other.json()["error"] == "batch_id_reused"
    kill(own_service)
    assert send(own_service, [1, 2]).json()["duplicate"] is True
    own_service.flush()
    assert sorted(numbers(own_service.table())) == [1, 2]


def test_ids_of_a_header_and_of_a_batch_are_kept_apart(own_service: Service) -> None:
    assert by_header(own_service, [1]).status_code == 202
    assert not by_batch_id(own_service, [2]).json().get("duplicate")
    own_service.flush()
    assert sorted(numbers(own_service.table())) == [1, 2]


def test_one_id_for_rows_of_two_kinds_names_two_batches(own_service: Service) -> None:
    both = json.dumps({"message": "m", "source": "s", "entity": "e"})
    id_header = {"Idempotency-Key": "one id"}
    assert own_service.post("logs", both, headers=id_header).status_code == 202
    snapshot = own_service.post("snapshots", both, headers=id_header)
    assert (snapshot.status_code, "duplicate" in snapshot.json()) == (202, False)
    assert own_service.post("logs", both, headers=id_header).json()["duplicate"] is True


def test_the_window_is_bounded_and_the_oldest_ids_leave(tmp_path: Path) -> None:
    with Service(tmp_path, {**CONFIG, "journal": {"deduplication_batches": 3}}) as service:
        service.start()
        body = json.dumps([event(1)])
        for name in ("a", "b", "c", "d"):
            service.post("events", body, headers={"Idempotency-Key": name})
        kill(service)
        assert service.status()["deduplication"] == {"batches": 3, "messages": 0}
        answers = [service.post("events", body, headers={"Idempotency-Key": name}).json() for name in "db"]
        assert [answer.get("duplicate") for answer in answers] == [True, True]
        assert not service.post("events", body, headers={"Idempotency-Key": "a"}).json().get("duplicate")
