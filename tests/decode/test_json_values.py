"""How single values are read: times, UUIDs and words, alone and in a column with others."""

import numpy as np
import pytest
from msgspec import Raw

from app.decode.json.logs import log_columns
from app.decode.json.refusals import ABSENT, NULL, Refusals
from app.decode.json.timestamps import read_timestamps
from app.decode.json.uuids import read_uuids
from app.kinds import LEVELS

NOW = 1_750_000_000_000
ID = "0190a7d6-7c2b-4f4e-9d6b-2f8a5e1c3b47"
ID_BYTES = bytes.fromhex(ID.replace("-", ""))


def times(*texts: str) -> tuple[list[int], Refusals]:
    refusals = Refusals()
    read = read_timestamps([Raw(text.encode()) for text in texts], np.full(len(texts), NOW), refusals)
    return read.tolist(), refusals


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", NOW),
        ("null", NOW),
        ("-0.0", NOW),
        ("0.9", NOW),
        ("1", 1),
        ("-1", -1),
        ("1.9", 1),
        ("-1.9", -1),
        ("1.7e12", 1_700_000_000_000),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ('"1970-01-01T00:00:00Z"', NOW),
        ('"1970-01-01T00:00:00.001Z"', 1),
        ('"1969-12-31T23:59:59.9999Z"', -1),
        ('"2024-05-01T12:00:00+05:30"', 1_714_545_000_000),
        ('"2024-05-01t12:00:00.12z"', 1_714_564_800_120),
        ('"2024-05-01 12:00:00.123999Z"', 1_714_564_800_123),
        ('"2024-05-01T12:00:00.00000000000000000000Z"', 1_714_564_800_000),
        ('"2024-05-01T12:00:00\\u005a"', 1_714_564_800_000),
        ('"9999-12-31T23:59:59Z"', 253_402_300_799_000),
        ('"0001-01-01T00:00:00Z"', -62_135_596_800_000),
    ],
)
def test_a_time_is_read(text: str, expected: int) -> None:
    assert times(text) == ([expected], {})
    assert times("5", text, '"2024-05-01T12:00:00Z"')[0][1] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9223372036854775808", "out of range"),
        ("-9223372036854775809", "out of range"),
        ("9.3e18", "out of range"),
        ("1e400", "out of range"),
        ("1" * 5000, "out of range"),
        ("true", "must be"),
        ("[1]", "must be"),
        ('"1700000000000"', "must be"),
        ('"2024-05-01"', "must be"),
        ('"2024-05-01T12:00:00"', "with an offset"),
        ('"2024-13-01T12:00:00Z"', "must be"),
        ('"2024-02-30T12:00:00Z"', "must be"),
        ('"2024-05-01T24:00:00Z"', "must be"),
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


def uuids(*texts: Raw | str, required: bool = False) -> tuple[list[bytes | None], Refusals]:
    refusals = Refusals()
    raws = [Raw(f'"{text}"'.encode()) if isinstance(text, str) else text for text in texts]
    read = read_uuids(raws, "id", refusals, required=required)
    read.validate(full=True)
    return read.to_pylist(), refusals


@pytest.mark.parametrize("text", [ID, ID.upper(), ID.replace("-", ""), ID.replace("-", "").upper()])
@pytest.mark.parametrize("required", [True, False])
def test_a_uuid_is_read_in_each_of_its_forms(text: str, required: bool) -> None:
    assert uuids(text, required=required) == ([ID_BYTES], {})
    assert uuids(ID, text, ID, required=required) == ([ID_BYTES] * 3, {})


@pytest.mark.parametrize("nothing", [ABSENT, NULL, ""])
def test_an_optional_uuid_may_be_missing(nothing: Raw | str) -> None:
    assert uuids(nothing) == ([None], {})
    assert uuids(*[ID, nothing] * 9) == ([ID_BYTES, None] * 9, {})


@pytest.mark.parametrize("nothing", [ABSENT, NULL, ""])
def test_a_required_uuid_may_not(nothing: Raw | str) -> None:
    assert list(uuids(nothing, required=True)[1]) == [0]
    assert list(uuids(ID, nothing, ID, required=True)[1]) == [1]


@pytest.mark.parametrize(
    "text",
    [
        ID[:-1],
        ID + "0",
        "{" + ID + "}",
        "urn:uuid:" + ID,
        ID[:-1] + "g",
        ID[:-1] + "é",
        ID.replace("-", " "),
        ID[:-2] + "  ",
        ID[1:9] + ID[0] + ID[9:],
        ID.replace("-", "")[:18] + "-" + ID.replace("-", "")[18:] + "---",
        Raw(b"12345678901234567890123456789012345678"),
        Raw(b'["0190a7d6-7c2b-4f4e-9d6b-2f8a5e1c3b"]'),
        Raw(b"true"),
    ],
)
@pytest.mark.parametrize("required", [True, False])
def test_what_is_no_uuid_is_refused_alone(text: Raw | str, required: bool) -> None:
    read, refusals = uuids(ID, text, ID, required=required)
    assert read == [ID_BYTES, None, ID_BYTES]
    assert list(refusals) == [1]
    assert "UUID" in refusals[1][1]


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
    texts = {key: [NULL] for key in ("timestamp", "source", "service", "type")}
    texts |= {
        "message": [Raw(b'"m"')],
        "level": [Raw(f'"{word}"'.encode())],
        "session_id": [ABSENT],
        "data": [ABSENT],
    }
    refusals = Refusals()
    assert log_columns(texts, [None], np.array([NOW]), refusals)["level"].to_pylist() == [level]
    assert not refusals
