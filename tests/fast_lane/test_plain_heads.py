"""Heads that differ only in their length are parsed once, and read like any other head."""

from hypothesis import given
from hypothesis import strategies as st

from app.api.api_keys import ApiKeys
from app.api.connection.lane_head import LaneHead
from app.api.connection.plain_heads import LaneCalls, PlainHeads
from app.commit.admission import Admission, AdmissionPolicy, Levels
from app.submission import Reply, Submission
from tests.fast_lane.lane import endpoints_of, ingest_parts

KEY = bytes.fromhex("f1e2d3c4b5a69788796a5b4c3d2e1f00")

LENGTHS = st.sampled_from(
    [b"0", b"7", b"12", b"012", b"123456789012345678", b"1234567890123456789", b"-1", b"1 2", b"1x", b""]
)
LINES = st.one_of(
    st.builds(lambda length: b"Content-Length: " + length, LENGTHS),
    st.builds(lambda length: b"content-length:" + length, LENGTHS),
    st.sampled_from(
        [
            b"Content-Length: 5 ",
            b"X-Content-Length: 5",
            b"Host: a",
            b"Content-Type: application/json",
            b"Idempotency-Key: one",
            b"Idempotency-Key: two",
            b"Transfer-Encoding: chunked",
            b"X-Request-ID: content-length: 3",
            b"Content-Encoding: gzip",
            b"Content-Type: application/x-protobuf",
            b"",
        ]
    ),
)
HEADS = st.builds(
    lambda path, lines: b"\r\n".join(
        [b"POST " + path + b" HTTP/1.1", b"X-API-Key: " + KEY.hex().encode(), *lines]
    ),
    st.sampled_from(
        [b"/v1/events", b"/v1/ingest", b"/v1/logs", b"/v1/batch", b"/v1/events?a=content-length:5"]
    ),
    st.lists(LINES, max_size=5),
)


def plain_heads(keys: ApiKeys) -> PlainHeads:
    admission = Admission(AdmissionPolicy(), lambda: Levels(0, 1 << 40, 1 << 40), lambda code: None)

    def submit(submission: Submission, reply: Reply) -> None:
        raise AssertionError("only heads are parsed")

    parts = ingest_parts(keys, admission, submit)
    return PlainHeads(LaneCalls(parts, endpoints_of(parts)), set())


def seen(head: LaneHead | None) -> object:
    return None if head is None else (type(head), head.data, head.plain, head.credential)


HEADS_SEEN = plain_heads(ApiKeys({KEY: 7}))


@given(st.lists(HEADS, min_size=2, max_size=6))
def test_a_remembered_head_changes_nothing(heads: list[bytes]) -> None:
    for head in heads:
        assert seen(HEADS_SEEN.parse(head)) == seen(plain_heads(ApiKeys({KEY: 7})).parse(head))


@given(LENGTHS, LENGTHS, st.sampled_from([b"/v1/events", b"/v1/batch"]))
def test_only_the_length_changes(first: bytes, second: bytes, path: bytes) -> None:
    def head(length: bytes) -> bytes:
        return b"POST %b HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\nContent-Length: %b\r\nAccept: */*" % (
            path,
            KEY.hex().encode(),
            length,
        )

    keys = ApiKeys({KEY: 7})
    remembering = plain_heads(keys)
    remembering.parse(head(first))
    assert seen(remembering.parse(head(second))) == seen(plain_heads(keys).parse(head(second)))


def test_a_removed_key_is_noticed() -> None:
    head = b"POST /v1/events HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\nContent-Length: 5" % KEY.hex().encode()
    lookups = iter([7, 7, None, None])

    class Keys(ApiKeys):
        def lookup(self, key: bytes) -> int | None:
            return next(lookups)

    heads = plain_heads(Keys({}))
    assert heads.parse(head) is not None
    assert heads.parse(head) is not None
    assert heads.parse(head) is None
