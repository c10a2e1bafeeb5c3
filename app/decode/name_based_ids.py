"""Ids for names that are not UUIDs: the same name always gives the same id (RFC 9562, version 5)."""

from typing import Final
from uuid import UUID, uuid5

NAMESPACE: Final = UUID("0c5c03da-d4fc-53a2-9719-256c2d2e172f")
"""The version 5 UUID of the DNS name `parquet-sink`. It never changes: ids in published files were made with
it."""


def name_based_id(name: str) -> UUID:
    """The UUID of a name, hashed as UTF-8. Raises UnicodeEncodeError for half a surrogate pair."""
    return uuid5(NAMESPACE, name)
