"""Every way in which a client may behave towards the fast lane, well or not."""

import asyncio
import random
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from app.api.connection.fast_connection import WAITING_BYTES_MAX, FastConnection
from app.api.connection.shared import RECEIVE_BYTES
from app.kinds import Kind
from app.submission import Receipt
from tests.fast_lane.lane import KEY, POLICY, answer_of, request, serving

BODY = b'{"type":"track"}'


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def within_time() -> None:
        async with asyncio.timeout(10):
            await test()

    uvloop.run(within_time())


def test_a_request_split_at_every_byte_is_read_the_same() -> None:
    async def test() -> None:
        whole = request(BODY)
        async with serving() as lane:
            for cut in range(1, len(whole)):
                reader, writer = await lane.connect()
                writer.write(whole[:cut])
                await writer.drain()
                await asyncio.sleep(0)
                writer.write(whole[cut:])
                assert (await answer_of(reader))[0] == 202
                writer.close()
            assert lane.bodies() == [BODY] * (len(whole) - 1)
            assert lane.handed_over == []

    run(test)


@pytest.mark.parametrize("size", [0, 1, 65_000, 65_536, 65_537, 299_999])
def test_a_body_of_any_size_arrives_whole(size: int) -> None:
    async def test() -> None:
        body = random.Random(size).randbytes(size)
        async with serving() as lane:
            reader, writer = await lane.connect()
            for _ in range(3):
                writer.write(request(body))
                assert (await answer_of(reader))[0] == 202
            assert lane.bodies() == [body] * 3
            assert lane.handed_over == []
            writer.close()

    run(test)


def test_pipelined_requests_are_answered_one_by_one_in_order() -> None:
    async def test() -> None:
        bodies = [b"x" * (1 + 977 * n % 90_000) for n in range(60)]
        async with serving() as lane:
            lane.answering = False
            reader, writer = await lane.connect()
            writer.write(b"".join(request(body) for body in bodies))
            for number, body in enumerate(bodies):
                while len(lane.submitted) <= number:
                    await lane.arrived.wait()
                    lane.arrived.clear()
                assert len(lane.submitted) == number + 1, "the next one waits for the answer"
                lane.submitted[number][1](Receipt(Kind.EVENTS, len(body)))
                status, _, answer = await answer_of(reader)
                assert status == 202
                assert b'"accepted":%d,' % len(body) in answer
            assert lane.bodies() == bodies
            writer.close()

    run(test)


NOT_PLAIN = [
    b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /v1/other HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",  # no key
    request(BODY, "Origin: https://example.com"),
    request(BODY, "Content-Encoding: gzip"),
    request(BODY, "Connection: close"),
    request(BODY, "TE: trailers"),
    request(BODY, "Content-Type: image/png"),
    request(BODY, path="/v1/events?wait=file"),
    request(BODY, "X-API-Key: 00"),
    request(b"x" * 300_001),
    b"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: %b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    % KEY.hex().encode(),
]


@pytest.mark.parametrize("first", NOT_PLAIN, ids=range(len(NOT_PLAIN)))
def test_what_is_not_plain_is_handed_over_with_all_its_bytes(first: bytes) -> None:
    async def test() -> None:
        async with serving() as lane:
            for split in (len(first), 5, 40):
                reader, writer = await lane.connect()
                writer.write(first[:split])
                await writer.drain()
                await asyncio.sleep(0)
                writer.write(first[split:])
                assert (await answer_of(reader))[0] == 299
                writer.close()
            assert lane.submitted == []
            assert len(lane.handed_over) == 3

    run(test)


def test_a_connection_that_was_handed_over_goes_on_there() -> None:
    async def test() -> None:
        async with serving() as lane:
            reader, writer = await lane.connect()
            writer.write(request(BODY) + NOT_PLAIN[1] + request(BODY))
            assert [(await answer_of(reader))[0] for _ in range(3)] == [202, 299, 299]
            assert lane.handed_over == ["GET /", "POST /v1/events"]
            writer.close()

    run(test)


SMUGGLING = [
    b"Content-Length: 2\r\nContent-Length: 30",
    b"Content-Length: 2\r\nTransfer-Encoding: chunked",
    b"Content-Length: 2\r\ntransfer-encoding:\tchunked",
    b"Content-Length: 2\r\nTransfer-Encoding : chunked",
    b"Content-Length : 2",
    b"Content-Length: +2",
    b"Content-Length: 2, 2",
    b"Content-Length: 0x2",
    b"Content-Length: -1",
    b"Content-Length:\r\n 2",
    b"Content-Length: 2\r\nX: a\r\n\tfolded",
    b"Content-Length: 2\r\nX: a\nContent-Length: 30",
    b"Content-Length: 2\r\nX: a\rContent-Length: 30",
    b"Content-Length: 2\r\nX: a\x00b",
    b"Content-Length: 2\r\n: empty",
    b"Content-Length: 99999999999999999999",
    b"Content-Length: \xb2",
    b"no colon at all\r\nContent-Length: 2",
]


