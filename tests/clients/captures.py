"""What the packages really sent, to be sent again: one file per exchange, in a directory per client."""

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

import httpx
import msgspec

DIRECTORY: Final = Path(__file__).parent / "captures"
KEY: Final = "000102030405060708090a0b0c0d0e0f"
"""With which all of them were recorded: the key of workspace 1 in the tests."""

_OF_THE_CONNECTION: Final = frozenset({"host", "content-length", "transfer-encoding", "connection"})


class Capture(msgspec.Struct, frozen=True):
    """One request. name: client and number. decoded: its body to read, as the recorder understood it."""

    name: str
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    decoded: Any

    def post(self, http: httpx.Client) -> httpx.Response:
        return http.request(self.method, self.target, headers=self.headers, content=self.body)


def captures(client: str) -> Iterator[Capture]:
    """All exchanges of one client, in order."""
    for path in sorted((DIRECTORY / client).glob("*.json")):
        recorded = json.loads(path.read_text("utf-8"))
        method, target, _ = recorded["request_line"].split(" ")
        headers = [
            (name, value) for name, value in recorded["headers"] if name.lower() not in _OF_THE_CONNECTION
        ]
        body = base64.b64decode(recorded["body_base64"] or "")
        yield Capture(f"{client}/{path.stem}", method, target, headers, body, recorded["decoded"])


def clients() -> list[str]:
    return sorted(path.name for path in DIRECTORY.iterdir())


def with_key(capture: Capture, key: str) -> Capture:
    """The same request with another key, wherever the recorded one stood: body, compression and all."""
    body = _with_key(capture.body, key)
    headers = [(name, _text_with_key(value, key)) for name, value in capture.headers]
    return msgspec.structs.replace(
        capture, body=body, headers=headers, target=capture.target.replace(KEY, key)
    )


def _with_key(body: bytes, key: str) -> bytes:
    if body.startswith(b"\x1f\x8b"):
        return gzip.compress(gzip.decompress(body).replace(KEY.encode(), key.encode()))
    if body.startswith(b"data="):
        decoded = base64.b64decode(unquote_to_bytes(body[5:]))
        return b"data=" + quote(base64.b64encode(decoded.replace(KEY.encode(), key.encode()))).encode()
    return body.replace(KEY.encode(), key.encode())


def _text_with_key(value: str, key: str) -> str:
    scheme, _, text = value.partition(" ")
    if scheme == "Basic":
        user = base64.b64decode(text).replace(KEY.encode(), key.encode())
        return f"Basic {base64.b64encode(user).decode()}"
    return value.replace(KEY, key)
