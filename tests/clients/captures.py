"""What the packages really sent, to be sent again: one file per exchange, in a directory per client."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

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
