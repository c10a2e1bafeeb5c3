"""Values of columns, as pages write them."""

import datetime
import uuid
from html import escape
from ipaddress import IPv6Address
from typing import Any, Final

import orjson

from app.api.pages.words import utc_time

CHARACTERS_MAX: Final = 300
"""The most characters shown in one cell."""

TIMES: Final = frozenset({"timestamp", "batch_timestamp"})
IDS: Final = frozenset({"device_id", "session_id"})
ID_BYTES: Final = 16


def stored_text(name: str, value: Any) -> str:
    """The text of a value from a data file, whose bytes are interpreted by the column `name`."""
    if name in TIMES and isinstance(value, int):
        return utc_time(value)
    if name in TIMES and isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, bytes) and len(value) == ID_BYTES and name in IDS:
        return str(uuid.UUID(bytes=value))
    if isinstance(value, bytes) and len(value) == ID_BYTES and name == "source_ip":
        address = IPv6Address(value)
        return str(address.ipv4_mapped or address)
    return plain_text(value)


def plain_text(value: Any) -> str:
    """The text of any value."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ", "milliseconds" if value.microsecond else "seconds").replace("+00:00", "")
    if isinstance(value, dict | list):
        return orjson.dumps(value, default=plain_text, option=orjson.OPT_NON_STR_KEYS).decode()
    return str(value)


def cell(text: str) -> str:
    """HTML of the value, truncated."""
    return escape(text if len(text) <= CHARACTERS_MAX else text[: CHARACTERS_MAX - 1] + "…")