@pytest.mark.parametrize("fields", SMUGGLING, ids=range(len(SMUGGLING)))
def test_a_doubtful_head_never_takes_the_fast_lane(fields: bytes) -> None:
    async def test() -> None:
        async with serving() as lane:
            reader, writer = await lane.connect()
            head = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: " + KEY.hex().encode()
            writer.write(head + b"\r\n" + fields + b"\r\n\r\n{}" + request(BODY))
            writer.write_eof()
            await reader.read()
            assert lane.submitted == []
            writer.close()

    run(test)


@pytest.mark.parametrize("start", [b"", b"POST /v1/ev", b"GET / HT", b"\x16\x03\x01\x02\x00"])
def test_a_head_without_end_is_cut_off_by_size(start: bytes) -> None:
    async def test() -> None:
        async with serving() as lane:
            reader, writer = await lane.connect()
            writer.write((start or b"POST /v1/events HTTP/1.1\r\nX: ") + b"x" * 4_000)
            answer = await reader.read()
            assert answer.split()[1] in (b"431", b"414", b"400"), answer
            assert b"connection: close" in answer
            writer.close()

    run(test)


def test_a_large_head_of_a_later_request_is_cut_off_too() -> None:
    async def test() -> None:
        async with serving() as lane:
            for first in (request(BODY), NOT_PLAIN[1]):
                reader, writer = await lane.connect()
                writer.write(first)
                await answer_of(reader)
                writer.write(request(BODY, "X: " + "x" * 2_000))
                status, headers, _ = await answer_of(reader)
                assert (status, headers["connection"]) == (431, "close")
                assert await reader.read() == b""
                writer.close()

    run(test)


@pytest.mark.parametrize("cut", [0, 5, 30, len(request(BODY)) - 3])
@pytest.mark.parametrize("first", [b"", request(BODY), NOT_PLAIN[1]])
def test_a_request_that_does_not_come_is_given_up(first: bytes, cut: int) -> None:
    async def test() -> None:
        async with serving(POLICY) as lane:
            reader, writer = await lane.connect()
            if first:
                writer.write(first)
                await answer_of(reader)
            if first != NOT_PLAIN[1] or 0 < cut < 100:
                writer.write(request(BODY)[:cut])
                answer = await reader.read()
                assert answer.startswith(b"HTTP/1.1 408 ") if cut else answer == b""
            writer.close()
            assert len(lane.submitted) == (first == request(BODY))

    run(test)


def test_an_answer_that_does_not_come_is_unknown_and_its_bytes_stay_held_until_it_does() -> None:
    async def test() -> None:
        async with serving(POLICY) as lane:
            lane.answering = False
            reader, writer = await lane.connect()
            writer.write(request(BODY))
            status, _, answer = await answer_of(reader)
            assert status == 503
            assert b"outcome_unknown" in answer
            assert lane.admission.inflight_bytes == len(BODY)
            lane.submitted[0][1](Receipt(Kind.EVENTS, 1))
            assert lane.admission.inflight_bytes == 0
            writer.close()

    run(test)


def test_a_client_that_leaves_at_any_byte_leaves_nothing_behind() -> None:
    async def test() -> None:
        whole = request(b"x" * 500)
        async with serving() as lane:
            lane.answering = False
            for cut in range(0, len(whole) + 1, 7):
                _, writer = await lane.connect()
                writer.write(whole[:cut])
                await writer.drain()
                if cut % 2:
                    writer.transport.abort()
                else:
                    writer.close()
            _, writer = await lane.connect()
            writer.write(whole)
            writer.close()
            answered = 0
            while not answered or lane.state.connections:
                await asyncio.sleep(0)
                held = sum(len(submission.body) for submission, _ in lane.submitted[answered:])
                assert lane.admission.inflight_bytes >= held
                for _, reply in lane.submitted[answered:]:
                    reply(Receipt(Kind.EVENTS, 1))
                    answered += 1
            assert lane.bodies() == [b"x" * 500] * answered

    run(test)


def test_a_client_that_has_closed_its_half_gets_its_answer() -> None:
    async def test() -> None:
        async with serving() as lane:
            lane.answering = False
            reader, writer = await lane.connect()
            writer.write(request(BODY))
            writer.write_eof()
            await lane.arrived.wait()
            await asyncio.sleep(0.05)
            lane.submitted[0][1](Receipt(Kind.EVENTS, 1))
            status, headers, _ = await answer_of(reader)
            assert (status, headers["connection"]) == (202, "close")
            assert await reader.read() == b""
            writer.close()

    run(test)


def test_a_batch_that_is_refused_for_now_is_read_and_the_connection_goes_on() -> None:
    async def test() -> None:
        async with serving(inflight_bytes=50_000) as lane:
            reader, writer = await lane.connect()
            for size in (60_000, 200_000, 10):
                writer.write(request(b"x" * size))
                status, headers, _ = await answer_of(reader)
                assert (status, headers.get("retry-after")) == ((202, None) if size == 10 else (503, "1"))
            assert lane.bodies() == [b"x" * 10]
            assert lane.handed_over == []
            writer.close()

    run(test)


