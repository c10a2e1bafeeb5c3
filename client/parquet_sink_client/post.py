"""One HTTP call: a batch out, a verdict back."""

from __future__ import annotations

import gzip
import http.client
import json
import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from parquet_sink_client.batch import Batch

SMALL_BYTES = 512
"""Smaller bodies are sent uncompressed: gzip would not make them smaller."""


@dataclass(frozen=True)
class Refused:
    """Rows that the service will never take. status: of the answer. errors: `{"line", "error"}`, from 1."""

    batch: Batch
    status: int
    message: str
    errors: list[dict[str, Any]] = field(default_factory=list)


class TryAgain(Exception):
    """The batch may be taken later. after_s: when the service wants it, None where it does not say."""

    def __init__(self, why: str, after_s: float | None = None) -> None:
        super().__init__(why)
        self.after_s = after_s


class Poster:
    """Posts batches over one connection that is kept. One thread at a time.

    url: of the service, with an optional path before `/v1`. timeout_s: for one call.
    """

    def __init__(self, url: str, key: str, timeout_s: float, *, compress: bool = True) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("url must be http://host:port or https://host")
        self._parts = parts
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
        self._timeout_s = timeout_s
        self._compress = compress
        self._connection: http.client.HTTPConnection | None = None

    def post(self, batch: Batch) -> Refused | None:
        """Returns when the batch is durable; what is returned was refused for good. Raises TryAgain."""
        body, headers = batch.body, {**self._headers, "Idempotency-Key": batch.batch_id}
        if self._compress and len(body) > SMALL_BYTES:
            body = gzip.compress(body, 6)
            headers["Content-Encoding"] = "gzip"
        try:
            connection = self._connected()
            connection.request("POST", f"{self._parts.path.rstrip('/')}/v1/{batch.kind}", body, headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise TryAgain(str(error) or type(error).__name__) from None
        if response.will_close:
            self.close()
        return _verdict(batch, response.status, response.headers.get("Retry-After"), content)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            host, port = self._parts.hostname or "", self._parts.port
            if self._parts.scheme == "https":
                context = ssl.create_default_context()
                self._connection = http.client.HTTPSConnection(
                    host, port, timeout=self._timeout_s, context=context
                )
            else:
                self._connection = http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        return self._connection


def _verdict(batch: Batch, status: int, retry_after: str | None, content: bytes) -> Refused | None:
    try:
        answer = json.loads(content or b"{}")
    except ValueError:
        answer = {}
    if not isinstance(answer, dict):
        answer = {}
    message = str(answer.get("message", f"the service answered {status}"))
    if status in (200, 202):
        return None
    if status == 207:
        return Refused(batch, status, f"{answer.get('rejected')} rows were refused", answer.get("errors", []))
    if status in (408, 425, 429) or status >= 500:
        after = float(retry_after) if retry_after and retry_after.isdigit() else None
        raise TryAgain(message, after)
    if status in (401, 403, 404):
        # A wrong key or address is mended by whoever runs this; the rows are fine.
        raise TryAgain(message)
    return Refused(batch, status, message, answer.get("errors", []))
