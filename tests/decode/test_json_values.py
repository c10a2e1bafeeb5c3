"""How single values are read: times, UUIDs and words, alone and in a column with others."""

import uuid

import numpy as np
import pytest
from msgspec import Raw

from app.decode.json.levels import read_levels
from app.decode.json.refusals import ABSENT, NULL, JsonRefusals
from app.decode.json.timestamps import read_timestamps
from app.decode.json.uuids import read_ids
from app.decode.name_based_ids import NAMESPACE
from app.decode.time_range import TimeRange
from app.kinds import LEVELS

NOW = 1_750_000_000_000
ID = "0190a7d6-7c2b-4f4e-9d6b-2f8a5e1c3b47"
ID_BYTES = bytes.fromhex(ID.replace("-", ""))


def times(*texts: str) -> tuple[list[int], JsonRefusals]:
    refusals = JsonRefusals()
    raws = [Raw(text.encode()) for text in texts]
    read = read_timestamps(raws, np.full(len(texts), NOW), refusals, TimeRange())
    return read.tolist(), refusals


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", NOW),
        ("null", NOW),
        ("-0.0", NOW),
        ("0.9", 900),
        ("1", 1000),
        ("1.9", 1900),
        ("1714564800", 1_714_564_800_000),
        ("1714564800.123", 1_714_564_800_123),
        ("100000000000", 100_000_000_000),
        ("1.7e12", 1_700_000_000_000),
        ("1714564800123.9", 1_714_564_800_123),
        ("1714564800123456", 1_714_564_800_123),
        ("1714564800123456789", 1_714_564_800_123),
        ("1714564800123456789.5", 1_714_564_800_123),
        ('"0"', 0),
        ('"1714564800"', 1_714_564_800_000),
        ('"1714564800.5"', 1_714_564_800_500),
        ('"1714564800123456789"', 1_714_564_800_123),
        ('"1970-01-01T00:00:00Z"', 0),
        ('"1970-01-01T00:00:00.001Z"', 1),
        ('"2024-05-01T12:00:00+05:30"', 1_714_545_000_000),
        ('"2024-05-01T12:00:00"', 1_714_564_800_000),
        ('"2024-05-01T12:00:00.5"', 1_714_564_800_500),
        ('"2024-05-01"', 1_714_521_600_000),
        ('"2024-05-01T12:00Z"', 1_714_564_800_000),
        ('"2024-05-01 12:00:00,123"', 1_714_564_800_123),
        ('"2024-05-01 12:00:00 +0200"', 1_714_557_600_000),
        ('"2024-05-01t12:00:00.12z"', 1_714_564_800_120),
        ('"2024-05-01 12:00:00.123999Z"', 1_714_564_800_123),
        ('"2024-05-01T12:00:00.00000000000000000000Z"', 1_714_564_800_000),
        ('"2024-05-01T12:00:00\\u005a"', 1_714_564_800_000),
        ('"2016-12-31T23:59:60Z"', 1_483_228_800_000),
        ('"2016-12-31T23:59:60.5Z"', 1_483_228_800_500),
    ],
)
def test_a_time_is_read(text: str, expected: int) -> None:
    assert times(text) == ([expected], {})
    assert times("5", text, '"2024-05-01T12:00:00Z"')[0][1] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-1", "is 1969-12-31T23:59:59.000Z when read as seconds"),
        ("99999999999", "is 5138-11-16T09:46:39.000Z when read as seconds"),
        ("99999999999999", "read as milliseconds"),
        ('"99999999999999999"', "read as microseconds"),
        ("9223372036854775806", "is 2262-04-11T23:47:16.854Z when read as nanoseconds"),
        ("9223372036854775807", "is 2262-04-11T23:47:16.854Z when read as nanoseconds"),
        ("-9223372036854775808", "when read as nanoseconds"),
        ("9223372036854775808", "out of range"),
        ("-9223372036854775809", "out of range"),
        ("9.3e18", "out of range"),
        ("1e400", "out of range"),
        ("1" * 5000, "out of range"),
        ('"1969-12-31T23:59:59.9999Z"', "read as a written time"),
        ('"9999-12-31T23:59:59Z"', "is 9999-12-31T23:59:59.000Z when"),
        ("true", "must be"),
        ("[1]", "must be"),
        ('"2024-13-01T12:00:00Z"', "must be"),
        ('"2024-02-30T12:00:00Z"', "must be"),
        ('"2024-05-01T24:00:00Z"', "must be"),
        ('"2024-05-01T12:00:61Z"', "must be"),
        ('"0000-01-01T00:00:00Z"', "must be"),
        ('"yesterday"', "must be"),
        ('""', "must be"),
    ],
)
def test_what_is_no_time_is_refused_alone(text: str, message: str) -> None:
    _, refusals = times("1", text, '"2024-05-01T12:00:00Z"')
    assert list(refusals) == [1]
    assert refusals[1][0] == "timestamp"
    assert message in refusals[1][1]


