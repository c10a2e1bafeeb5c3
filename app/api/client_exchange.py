"""One request of another client's protocol on its way."""

from typing import Final

from starlette.types import Scope

from app.api.auth import Credential
from app.api.charge import Charge
from app.api.content_encoding import encoding_of_bytes, is_encoded
from app.api.error_responses import WORKSPACE_KEY
from app.api.ingest_request import IngestParts
from app.clients.call import Call, ClientRequest, Document

NOBODY: Final = -1
"""The workspace charged for bodies whose key is inside the body, and so not known yet."""


class Exchange:
    """One request on its way: its state so far, and the bytes charged for it."""

    def __init__(self, request: ClientRequest, scope: Scope, request_id: str) -> None:
        self.request = request
        self.request_id = request_id
        self.scope = scope
        self.content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        self.call: Call
        self.document: Document | None = None
        self.credential: Credential | None = None
        self._charge: Charge | None = None

    @property
    def workspace_id(self) -> int:
        return NOBODY if self.credential is None else self.credential.workspace_id

    def is_packed(self, body: bytes) -> bool:
        encoding = self.request.headers.get("content-encoding", "").encode("latin-1")
        return is_encoded(encoding) or bool(encoding_of_bytes(body))

    def hold(self, parts: IngestParts, expected: int, received: int = 0) -> Charge:
        if self.credential is not None:
            self.scope[WORKSPACE_KEY] = self.credential.workspace_id
        self._charge = charge = Charge(parts.admission, self.workspace_id, expected)
        charge.begin(received)
        return charge

    def adopt(self, credential: Credential, charge: Charge) -> None:
        """The key is known, and the body's bytes are charged."""
        self.credential = credential
        self.scope[WORKSPACE_KEY] = credential.workspace_id
        self._charge = charge

    def move(self, parts: IngestParts, credential: Credential) -> None:
        """The key has been found: from now on the bytes are charged to its workspace."""
        charge, before = self._charge, self.workspace_id
        self.credential = credential
        if charge is not None and credential.workspace_id != before:
            charge.end()
            self.hold(parts, charge.held, charge.held)

    def pass_on(self, size: int) -> None:
        """From now on this many bytes are held by the submissions, each until it is answered."""
        assert self._charge is not None, "held since before the body was read"
        self._charge.settle(size)
        self._charge.pass_on()

    def release(self) -> None:
        if self._charge is not None:
            self._charge.end()
