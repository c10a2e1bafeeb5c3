"""The API key of a call of another client's protocol: each protocol has its own place for it."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Final

from app.api.api_keys import ApiKeys
from app.api.auth import KEY_HEX_CHARACTERS, Credential, SentCredential, basic, credential_of, parse_key
from app.errors import Unauthenticated

HYPHENATED_CHARACTERS: Final = 36
"""Length of a key written as a UUID, like Splunk's tokens."""

_SCHEMES: Final = frozenset({"bearer", "splunk", "apikey", "token", "key"})
_HEADERS: Final = ("x-api-key", "x-write-key", "x-amz-firehose-access-key", "api-key")
_PARAMETERS: Final = ("token", "writeKey", "write_key", "api_key")


def client_credential(
    headers: Mapping[str, str], query: Mapping[str, str], in_body: str | None, keys: ApiKeys
) -> Credential | None:
    """The credential of a request, None if it has no key at all.

    in_body: the key in the document. Raises Unauthenticated for a malformed key, an unknown key, and two
    different keys.
    """
    found: bytes | None = None
    wrong: SentCredential | None = None
    for sent in _sent(headers, query, in_body):
        key = _key(sent.text)
        if key is None:
            wrong = wrong or sent
        elif found is not None and found != key:
            raise Unauthenticated("Two different API keys were sent; send only one.")
        else:
            found = key
    if found is not None:
        return credential_of(found, keys)
    if wrong is not None:
        raise Unauthenticated(
            f"{wrong.place}: an API key has exactly {KEY_HEX_CHARACTERS} hex characters; docs/clients.md "
            "says where to put it in each client."
        )
    return None


def _key(text: bytes) -> bytes | None:
    text = text.strip()
    if len(text) == HYPHENATED_CHARACTERS:
        text = text.replace(b"-", b"")
    return parse_key(text)


def _sent(
    headers: Mapping[str, str], query: Mapping[str, str], in_body: str | None
) -> Iterator[SentCredential]:
    if authorization := headers.get("authorization"):
        yield from _of_authorization(authorization.strip())
    for name in _HEADERS:
        if value := headers.get(name):
            yield SentCredential(name, value.partition(":")[0].encode("latin-1"))
    for name in _PARAMETERS:
        if value := query.get(name):
            yield SentCredential(f"?{name}", value.partition(":")[0].encode("utf-8", "replace"))
    if in_body is not None:
        yield SentCredential("the body", in_body.encode("utf-8", "replace"))


def _of_authorization(value: str) -> Iterator[SentCredential]:
    scheme, _, text = value.partition(" ")
    raw = text.strip().encode("latin-1", "replace")
    place = f"Authorization: {scheme[:20]}"
    scheme = scheme.lower()
    if scheme == "basic":
        user, password = basic(raw)
        # Agents that insist on a user name of their own have the key as the password.
        yield SentCredential(place, password if _key(user) is None and _key(password) is not None else user)
    elif scheme == "apikey" and _key(raw) is None:
        yield SentCredential(place, _of_api_key(raw))
    elif scheme in _SCHEMES:
        yield SentCredential(place, raw)
    else:
        yield SentCredential("Authorization", b"")


def _of_api_key(text: bytes) -> bytes:
    """The key in `base64(id:key)`, on either side of the colon."""
    try:
        name, _, key = base64.b64decode(text, validate=True).partition(b":")
    except binascii.Error:
        return b""
    return name if _key(name) is not None else key
