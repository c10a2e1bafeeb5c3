"""The API key of a request: one key names one workspace."""

from binascii import a2b_base64, unhexlify
from typing import Final, NamedTuple

import msgspec

from app.api.api_keys import ApiKeys
from app.api.headers import RawHeaders
from app.api.query import query_values
from app.errors import Unauthenticated
from app.kinds import ID_BYTES

KEY_HEX_CHARACTERS: Final = 2 * ID_BYTES

HOW_TO_SEND_A_KEY: Final = (
    "send it as `Authorization: Bearer KEY`, as `X-API-Key: KEY`, as the user name of HTTP Basic "
    "with an empty password, or as `?token=KEY`"
)


class Credential(msgspec.Struct, frozen=True, gc=False):
    """api_key: 16 bytes. workspace_id: the workspace that the key belongs to."""

    api_key: bytes
    workspace_id: int


class SentCredential(NamedTuple):
    """A credential as it was sent: where it stood, and its text."""

    place: str
    text: bytes


def authenticate(headers: RawHeaders, query_string: bytes, keys: ApiKeys) -> Credential:
    """The workspace's credential of an ingest request. Raises Unauthenticated.

    headers, query_string: as ASGI has them. The same key may be sent in several places, but not different
    keys.
    """
    key = find_key(headers, query_string)
    if key is None:
        raise Unauthenticated(f"No API key was sent; {HOW_TO_SEND_A_KEY}.")
    return credential_of(key, keys)


def credential_of(key: bytes, keys: ApiKeys) -> Credential:
    """The credential of a 16-byte key. Raises Unauthenticated for an unknown one."""
    workspace_id = keys.lookup(key)
    if workspace_id is None:
        raise Unauthenticated("Unknown API key; check the key, or add it to the service's key file.")
    return Credential(key, workspace_id)


def credential_changed(credential: Credential, keys: ApiKeys) -> bool:
    """Whether its key is gone, or names another workspace now."""
    return keys.lookup(credential.api_key) != credential.workspace_id


def find_key(headers: RawHeaders, query_string: bytes = b"") -> bytes | None:
    """The 16-byte key that a request carries, None if it carries none.

    Raises Unauthenticated for a malformed key, and for two different keys.
    """
    found: bytes | None = None
    for name, value in headers:
        if name == b"authorization":
            sent = of_authorization(value)
        elif name == b"x-api-key":
            sent = SentCredential("X-API-Key", value.strip())
        else:
            continue
        found = _same_key(found, _key(sent))
    if b"token=" in query_string:
        for sent in of_query(query_string):
            found = _same_key(found, _key(sent))
    return found


def parse_key(text: bytes) -> bytes | None:
    """The 16 bytes of exactly 32 hex characters in either case, None for anything else."""
    if len(text) != KEY_HEX_CHARACTERS:
        return None
    try:
        return unhexlify(text)
    except ValueError:
        return None


def _same_key(found: bytes | None, key: bytes) -> bytes:
    if found is not None and found != key:
        raise Unauthenticated("Two different API keys were sent; send only one.")
    return key


def _key(sent: SentCredential) -> bytes:
    key = parse_key(sent.text)
    if key is None:
        raise Unauthenticated(
            f"{sent.place}: an API key has exactly {KEY_HEX_CHARACTERS} hex characters; {HOW_TO_SEND_A_KEY}."
        )
    return key


def of_authorization(value: bytes) -> SentCredential:
    """The key in an Authorization header; empty if it cannot be a key."""
    scheme, _, text = value.strip().partition(b" ")
    scheme = scheme.lower()
    if scheme == b"bearer":
        return SentCredential("Authorization: Bearer", text.strip())
    if scheme == b"basic":
        user, password = basic(text)
        # A password is not part of a key: refuse it, rather than take a key that was not meant as one.
        return SentCredential("Authorization: Basic", user if not password else b"")
    return SentCredential("Authorization", b"")


def basic(text: bytes) -> tuple[bytes, bytes]:
    """User name and password of HTTP Basic, both empty if it is not valid base64."""
    try:
        user, _, password = a2b_base64(text.strip(), strict_mode=True).partition(b":")
    except ValueError:
        return b"", b""
    return user, password


def of_query(query_string: bytes) -> list[SentCredential]:
    """The values of `token` in a query string."""
    return [SentCredential("?token=", value) for value in query_values(query_string, b"token")]
