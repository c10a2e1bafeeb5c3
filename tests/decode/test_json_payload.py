"""valid_json agrees with the standard library's strict reading, value by value."""

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given, settings

from app.decode.flatbuffer.json_payload import valid_json, why_not_json
from tests.support.flatbuffer_oracle import is_json

fragments = st.lists(
    st.sampled_from(
        [
            *(bytes([c]) for c in b'{}[]",:\\ \t\n\r\x00\x7f0123456789-+.eEtrufalsn/'),
            *(b"true", b"false", b"null", b'"a"', b'"a":', b"\\u0041", b"\\ud83d", b"\\ude00", b"NaN"),
            *(
                "é".encode(),
                b"\xff",
                b"\xc3",
                b"\xa9",
                b"\xed\xa0\x80",
                b"\xef\xbb\xbf",
                b"Infinity",
                b"1e999",
            ),
        ]
    ),
    max_size=12,
).map(b"".join)
documents = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A JSON text with one byte replaced, dropped or doubled - or none."""
    import json

    text = json.dumps(draw(documents), ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    at = draw(st.integers(0, len(text) - 1))
    how = draw(st.integers(0, 3))
    replaced = [bytes([draw(st.integers(0, 255))]), b"", text[at : at + 1] * 2, text[at : at + 1]][how]
    return text[:at] + replaced + text[at + 1 :]


@settings(max_examples=600, deadline=None)
@given(st.lists(st.one_of(fragments, damaged()), max_size=12))
def test_payloads_are_judged_as_the_standard_library_judges_them(payloads: list[bytes]) -> None:
    expected = [is_json(payload) for payload in payloads]
    assert valid_json(pa.array(payloads, pa.binary())).tolist() == expected


@settings(max_examples=600, deadline=None)
@given(st.lists(fragments.map(lambda inner: b"{" + inner + b"}"), min_size=1, max_size=4))
def test_payloads_in_braces_are_judged_one_by_one(payloads: list[bytes]) -> None:
    assert valid_json(pa.array(payloads, pa.binary())).tolist() == [is_json(each) for each in payloads]


@pytest.mark.parametrize(
    "payloads",
    [
        [b'{"a":[{}', b"{}]}", b"{}{}"],
        [b'{"a":{}', b'{"b":{}}', b"{}{}"],
        [b'{"a":"}', b'{"}', b"{}{}"],
        [b'{"a":"}', b'{"}', b"{} {}"],
        [b'{"a":"\\}', b'{"}', b"{}\n{}"],
        [b"{}{}", b"{"],
        [b"{}\n{}", b"}"],
        [b"1,2", b"3"],
        [b"[1", b"2]"],
        [b"1 [", b"]"],
        [b'{"a":1', b'"b":2}'],
        [b'"', b'"'],
        [b"", b""],
        [b'"\xc3', b'\xa9"'],
        [b" ", b"\n"],
    ],
)
def test_payloads_cannot_lean_on_each_other(payloads: list[bytes]) -> None:
    within = [b"{}", *payloads, b"{}"]
    valid = valid_json(pa.array(within, pa.binary())).tolist()
    assert valid[0]
    assert valid[-1]
    assert valid[1:-1] == [is_json(payload) for payload in payloads]
    assert not all(valid)


def test_a_slice_is_judged_by_its_own_payloads() -> None:
    column = pa.array([b"{", b"1", b"}", b"2"], pa.binary())
    assert valid_json(column.slice(1, 2)).tolist() == [True, False]


def test_null_is_no_payload() -> None:
    assert valid_json(pa.array([b"1", None, b"2"], pa.binary())).tolist() == [True, False, True]


def test_nothing_is_asked_of_no_payloads() -> None:
    assert valid_json(pa.array([], pa.binary())).tolist() == []


def test_deep_nesting_is_not_valid() -> None:
    payloads = [b"[]", b"[" * 1_000_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b"{}"]
    assert valid_json(pa.array(payloads, pa.binary())).tolist() == [True, False, False, True]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "empty"),
        (b"[" * 100_000, "nested too deeply"),
        (b'"\xff"', "not UTF-8 (byte 1)"),
        (b"{nope", "byte 1"),
        (b'"\\udc00 alone"', "surrogate"),
        (b"NaN", "byte 0"),
    ],
)
def test_the_reason_says_what_is_wrong_and_where(payload: bytes, reason: str) -> None:
    assert not is_json(payload)
    assert reason in why_not_json(payload)
