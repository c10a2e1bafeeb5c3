"""Sizes and durations as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.settings.quantities import format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0B", 0),
        ("512", 512),
        ("10MB", 10**7),
        ("10 mb", 10**7),
        ("1.5KiB", 1536),
        ("1_000KB", 10**6),
        (7, 7),
    ],
)
def test_sizes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("60s", 60), ("1.5m", 90), ("1h", 3600), ("1 d", 86400)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "value", ["", "MB", "10XB", "-1MB", "1e3B", "10 M B", "\N{FULLWIDTH DIGIT ONE}B", True, None, 1.5, []]
)
def test_what_is_not_a_size_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(value)


@pytest.mark.parametrize("value", ["", "s", "60", 60, 60.0, "-1s", "1 week", True, None])
def test_what_is_not_a_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(value)


@given(st.integers(0, 2**63 - 1))
def test_a_size_reads_back_from_its_text(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(0, 10**10))
def test_a_duration_reads_back_from_its_text(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


@given(st.text())
def test_any_text_is_a_quantity_or_refused(text: str) -> None:
    for parse in (parse_size, parse_duration):
        try:
            assert parse(text) >= 0
        except ValueError as error:
            assert str(error).startswith(('"', "'"))  # noqa: PT017 - most texts must be refused, some are right


@given(st.text("0123456789", min_size=30, max_size=400))
def test_a_number_beyond_all_disks_and_times_is_refused(digits: str) -> None:
    for parse, unit in ((parse_size, "B"), (parse_duration, "d")):
        with pytest.raises(ValueError, match="is not a"):
            parse("1" + digits + unit)
