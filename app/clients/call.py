"""A call of another client's protocol, and what becomes of it. Nothing here knows an HTTP server."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from app.kinds import Kind
from app.submission import RowRefusal


class ClientRequest(msgspec.Struct, frozen=True):
    """A request, its body unpacked.

    parameters: what the path's pattern found. query, headers: the last of each name counts; names of headers
        in lower case.
    received_ms: ms since the epoch.
    unpack: undoes the content encoding of this name, or where it is empty the compression that the bytes
        themselves show; within the limit for one body. Raises BodyTooLarge, MalformedBatch.
    """

    method: str
    path: str
    parameters: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    received_ms: int
    unpack: Callable[[bytes, str], bytes]
    body: bytes = b""


class Rows(msgspec.Struct):
    """Messages of one kind as rows in the native JSON format.

    lines: one JSON object each. numbers: of each row, the 1-based number of the message it was made of.
    ids: of each row, the client's own id for the message; empty where it has none.
    """

    kind: Kind
    lines: list[bytes] = []
    numbers: list[int] = []
    ids: list[bytes] = []

    def add(self, number: int, line: bytes, message_id: bytes = b"") -> None:
        self.lines.append(line)
        self.numbers.append(number)
        self.ids.append(message_id)


class Document(msgspec.Struct):
    """What one request body holds.

    rows: at most one a kind. refused: messages that are refused alone, whatever their rows would be.
    key: the API key that stands in the body, None where the protocol has it elsewhere.
    batch_id: the client's name for the whole request, where it has one; empty where it has none.
    notes: what the family's answer needs to know of it.
    """

    rows: list[Rows] = []
    refused: list[RowRefusal] = []
    key: str | None = None
    batch_id: bytes = b""
    notes: Any = None

    def of(self, kind: Kind) -> Rows:
        """The rows of a kind, to be added to."""
        for rows in self.rows:
            if rows.kind is kind:
                return rows
        self.rows.append(Rows(kind))
        return self.rows[-1]

    def refuse(self, number: int, field: str, message: str) -> None:
        self.refused.append(RowRefusal(number, field, message))


class Outcome(msgspec.Struct, frozen=True):
    """What became of a request, before the family says it in its own words.

    status: as the native calls answer: 202, 207, 400 for all refused, or the status of an error.
    code, message: of the error; empty where there is none.
    refusals: of single messages, by their number.
    """

    status: int
    code: str = ""
    message: str = ""
    retry_after_s: int | None = None
    accepted: int = 0
    rejected: int = 0
    refusals: Sequence[RowRefusal] = ()

    @property
    def is_receipt(self) -> bool:
        """Whether all that could be read is durable, and what is refused is known by its number."""
        return not self.code

    @property
    def all_refused(self) -> bool:
        return self.is_receipt and self.rejected > 0 and not self.accepted


class ClientAnswer(msgspec.Struct, frozen=True):
    """headers: beside content-type and content-length."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = {}


Read = Callable[[ClientRequest], Document]
Answers = Callable[[Outcome, ClientRequest, Document | None], ClientAnswer]
Fixed = Callable[[ClientRequest], ClientAnswer]
Sniff = Callable[[str, bytes], bool]
"""Told content type (lower case, without parameters) and body."""


class Guide(msgspec.Struct, frozen=True):
    """What a person needs to know to point a client here: a section of docs/clients.md.

    clients: names and versions that were tried. example: what to change, ready to copy.
    """

    clients: str
    key: str
    deduplication: str
    example: str


class Family(msgspec.Struct, frozen=True):
    """One protocol. read: raises RequestError for a body that is no document at all."""

    name: str
    title: str
    read: Read
    answer: Answers
    guide: Guide


class Call(msgspec.Struct, frozen=True):
    """One path of a family. path: with {names} for parts of it.

    accepts: whether a body is of this family, where several share a path; None: any.
    """

    path: str
    family: Family
    methods: tuple[str, ...] = ("POST",)
    accepts: Sniff | None = None


class FixedCall(msgspec.Struct, frozen=True):
    """A path whose answer does not depend on what is stored: probes and configurations."""

    path: str
    answer: Fixed
    methods: tuple[str, ...] = ("GET",)


NAMED_REFUSALS_MAX: Final = 100
"""Refused messages that an answer names one by one, where nobody needs all of them."""


def patient_status(status: int, *, over_share: int = 429) -> int:
    """The status that makes a client send again what a full disk or too much of one workspace refused.

    Most clients drop what is answered 507; some drop what is answered 429, too: over_share for those.
    """
    if status == 507:
        return 503
    return over_share if status == 429 else status


def retry_headers(outcome: Outcome) -> dict[str, str]:
    """Retry-After, where the outcome has it."""
    return {} if outcome.retry_after_s is None else {"retry-after": str(outcome.retry_after_s)}


def encoded(content: object) -> bytes:
    return msgspec.json.encode(content)


def refusals_of(outcome: Outcome) -> list[dict[str, object]]:
    """For answers that list what was refused: message number (from 1) and why, the first of them."""
    named = outcome.refusals[:NAMED_REFUSALS_MAX]
    return [{"message": refusal.row, "error": str(refusal)} for refusal in named]


def refused_text(outcome: Outcome) -> str:
    """One line on what was refused; empty for nothing."""
    if not outcome.rejected:
        return ""
    text = f"{outcome.rejected} of {outcome.rejected + outcome.accepted} messages were refused"
    if outcome.refusals:
        text += f"; the first is message {outcome.refusals[0].row}: {outcome.refusals[0]}"
    return text