def uuids(
    *texts: Raw | str, from_names: bool = True
) -> tuple[list[bytes | None], JsonRefusals, list[Raw] | None]:
    refusals = JsonRefusals()
    raws = [Raw(f'"{text}"'.encode()) if isinstance(text, str) else text for text in texts]
    ids = read_ids(raws, "id", refusals, from_names=from_names)
    ids.column.validate(full=True)
    return ids.column.to_pylist(), refusals, ids.originals


FORMS = [ID, ID.upper(), ID.replace("-", ""), ID.replace("-", "").upper(), f"{{{ID}}}", f"urn:uuid:{ID}"]


@pytest.mark.parametrize("text", FORMS)
@pytest.mark.parametrize("from_names", [True, False])
def test_a_uuid_is_read_in_each_of_its_forms(text: str, from_names: bool) -> None:
    assert uuids(text, from_names=from_names) == ([ID_BYTES], {}, None)
    assert uuids(ID, text, ID, from_names=from_names) == ([ID_BYTES] * 3, {}, None)
    assert uuids(*FORMS, ABSENT, NULL)[0] == [ID_BYTES] * len(FORMS) + [None] * 2


@pytest.mark.parametrize("nothing", [ABSENT, NULL, ""])
@pytest.mark.parametrize("from_names", [True, False])
def test_a_uuid_may_be_missing(nothing: Raw | str, from_names: bool) -> None:
    assert uuids(nothing, from_names=from_names) == ([None], {}, None)
    assert uuids(*[ID, nothing] * 9, from_names=from_names) == ([ID_BYTES, None] * 9, {}, None)


NO_UUIDS = [
    ID[:-1],
    ID + "0",
    ID[:-1] + "g",
    ID[:-1] + "é",
    ID.replace("-", " "),
    ID[:-2] + "  ",
    ID[1:9] + ID[0] + ID[9:],
    ID.replace("-", "")[:18] + "-" + ID.replace("-", "")[18:] + "---",
    "user 42",
]


@pytest.mark.parametrize("text", NO_UUIDS)
def test_what_is_no_uuid_makes_a_name_based_one_and_is_kept(text: str) -> None:
    raw = Raw(f'"{text}"'.encode())
    assert uuids(ID, raw, ID) == (
        [ID_BYTES, uuid.uuid5(NAMESPACE, text).bytes, ID_BYTES],
        {},
        [ABSENT, raw, ABSENT],
    )


def test_a_number_is_a_name_and_other_values_are_only_kept() -> None:
    given = [Raw(b"42"), Raw(b"true"), Raw(b"[1]"), Raw(b"{}")]
    assert uuids(*given) == ([uuid.uuid5(NAMESPACE, "42").bytes, None, None, None], {}, given)


@pytest.mark.parametrize("text", [*NO_UUIDS, Raw(b"12345678901234567890123456789012345678"), Raw(b"true")])
def test_strictly_what_is_no_uuid_is_refused_alone(text: Raw | str) -> None:
    read, refusals, _ = uuids(ID, text, ID, from_names=False)
    assert read == [ID_BYTES, None, ID_BYTES]
    assert list(refusals) == [1]
    assert "UUID" in refusals[1][1]


def test_the_namespace_is_the_one_of_published_files() -> None:
    assert uuid.uuid5(uuid.NAMESPACE_DNS, "parquet-sink") == NAMESPACE
    assert str(NAMESPACE) == "0c5c03da-d4fc-53a2-9719-256c2d2e172f"


@pytest.mark.parametrize(
    ("word", "level"),
    [
        *((name, name) for name in LEVELS),
        ("EMERG", "emergency"),
        ("Fatal", "critical"),
        ("crit", "critical"),
        ("err", "error"),
        ("WARN", "warning"),
        ("Information", "info"),
    ],
)
def test_a_level_is_known_by_its_name_and_its_aliases_in_any_case(word: str, level: str) -> None:
    refusals = JsonRefusals()
    assert read_levels([Raw(f'"{word}"'.encode())], refusals).to_pylist() == [level]
    assert not refusals


@pytest.mark.parametrize(
    ("number", "level"),
    [
        *((str(number), name) for number, name in enumerate(LEVELS[:8])),
        ("10", "trace"),
        ("20", "debug"),
        ("30", "info"),
        ("40", "warning"),
        ("50", "error"),
        ("60", "critical"),
        ("35", "info"),
        ('"6"', "info"),
        ('"INFO+2"', "info"),
        ('"DEBUG-4"', "debug"),
    ],
)
def test_numbers_of_syslog_and_pino_are_levels(number: str, level: str) -> None:
    refusals = JsonRefusals()
    read = read_levels([Raw(number.encode()), NULL, Raw(b'"error"')], refusals)
    assert read.to_pylist() == [level, "info", "error"]
    assert read_levels([Raw(number.encode())] * 20, refusals).to_pylist() == [level] * 20
    assert not refusals


@pytest.mark.parametrize("level", ["8", "-1", "100", '"loud"', "true", "1e400", '""'])
def test_an_unknown_level_is_refused_alone(level: str) -> None:
    refusals = JsonRefusals()
    read_levels([NULL, Raw(level.encode())], refusals)
    assert list(refusals) == [1]
    assert "pino" in refusals[1][1]
