"""Whatever bytes come, the answer is one of the table's, never a 500, and the service goes on."""

import json
import random
import socket
from pathlib import Path

import pytest

from tests.support.payloads import ROW_OF, event, json_lines
from tests.support.service import KEYS, Service

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
ALLOWED = {202, 207, 400, 403, 409, 413, 415}
SEED = 20_240_607


def test_broken_flatbuffers_never_give_a_server_error(service: Service) -> None:
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    seen = set()
    for vector in sorted(VECTORS.glob("*.fbs")):
        good = vector.read_bytes()
        for _ in range(120):
            body = bytearray(good)
            for _ in range(chance.choice((1, 1, 2, 8))):
                at = chance.randrange(len(body))
                body[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
            if chance.random() < 0.2:
                del body[chance.randrange(len(body)) :]
            response = service.post("ingest", bytes(body))
            assert response.status_code in ALLOWED, (vector.name, response.text, body.hex())
            seen.add(response.status_code)
    assert {202, 400, 403} <= seen, "the mutations reach both good and bad"


def test_mutated_json_never_gives_a_server_error(service: Service) -> None:
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    pieces = [
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b"\\",
        b"\x00",
        b"\xff",
        b"null",
        b"1e999",
        b"\\ud800",
        b"\n",
        b",",
    ]
    for call, row in ROW_OF.items():
        good = json_lines([row(1), row(2), row(3)])
        for _ in range(200):
            body = bytearray(good)
            for _ in range(chance.randrange(1, 5)):
                at = chance.randrange(len(body))
                body[at : at + chance.randrange(4)] = chance.choice(pieces)
            response = service.post(call, bytes(body))
            assert response.status_code in ALLOWED, (response.text, bytes(body))


HOSTILE_JSON = {
    "deep array": b"[" * 100_000,
    "deep object": b'{"a":' * 50_000,
    "deep and closed": b"[" * 20_000 + b"]" * 20_000,
    "deep properties": json.dumps(event(1)).encode()[:-1]
    + b',"deep":'
    + b"[" * 20_000
    + b"]" * 20_000
    + b"}",
    "number of a million digits": b'{"message":"x","timestamp":' + b"9" * 1_000_000 + b"}",
    "not a number": b'{"message":"x","data":{"n":NaN}}',
    "infinity as a timestamp": b'{"message":"x","timestamp":1e999}',
    "negative timestamp": b'{"message":"x","timestamp":-5}',
    "timestamp beyond 64 bits": b'{"message":"x","timestamp":99999999999999999999}',
    "lone surrogate": b'{"message":"\\ud800"}',
    "text that is not UTF-8": b'{"message":"\xff\xfe"}',
    "UTF-16": '{"message":"x"}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"message":"x"}',
    "NUL bytes": b"\x00" * 1000,
    "a key twice": b'{"message":"x","message":"y"}',
    "types mixed up": b'{"message":{"a":1},"level":7,"source":[],"service":{},"data":"x"}',
    "100,000 empty objects": b"[" + b"{}," * 99_999 + b"{}]",
    "one million newlines": b"\n" * 1_000_000,
}


@pytest.mark.parametrize("name", HOSTILE_JSON)
@pytest.mark.parametrize("call", ["logs", "events"])
def test_hostile_json_gives_a_clear_answer(service: Service, name: str, call: str) -> None:
    response = service.post(call, HOSTILE_JSON[name])

    assert response.status_code in ALLOWED, response.text
    assert len(response.content) < 100_000, "an answer does not grow with the number of bad rows"


@pytest.mark.parametrize(
    "fields",
    [
        {"timestamp": 1_714_564_800_000_000_000_000},
        {"timestamp": "2124-05-01"},
        {"timestamp": "yesterday"},
        {"timestamp": True},
        {"event": ["x"]},
        {"type": None},
    ],
)
def test_a_bad_field_is_refused_alone_and_named(service: Service, fields: dict[str, object]) -> None:
    response = service.post("events", json.dumps([event(1), event(2, **fields), event(3)]))

    assert response.status_code == 207, response.text
    answer = response.json()
    assert (answer["accepted"], answer["rejected"]) == (2, 1)
    assert answer["errors"][0]["line"] == 2
    assert next(iter(fields)) in answer["errors"][0]["error"]


RAW_REQUESTS = {
    "no such protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "an endless request line": b"GET /" + b"a" * 200_000,
    "an endless header": b"POST /v1/events HTTP/1.1\r\nX-A: " + b"a" * 200_000,
    "ten thousand headers": b"POST /v1/events HTTP/1.1\r\n" + b"X-A: b\r\n" * 10_000,
    "negative length": b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "a length that is no number": b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n",
    "two lengths": b"POST /v1/events HTTP/1.1\r\nHost: x\r\n"
    b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "length and chunks": b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a bad chunk": b"POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a length of exabytes": b"POST /v1/ingest HTTP/1.1\r\nHost: x\r\nX-API-Key: "
    + KEYS[1].encode()
    + b"\r\nContent-Type: application/x-flatbuffers\r\nContent-Length: 9000000000000000000\r\n\r\n",
}


@pytest.mark.parametrize("name", RAW_REQUESTS)
def test_a_broken_request_ends_with_an_error_or_a_closed_connection(service: Service, name: str) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
        answer = exchange(client, RAW_REQUESTS[name])

    if answer:
        status = int(answer.split(b" ", 2)[1])
        assert 400 <= status < 500, answer[:200]
    assert service.http.get("/ready").status_code == 200


def exchange(client: socket.socket, request: bytes) -> bytes:
    """Sends, says that nothing more comes, reads to the end; b"" when the server just closed."""
    answer = b""
    try:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    try:
        while chunk := client.recv(65_536):
            answer += chunk
    except ConnectionError:
        pass
    return answer


def test_the_service_is_still_well_and_its_account_in_order(service: Service) -> None:
    """Runs last in this module, after all of the above."""
    service.flush()
    assert service.http.get("/ready").status_code == 200
    assert service.post_json("events", [event(1)], wait="file") == 1
    assert "Traceback" not in service.stderr
