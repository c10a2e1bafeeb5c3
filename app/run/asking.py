"""How POST /query is answered, or why it is not available."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from importlib.util import find_spec

from app.api.sql import Ask, Head
from app.commit.tap import Tap
from app.query.processes import Processes
from app.query.snapshot import Selection
from app.settings.plan import lake_of, query_policy
from app.settings.settings import Settings

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

    def __init__(self, settings: Settings) -> None:
        self.tap = Tap(settings.query.max_listeners)
        self.not_watched = NOT_HERE if settings.journal.type == "kafka" else ""
        self.watched = None if self.not_watched else self.tap
        self.absent = _why_not(settings)
        self._processes = None if self.absent else Processes(query_policy(settings), lake_of(settings))

    @property
    def ask(self) -> Ask | None:
        return None if self._processes is None else self._ask

    async def close(self) -> None:
        if self._processes is not None:
            await self._processes.close()

    def _ask(
        self, sql: str, form: str, workspace_id: int | None, since: str | None, until: str | None
    ) -> AbstractAsyncContextManager[tuple[Head, AsyncIterator[bytes]]]:
        assert self._processes is not None
        return self._processes.ask(sql, form, Selection(workspace_id, since, until))


def _why_not(settings: Settings) -> str:
    if not settings.query.enabled:
        return SWITCHED_OFF
    if settings.journal.type == "kafka":
        return NO_JOURNAL
    return NOT_INSTALLED if find_spec("duckdb") is None else ""
