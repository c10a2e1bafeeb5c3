"""What a question may cost, and what it is asked of."""

from collections.abc import Mapping, Sequence

import msgspec

from app.kinds import Kind
from app.object_store.policy import StorePolicy
from app.parquet.promotion import Promotion
from app.query.snapshot import Selection


class QueryPolicy(msgspec.Struct, frozen=True):
    """Of one question, its process included. timeout_s: until its answer is complete, once it is its turn.

    memory_bytes: what DuckDB may hold. rows_max, result_bytes: of an answer. threads: of one process.
    concurrent: processes at a time. waiting: questions that wait for their turn, each at most wait_s.
    nice: added to the priority of the service, up to 19; the more the lower.
    """

    timeout_s: float
    memory_bytes: int
    rows_max: int
    result_bytes: int
    threads: int
    concurrent: int
    waiting: int
    wait_s: float
    nice: int


class Lake(msgspec.Struct, frozen=True):
    """What a service has stored. data: where its files are, None where they are in a bucket: `store`.

    state: its journal. promotions: more columns.
    """

    data: str | None
    state: str
    payload_is_json: bool
    promotions: Sequence[Promotion] = ()
    store: StorePolicy | None = None

    @property
    def promoted(self) -> Mapping[Kind, Sequence[Promotion]]:
        return {kind: [each for each in self.promotions if each.kind is kind] for kind in Kind}


class Job(msgspec.Struct, frozen=True):
    """What the process of one question is told. form: one of app.query.forms.MEDIA_TYPES."""

    sql: str
    form: str
    selection: Selection
    lake: Lake
    policy: QueryPolicy


class AnswerHead(msgspec.Struct, frozen=True):
    """What that process says before its answer of so many bytes, or in its place where there is an error.

    limit: the error is a limit of the policy.
    """

    bytes: int = 0
    rows: int = 0
    error: str | None = None
    code: str = ""
    limit: bool = False
