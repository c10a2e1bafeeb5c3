"""Content types, content encodings and the three shapes of a JSON body; browsers' requests."""

import base64
import gzip
import json
import random
import zlib

import httpx
import orjson
import pyarrow as pa
import pytest

from tests.support.payloads import ROW_OF, event, json_lines, numbers
from tests.support.service import KEYS, Service

CONFIG = {"server": {"max_body_size": "1MB", "cors_origins": ["https://shop.example"]}}
ORIGIN = "https://shop.example"


def stored(service: Service, call: str = "events", workspace: int = 1) -> list[int]:
    service.flush()
    return sorted(numbers(service.table(call, workspace)))


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/x-ndjson",
        "application/jsonl",
        "text/plain",
        "text/plain;charset=UTF-8",
    ],
)
def test_every_content_type_that_clients_send_is_read(service: Service, content_type: str) -> None:
    before = len(stored(service))

    response = service.post("events", json_lines([event(1), event(2)]), content_type=content_type)

    assert response.status_code == 202, response.text
    assert len(stored(service)) == before + 2


@pytest.mark.parametrize("call", ["events", "logs", "snapshots"])
def test_lines_an_array_and_one_object_give_the_same_rows(service: Service, call: str) -> None:
    rows = [ROW_OF[call](number) for number in range(3)]
    bodies = {
        "lines": json_lines(rows),
        "lines without a last newline": json_lines(rows).rstrip(),
        "lines of Windows": json_lines(rows).replace(b"\n", b"\r\n"),
        "blank lines": b"\n\n" + json_lines(rows).replace(b"\n", b"\n \n"),
        "array": json.dumps(rows).encode(),
        "array over lines": json.dumps(rows, indent=1).encode(),
    }
    for body in bodies.values():
        response = service.post(call, body, workspace=3)
        assert response.status_code == 202, response.text
        assert response.json()["accepted"] == 3
    for row in rows:
        assert service.post(call, json.dumps(row), workspace=3).json()["accepted"] == 1
        assert service.post(call, json.dumps(row, indent=2), workspace=3).json()["accepted"] == 1

    expected = sorted(number for number in range(3) for _ in range(len(bodies) + 2))
    assert stored(service, call, 3) == expected
    table = service.table(call, 3).drop_columns(["batch_timestamp"])
    rows_found = [{**row, "payload": orjson.loads(row["payload"])} for row in table.to_pylist()]
    assert len({repr(row) for row in rows_found}) == 3, "each way gives the very same row"


def zstandard(body: bytes) -> bytes:
    return pa.compress(body, codec="zstd", asbytes=True)  # type: ignore[no-any-return]


ENCODERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard,
    "br": lambda body: pa.compress(body, codec="brotli", asbytes=True),
    "identity": lambda body: body,
}


@pytest.mark.parametrize("encoding", ENCODERS)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_a_compressed_body_is_read(service: Service, encoding: str, content_type: str) -> None:
    before = len(stored(service))
    body = ENCODERS[encoding](json_lines([event(1), event(2)]))

    response = service.post("events", body, content_type=content_type, headers={"Content-Encoding": encoding})

    assert response.status_code == 202, response.text
    assert len(stored(service)) == before + 2


