"""A call of another client's protocol, and its outcome. Independent of any HTTP server."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from app.kinds import Kind
from app.submission import RowRefusal


class ClientRequest(msgspec.Struct, frozen=True):
    """A request with its decompressed body.

    parameters: matches of the path's pattern. query, headers: the last value of each name; header names in
        lower case.
    received_ms: ms since the epoch.
    unpack: removes the content encoding of this name, or if it is empty the compression recognised by the
        bytes; within the limit for one body. Raises BodyTooLarge, MalformedBatch.
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

    lines: one JSON object each. numbers: for each row, the 1-based number of its message.
    ids: for each row, the client's own id for the message; empty if it has none.
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
    """The contents of one request body.

    rows: at most one per kind. refused: messages that are refused by themselves, before they become rows.
    key: the API key in the body, None if the protocol has it elsewhere.
    batch_id: the client's id for the whole request; empty if it has none.
    notes: data needed for the family's answer.
    """

    rows: list[Rows] = []
    refused: list[RowRefusal] = []
    key: str | None = None
    batch_id: bytes = b""
    notes: Any = None

    def of(self, kind: Kind) -> Rows:
        """A growing list of rows of a kind."""
        for rows in self.rows:
            if rows.kind is kind:
                return rows
        self.rows.append(Rows(kind))
        return self.rows[-1]

    def refuse(self, number: int, field: str, message: str) -> None:
        self.refused.append(RowRefusal(number, field, message))


class Outcome(msgspec.Struct, frozen=True):
    """The outcome of a request, before the family turns it into its own answer.

    status: as the native calls answer: 202, 207, 400 for all refused, or the status of an error.
    code, message: of the error; empty if there is none.
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
        """Whether all valid messages are durable, and the refused ones are known by number."""
        return not self.code

    @property
    def all_refused(self) -> bool:
        return self.is_receipt and self.rejected > 0 and not self.accepted


class ClientAnswer(msgspec.Struct, frozen=True):
    """headers: in addition to content-type and content-length."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = {}


Read = Callable[[ClientRequest], Document]
Answers = Callable[[Outcome, ClientRequest, Document | None], ClientAnswer]
Fixed = Callable[[ClientRequest], ClientAnswer]
Sniff = Callable[[str, bytes], bool]
"""Called with the content type (lower case, without parameters) and the body."""


class Guide(msgspec.Struct, frozen=True):
    """How to set up a client: a section of docs/clients.md.

    clients: names and versions that were tested. example: the necessary settings, ready to copy.
    """

    clients: str
    key: str
    deduplication: str
    example: str


class Family(msgspec.Struct, frozen=True):
    """One protocol. read: raises RequestError for a body that is not a valid document."""

    name: str
    title: str
    read: Read
    answer: Answers
    guide: Guide


class Call(msgspec.Struct, frozen=True):
    """One path of a family. path: with {names} for parts of it.

    accepts: whether a body belongs to this family, if several share a path; None: any.
    """

    path: str
    family: Family
    methods: tuple[str, ...] = ("POST",)
    accepts: Sniff | None = None


class FixedCall(msgspec.Struct, frozen=True):
    """A path with a fixed answer: probes and configurations."""

    path: str
    answer: Fixed
    methods: tuple[str, ...] = ("GET",)


NAMED_REFUSALS_MAX: Final = 100
"""Refused messages that an answer names one by one, for protocols that do not need all of them."""


def patient_status(status: int, *, over_share: int = 429) -> int:
    """The status that makes a client retry after a refusal because of a full disk or a workspace's share.

    Most clients drop data on 507; some drop data on 429, too: over_share is for those.
    """
    if status == 507:
        return 503
    return over_share if status == 429 else status


def retry_headers(outcome: Outcome) -> dict[str, str]:
    """The Retry-After header, if the outcome has one."""
    return {} if outcome.retry_after_s is None else {"retry-after": str(outcome.retry_after_s)}


def encoded(content: object) -> bytes:
    return msgspec.json.encode(content)


def refusals_of(outcome: Outcome) -> list[dict[str, object]]:
    """For answers that list refusals: number (from 1) and reason of the first refused messages."""
    named = outcome.refusals[:NAMED_REFUSALS_MAX]
    return [{"message": refusal.row, "error": str(refusal)} for refusal in named]


def refused_text(outcome: Outcome) -> str:
    """A one-line summary of refusals; empty if there are none."""
    if not outcome.rejected:
        return ""
    text = f"{outcome.rejected} of {outcome.rejected + outcome.accepted} messages were refused"
    if outcome.refusals:
        text += f"; the first is message {outcome.refusals[0].row}: {outcome.refusals[0]}"
    return text
