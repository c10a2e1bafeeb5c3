"""Heads that differ only in their length are parsed once, and read like any other head."""

from hypothesis import given
from hypothesis import strategies as st

from app.api.api_keys import ApiKeys
from app.api.connection.plain_heads import PlainHeads
from app.api.ingest_request import INGEST_CALLS

KEY = bytes.fromhex("f1e2d3c4b5a69788796a5b4c3d2e1f00")
CALLS = {call.path.encode(): call for call in INGEST_CALLS}

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
            b"",
        ]
    ),
)
HEADS = st.builds(
    lambda path, lines: b"\r\n".join(
        [b"POST " + path + b" HTTP/1.1", b"X-API-Key: " + KEY.hex().encode(), *lines]
    ),
    st.sampled_from([b"/v1/events", b"/v1/ingest", b"/v1/events?a=content-length:5"]),
    st.lists(LINES, max_size=5),
)


@given(st.lists(HEADS, min_size=2, max_size=6))
def test_a_remembered_head_changes_nothing(heads: list[bytes]) -> None:
    keys = ApiKeys({KEY: 7})
    remembering = PlainHeads(CALLS, keys)
    for head in heads:
        assert remembering.parse(head) == PlainHeads(CALLS, keys).parse(head)


@given(LENGTHS, LENGTHS)
def test_only_the_length_changes(first: bytes, second: bytes) -> None:
    def head(length: bytes) -> bytes:
        return (
            b"POST /v1/events HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\nContent-Length: %b\r\nAccept: */*"
            % (KEY.hex().encode(), length)
        )

    keys = ApiKeys({KEY: 7})
    remembering = PlainHeads(CALLS, keys)
    remembering.parse(head(first))
    assert remembering.parse(head(second)) == PlainHeads(CALLS, keys).parse(head(second))


def test_a_removed_key_is_noticed() -> None:
    head = b"POST /v1/events HTTP/1.1\r\nHost: a\r\nX-API-Key: %b\r\nContent-Length: 5" % KEY.hex().encode()
    lookups = iter([7, 7, None, None])

    class Keys(ApiKeys):
        def lookup(self, key: bytes) -> int | None:
            return next(lookups)

    heads = PlainHeads(CALLS, Keys({}))
    assert heads.parse(head) is not None
    assert heads.parse(head) is not None
    assert heads.parse(head) is None
