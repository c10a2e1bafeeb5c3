"""Range headers as a table, and against a model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.files.byte_range import ByteRange, NotSatisfiable, matches_strongly, matches_weakly, parse_range


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 100)),
        ("bytes=10-19", (10, 20)),
        ("BYTES= 10-19", (10, 20)),
        ("bytes=10-1000", (10, 100)),
        ("bytes=-8", (92, 100)),
        ("bytes=-1000", (0, 100)),
        ("bytes=99-", (99, 100)),
    ],
)
def test_one_range_is_understood(header, part):
    assert parse_range(header, 100) == ByteRange(*part)


@pytest.mark.parametrize(
    "header",
    ["", "bytes", "bytes=", "bytes=-", "bytes=5-4", "bytes=a-b", "items=0-1", "bytes=0-1,5-6", "bytes=٣-"],
)
def test_what_is_no_single_range_is_ignored(header):
    assert parse_range(header, 100) is None


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=100-", 100), ("bytes=-0", 100), ("bytes=0-", 0), ("bytes=-5", 0)]
)
def test_a_range_behind_the_end_cannot_be_satisfied(header, size):
    with pytest.raises(NotSatisfiable):
        parse_range(header, size)


@given(
    st.text(max_size=40) | st.from_regex(r"bytes=\d{0,25}-\d{0,25}", fullmatch=True), st.integers(0, 1 << 40)
)
def test_a_part_lies_within_the_file(header, size):
    try:
        part = parse_range(header, size)
    except NotSatisfiable:
        return
    assert part is None or 0 <= part.start < part.stop <= size


def test_tags_match_by_the_rules_of_their_header():
    assert matches_weakly('"a", W/"b"', '"b"')
    assert matches_weakly("*", '"b"')
    assert not matches_weakly('"a"', '"b"')
    assert matches_strongly('"a", "b"', '"b"')
    assert not matches_strongly('W/"b"', '"b"')
    assert not matches_strongly("Sun, 22 Nov 2026 10:00:00 GMT", '"b"')
