"""Sends a batch until it gets a final answer."""

import hashlib
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

import orjson

from app.decode.json.decode import decode_json
from app.kinds import ID_BYTES, Kind
from app.load.connection import Answered, Connection, NotReached
from app.load.policy import Batch, CannotLoad, LoadPolicy, RefusedRow
from app.load.tally import LoadTally
from app.submission import DecodePolicy, Submission, WireFormat

PAUSE_FIRST_S: Final = 0.2
PAUSE_MAX_S: Final = 10.0

AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504, 507})

NOT_NAMED: Final = "refused; the service gives reasons only for the first refused rows of a batch"


class LoadStopped(Exception):
    """The load should stop."""


class BatchSender:
    """Sends batches over one connection. stop: set when the load should stop."""

    def __init__(
        self, connection: Connection, kind: Kind, policy: LoadPolicy, tally: LoadTally, stop: threading.Event
    ) -> None:
        self._connection = connection
        self._kind = kind
        self._policy = policy
        self._tally = tally
        self._stop = stop

    def send(self, batch: Batch) -> None:
        """Returns when each of its rows is stored or refused. Raises CannotLoad, Stopped."""
        answer = self._answer(batch)
        if answer.status == 413:
            self._send_halves(batch, _error(answer))
            return
        if answer.status not in (200, 202, 207, 400, 409):
            raise CannotLoad(f"{self._connection.url} answers {answer.status}: {_error(answer)}")
        content = _json(answer)
        errors: Sequence[dict[str, Any]] = content.get("errors", [])
        if (answer.status == 400 and not errors) or answer.status == 409:
            errors = [{"line": line, "error": _error(answer)} for line in range(1, batch.lines + 1)]
        rejected = int(content.get("rejected", len(errors)))
        self._refuse(batch, errors, rejected)
        accepted = int(content.get("accepted", 0))
        self._tally.stored(accepted, before=bool(content.get("duplicate")), size=batch.size)

    def _answer(self, batch: Batch) -> Answered:
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": batch_id(batch)}
        began, pause = time.monotonic(), PAUSE_FIRST_S
        while not self._stop.is_set():
            wait: float | None = None
            try:
                answer = self._connection.call("POST", f"/v1/{self._kind.value}", batch.body, headers)
                if answer.status not in AGAIN:
                    return answer
                why = f"{answer.status}: {_error(answer)}"
                text = answer.headers.get("retry-after", "")
                wait = float(text) if text.isdigit() else None
            except NotReached as error:
                why = str(error)
            if time.monotonic() - began > self._policy.patience_s:
                raise CannotLoad(f"given up after {self._policy.patience_s:g} seconds: {why}")
            self._stop.wait(pause if wait is None else wait)
            pause = min(2 * pause, PAUSE_MAX_S)
        raise LoadStopped

    def _send_halves(self, batch: Batch, why: str) -> None:
        lines = batch.body.split(b"\n")[: batch.lines]
        if batch.lines == 1:
            self._tally.refuse(RefusedRow(batch.source, batch.first, why, lines[0]))
            return
        middle = batch.lines // 2
        for first, some, size in ((0, lines[:middle], batch.size), (middle, lines[middle:], 0)):
            body = b"\n".join(some) + b"\n"
            if not body.isspace():
                self.send(Batch(batch.source, batch.identity, batch.first + first, len(some), body, size))

    def _refuse(self, batch: Batch, errors: Sequence[dict[str, Any]], rejected: int) -> None:
        if not rejected:
            return
        lines = batch.body.split(b"\n")
        named = {int(error["line"]): str(error["error"]) for error in errors}
        if len(named) < rejected:
            named = _all_named(batch, self._kind, named, rejected)
        for line, reason in named.items():
            self._tally.refuse(RefusedRow(batch.source, batch.first + line - 1, reason, lines[line - 1]))
        for _ in range(rejected - len(named)):
            self._tally.refuse(RefusedRow(batch.source, batch.first, NOT_NAMED, b""))


def batch_id(batch: Batch) -> str:
    """The batch id: the same for the same rows at the same position of the same file."""
    digest = hashlib.blake2b(f"{batch.identity}\0{batch.first}\0".encode(), digest_size=16)
    digest.update(batch.body)
    return digest.hexdigest()


def _all_named(batch: Batch, kind: Kind, named: dict[int, str], rejected: int) -> dict[int, str]:
    """The service names only the first refused rows; its decoder, run here, names all of them.

    If the service is configured differently, so that the results disagree, the rows named by the service are
    used.
    """
    submission = Submission(
        WireFormat.JSON, kind, batch.body, bytes(ID_BYTES), 0, bytes(16), time.time_ns() // 1_000_000
    )
    decoded = decode_json([submission], DecodePolicy(max_reported_refusals=batch.lines))
    found = {refusal.row: str(refusal) for refusal in decoded.verdicts[0].refusals}
    agrees = len(found) == rejected and named.keys() <= found.keys()
    return {**found, **named} if agrees else named


def _json(answer: Answered) -> dict[str, Any]:
    try:
        content = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        content = None
    return content if isinstance(content, dict) else {}


def _error(answer: Answered) -> str:
    text = answer.content[:200].decode("utf-8", "replace").strip()
    return str(_json(answer).get("message") or text or "without a word")
