"""Runs each query in a process of its own, at low priority and within limits, so that ingest is not
affected."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec

from app.errors import Overloaded, QueryLimit, RequestError
from app.query.policy import AnswerHead, Job, Lake, QueryPolicy
from app.query.snapshot import Selection

HEAD_BYTES_MAX: Final = 64 << 10
CHUNK_BYTES: Final = 64 << 10
RETRY_AFTER_S: Final = 2

SPARE_S: Final = 60.0
"""How long an idle process waits for the next query."""

SOURCES: Final = str(Path(__file__).resolve().parents[2])
"""The directory of this package."""

STORE_PREFIXES: Final = ("AWS_", "GOOGLE_")
"""Prefixes of variables with credentials of an object store; passed on only if the files are in one. SQL
cannot read them."""

KEPT_VARIABLES: Final = ("PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
"""Environment variables that are passed on: where modules are. A query needs nothing else."""


class Processes:
    """Answers queries, each in a process of its own; some run at a time, some more wait, others are refused.

    After a query, the process for the next one is prepared, and ended if none arrives for a while.
    """

    def __init__(self, policy: QueryPolicy, lake: Lake) -> None:
        self._policy = policy
        self._lake = lake
        self._keeps = STORE_PREFIXES if lake.store is not None else ()
        self._turn = asyncio.Semaphore(policy.concurrent)
        self._waiting = 0
        self._spare: asyncio.Task[asyncio.subprocess.Process] | None = None
        self._giving_up: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Ends the process that waits for a query."""
        self._give_up_spare()
        await asyncio.gather(*self._ending)

    @contextlib.asynccontextmanager
    async def ask(
        self, sql: str, form: str, selection: Selection
    ) -> AsyncIterator[tuple[AnswerHead, AsyncIterator[bytes]]]:
        """The head of the answer, and its bytes. The process has ended when the context ends.

        Raises Overloaded, QueryLimit, RequestError. An incomplete answer raises ConnectionError.
        """
        await self._await_turn()
        try:
            async with asyncio.timeout(self._policy.timeout_s), self._process() as process:
                job = Job(sql, form, selection, self._lake, self._policy)
                head = await _head(process, job)
                assert process.stdout is not None
                yield head, _chunks(process.stdout, head.bytes)
        except TimeoutError:
            raise QueryLimit(
                f"The query took longer than {self._policy.timeout_s:g} seconds; select fewer days or "
                "columns, or query the files directly.",
                code="query_timeout",
            ) from None
        finally:
            self._turn.release()

    async def _await_turn(self) -> None:
        if self._turn.locked() and self._waiting >= self._policy.waiting:
            raise self._busy()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._policy.wait_s):
                await self._turn.acquire()
        except TimeoutError:
            raise self._busy() from None
        finally:
            self._waiting -= 1

    def _busy(self) -> Overloaded:
        return Overloaded(
            f"{self._policy.concurrent} queries are running, which is as many as query.max_concurrent "
            "allows; try again.",
            retry_after_s=RETRY_AFTER_S,
            code="too_many_queries",
        )

    @contextlib.asynccontextmanager
    async def _process(self) -> AsyncIterator[asyncio.subprocess.Process]:
        spare, self._spare = self._spare, None
        process = await (spare or asyncio.ensure_future(_start(self._policy.nice, self._keeps)))
        try:
            yield process
        finally:
            await asyncio.shield(_end(process))
            self._keep_spare()

    def _keep_spare(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
        self._giving_up = asyncio.get_running_loop().call_later(SPARE_S, self._give_up_spare)
        if self._spare is None:
            self._spare = asyncio.ensure_future(_start(self._policy.nice, self._keeps))

    def _give_up_spare(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
        if self._spare is not None:
            ending = asyncio.ensure_future(_end_started(self._spare))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        self._spare = self._giving_up = None


async def _start(nice: int, keeps: tuple[str, ...]) -> asyncio.subprocess.Process:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in KEPT_VARIABLES or (keeps and name.startswith(keeps))
    }
    # The same sources as this process has, wherever it was started.
    sources = [SOURCES, environment.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sources))
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "app.run.question_process",
        str(nice),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=os.sep,
        env={**environment, "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", "TZ": "UTC"},
        limit=HEAD_BYTES_MAX,
        start_new_session=True,
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


async def _end_started(starting: "asyncio.Task[asyncio.subprocess.Process]") -> None:
    with contextlib.suppress(OSError):
        await _end(await starting)


async def _head(process: asyncio.subprocess.Process, job: Job) -> AnswerHead:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(ConnectionError):
        process.stdin.write(msgspec.json.encode(job) + b"\n")
        await process.stdin.drain()
    line = await process.stdout.readline()
    if not line.endswith(b"\n"):
        code = await process.wait()
        raise QueryLimit(
            f"The process of the query exited (code {code}): it needed more memory or processor time than "
            "allowed. Select less.",
            code="query_ended",
        )
    head = msgspec.json.decode(line, type=AnswerHead)
    if head.error is not None:
        raise (QueryLimit if head.limit else RequestError)(head.error, code=head.code)
    return head


async def _chunks(reader: asyncio.StreamReader, size: int) -> AsyncIterator[bytes]:
    while size:
        chunk = await reader.read(min(CHUNK_BYTES, size))
        if not chunk:
            raise ConnectionError("the process of the query exited in the middle of its answer")
        size -= len(chunk)
        yield chunk
