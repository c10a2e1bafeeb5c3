"""How POST /query is answered, or why it is not available."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from importlib.util import find_spec

from app.api.sql import AnswerSize, Ask
from app.commit.tap import Tap
from app.query.processes import Processes
from app.query.snapshot import Selection
from app.settings.plan import Plan

NOT_INSTALLED = (
    "SQL over HTTP needs the extra `query`, which is not installed: run pip install 'parquet-sink[query]' "
    "and restart the service."
)
SWITCHED_OFF = "SQL over HTTP is disabled: query.enabled is false."
NO_JOURNAL = (
    "With a Kafka journal, no node has all the rows that are not in files yet; query the files instead: GET "
    "/files."
)
NOT_HERE = "With a Kafka journal, no node sees all rows as they are accepted; consume the topic instead."


class Asking:
    """ask: None if queries are not answered, for the reason `absent`.

    tap: is offered accepted rows; watched: the same, or None if rows cannot be watched, for the reason
    `not_watched`.
    """

    def __init__(self, plan: Plan) -> None:
        query = plan.query
        self.tap = Tap(query.listeners_max)
        self.not_watched = "" if plan.kafka is None else NOT_HERE
        self.watched = None if self.not_watched else self.tap
        self.absent = _why_not(plan)
        self._processes = None if self.absent else Processes(query.policy, query.lake)

    @property
    def ask(self) -> Ask | None:
        return None if self._processes is None else self._ask

    async def close(self) -> None:
        if self._processes is not None:
            await self._processes.close()

    def _ask(
        self, sql: str, form: str, workspace_id: int | None, since: str | None, until: str | None
    ) -> AbstractAsyncContextManager[tuple[AnswerSize, AsyncIterator[bytes]]]:
        assert self._processes is not None
        return self._processes.ask(sql, form, Selection(workspace_id, since, until))


def _why_not(plan: Plan) -> str:
    if not plan.query.enabled:
        return SWITCHED_OFF
    if plan.kafka is not None:
        return NO_JOURNAL
    return NOT_INSTALLED if find_spec("duckdb") is None else ""
