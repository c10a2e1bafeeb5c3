"""Device and session ids of clients that may be any text: UUIDs are kept, other names become name-based
UUIDs."""

import re
from typing import Final

from msgspec import Raw

from app.clients.lenient_json import text_of
from app.decode.name_based_ids import name_based_id

_QUOTED: Final = re.compile(rb'"(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12})"')
_UUID: Final = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


def is_uuid(text: str) -> bool:
    return _UUID.fullmatch(text) is not None


def id_member(value: Raw | None) -> tuple[bytes | None, bool]:
    """The JSON text of an id, None if there is none; and whether the value itself was a UUID."""
    if value is None:
        return None, False
    raw = bytes(value)
    if _QUOTED.fullmatch(raw):
        return raw, True
    text = text_of(value)
    if text is None:
        return None, False
    return named(text), False


def named(text: str) -> bytes:
    """The JSON text of a name's UUID."""
    return b'"%s"' % str(name_based_id(text)).encode()


def uuid_or_named(text: str) -> bytes:
    return b'"%s"' % text.encode() if is_uuid(text) else named(text)