def test_a_connection_too_many_is_handed_over_for_its_refusal() -> None:
    async def test() -> None:
        async with serving(connections_max=2) as lane:
            first = await lane.connect()
            first[1].write(request(BODY))
            assert (await answer_of(first[0]))[0] == 202
            second, third = await lane.connect(), await lane.connect()
            third[1].write(request(BODY))
            assert (await third[0].readline()).split()[1] == b"503"
            second[1].write(request(BODY))
            assert (await answer_of(second[0]))[0] == 202, "who was there before goes on"
            for _, writer in (first, second, third):
                writer.close()

    run(test)


def test_a_stop_answers_what_is_under_way_and_closes_the_rest() -> None:
    async def test() -> None:
        async with serving() as lane:
            lane.answering = False
            idle_reader, idle_writer = await lane.connect()
            reader, writer = await lane.connect()
            writer.write(request(BODY))
            await lane.arrived.wait()
            for connection in list(lane.state.connections):
                connection.shutdown()
            assert await idle_reader.read() == b""
            lane.submitted[0][1](Receipt(Kind.EVENTS, 1))
            status, headers, _ = await answer_of(reader)
            assert (status, headers["connection"]) == (202, "close")
            for each in (writer, idle_writer):
                each.close()

    run(test)


def test_a_client_that_does_not_read_its_answers_is_not_read_from_either() -> None:
    async def test() -> None:
        async with serving() as lane:
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                client.connect(("127.0.0.1", lane.port))
                client.setblocking(False)
                refused = sent = 0
                while refused < 1_000:
                    try:
                        sent += client.send(request(BODY) * 100)
                        refused = 0
                    except BlockingIOError:
                        refused += 1
                    await asyncio.sleep(0)
                [connection] = lane.state.connections
                assert isinstance(connection, FastConnection)
                assert len(connection._waiting) <= WAITING_BYTES_MAX + RECEIVE_BYTES
                assert lane.submitted
            await lane.idle()

    run(test)


def test_requests_are_counted_in_the_http_metrics() -> None:
    async def test() -> None:
        async with serving() as lane:
            reader, writer = await lane.connect()
            for size in (1, 20, 300):
                writer.write(request(b"x" * size))
                await answer_of(reader)
            writer.close()

        def sample(name: str, **labels: str) -> float | None:
            list(lane.registry.collect())
            return lane.registry.get_sample_value(name, labels)

        path = "/v1/events"
        assert sample("http_requests_total", method="POST", status="2xx", handler=path) == 3
        assert sample("http_request_size_bytes_sum", handler=path) == 321
        assert sample("http_request_size_bytes_count", handler=path) == 3
        assert sample("http_request_duration_seconds_bucket", method="POST", handler=path, le="+Inf") == 3
        assert sample("http_request_duration_highr_seconds_count") == 3

    run(test)


TRACK = b'{"batch":[{"type":"track","event":"e","userId":"u"}]%s}'


def test_other_protocols_take_the_fast_lane() -> None:
    async def test() -> None:
        async with serving() as lane:
            reader, writer = await lane.connect()
            for _ in range(3):
                writer.write(request(TRACK % b"", path="/v1/batch") + request(BODY))
                status, _, _ = await answer_of(reader)
                assert status == 200
                assert (await answer_of(reader))[0] == 202
            assert lane.handed_over == []
            assert len(lane.submitted) == 6
            writer.close()
            await lane.idle()
            assert lane.admission.inflight_bytes == 0

    run(test)


def test_a_wrong_key_in_the_body_is_for_the_route() -> None:
    async def test() -> None:
        async with serving() as lane:
            reader, writer = await lane.connect()
            writer.write(request(TRACK % (b',"writeKey":"%b"' % (b"01" * 16)), path="/v1/batch"))
            assert (await answer_of(reader))[0] == 299
            assert lane.handed_over == ["POST /v1/batch"]
            assert lane.submitted == []
            assert lane.admission.inflight_bytes == 0
            writer.close()

    run(test)


def test_a_client_that_goes_leaves_nothing_in_flight() -> None:
    async def test() -> None:
        async with serving() as lane:
            lane.answering = False
            _, writer = await lane.connect()
            writer.write(request(TRACK % b"", path="/v1/batch"))
            await lane.arrived.wait()
            linger = struct.pack("ii", 1, 0)  # a reset, not an end
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
            await lane.idle()
            [(submission, reply)] = lane.submitted
            assert lane.admission.inflight_bytes == len(submission.body)
            reply(Receipt(Kind.EVENTS, 1))
            assert lane.admission.inflight_bytes == 0

    run(test)


def test_an_outcome_that_is_not_known_in_time_is_said() -> None:
    async def test() -> None:
        async with serving(POLICY) as lane:
            lane.answering = False
            reader, writer = await lane.connect()
            writer.write(request(TRACK % b"", path="/v1/batch"))
            status, _, body = await answer_of(reader)
            assert status == 503
            assert b"not known" in body
            [(_, reply)] = lane.submitted
            reply(Receipt(Kind.EVENTS, 1))
            writer.close()

    run(test)
