"""The limits of a query, and the data it reads."""

from collections.abc import Mapping, Sequence

import msgspec

from app.kinds import Kind
from app.object_store.policy import StorePolicy
from app.parquet.promotion import Promotion
from app.query.snapshot import Selection


class QueryPolicy(msgspec.Struct, frozen=True):
    """Limits of one query and its process. timeout_s: until its answer is complete, once it is its turn.

    memory_bytes: what DuckDB may use. rows_max, result_bytes: of an answer. threads: of one process.
    concurrent: processes at a time. waiting: queries that may wait for their turn, each at most wait_s.
    nice: added to the service's niceness, up to 19.
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
    """The data of a service. data: the directory of its files, None if they are in a bucket: `store`.

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
    """The input of a query's process. form: one of app.query.forms.MEDIA_TYPES."""

    sql: str
    form: str
    selection: Selection
    lake: Lake
    policy: QueryPolicy


class AnswerHead(msgspec.Struct, frozen=True):
    """Precedes the answer of `size` bytes from that process, or replaces it if there is an error.

    limit: whether the error is a limit of the policy.
    """

    bytes: int = 0
    rows: int = 0
    error: str | None = None
    code: str = ""
    limit: bool = False