@pytest.mark.parametrize("call", ["events", "batch"])
@pytest.mark.parametrize(
    ("lines", "applied"),
    [
        (("gzip", "zstd"), ("gzip", "zstd")),
        (("gzip", "gzip"), ("gzip", "gzip")),
        (("gzip", "gzip"), ("gzip",)),
        (("deflate", "deflate"), ("deflate",)),
        (("br", "br"), ("br",)),
        (("gzip, zstd",), ("gzip", "zstd")),
        (("identity", "gzip"), ("gzip",)),
        (("gzip", ""), ("gzip",)),
        (("gzip",), ()),
        (("zstd", "gzip"), ()),
    ],
    ids=str,
)
def test_lines_of_content_encoding_are_one_list(
    service: Service, workspace: int, call: str, lines: tuple[str, ...], applied: tuple[str, ...]
) -> None:
    rows = [event(1), event(2)]
    body = json.dumps({"batch": rows} if call == "batch" else rows).encode()
    for encoding in applied:
        body = ENCODERS[encoding](body)
    headers = [("X-API-Key", KEYS[workspace]), ("Content-Type", "application/json")]
    headers += [("Content-Encoding", line) for line in lines]

    response = service.http.post(f"/v1/{call}", content=body, headers=headers)

    assert response.status_code < 300, response.text
    assert len(stored(service, workspace=workspace)) == 2


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_bomb_is_refused_by_its_expanded_size(service: Service, encoding: str) -> None:
    bomb = ENCODERS[encoding](b" " * (64 << 20))
    assert len(bomb) < 1 << 20

    response = service.post("events", bomb, headers={"Content-Encoding": encoding})

    assert response.status_code == 413, response.text


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "br"])
@pytest.mark.parametrize("damage", ["not compressed", "cut", "empty", "bytes behind"])
def test_damaged_compression_is_refused(service: Service, encoding: str, damage: str) -> None:
    good = ENCODERS[encoding](json_lines([event(number) for number in range(50)]))
    body = {
        "not compressed": b"just text, never compressed",
        "cut": good[: len(good) // 2],
        "empty": b"",
        "bytes behind": good + b"\x00garbage",
    }[damage]

    response = service.post("events", body, headers={"Content-Encoding": encoding})

    assert response.status_code == 400, response.text


def test_a_beacon_is_a_simple_request_with_its_key_in_the_address(service: Service) -> None:
    before = len(stored(service))

    response = service.http.post(
        "/v1/events",
        params={"token": KEYS[1]},
        content=json.dumps([event(1)]),
        headers={"Content-Type": "text/plain;charset=UTF-8", "Origin": ORIGIN, "Sec-Fetch-Mode": "no-cors"},
    )

    assert response.status_code == 202, response.text
    assert response.headers["Access-Control-Allow-Origin"] in ("*", ORIGIN)
    assert len(stored(service)) == before + 1


@pytest.mark.parametrize("call", ["events", "logs", "snapshots", "ingest"])
def test_a_preflight_is_answered_without_a_key(service: Service, call: str) -> None:
    response = preflight(service, call, ORIGIN)

    assert response.status_code in (200, 204), response.text
    assert response.headers["Access-Control-Allow-Origin"] in ("*", ORIGIN)
    allowed = response.headers["Access-Control-Allow-Headers"].lower()
    assert "authorization" in allowed
    assert "content-type" in allowed
    assert "POST" in response.headers["Access-Control-Allow-Methods"]


def test_another_origin_gets_no_permission(service: Service) -> None:
    response = preflight(service, "events", "https://elsewhere.example")

    assert response.headers.get("Access-Control-Allow-Origin") not in ("*", "https://elsewhere.example")


def test_a_cross_origin_answer_can_be_read_also_when_it_is_an_error(service: Service) -> None:
    response = service.post("events", b"{", headers={"Origin": ORIGIN})

    assert response.status_code == 400
    assert response.headers["Access-Control-Allow-Origin"] in ("*", ORIGIN)


def preflight(service: Service, call: str, origin: str) -> httpx.Response:
    return service.http.options(
        f"/v1/{call}",
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    )


def test_a_large_packed_body_without_its_header_is_recognised(service: Service, workspace: int) -> None:
    """Of more than half a megabyte, where its first bytes could be an offset of a FlatBuffer."""
    filling = base64.b64encode(random.Random(1).randbytes(600_000)).decode()
    packed = gzip.compress(json.dumps([event(1, filling=filling)]).encode())
    assert len(packed) > 560_000
    response = service.post("events", packed, workspace=workspace)
    assert response.status_code == 202, response.text
