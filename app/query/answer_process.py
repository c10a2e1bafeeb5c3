"""The process that answers one query: a Job on standard input, a Head and the answer on standard output. Its
argument is its niceness relative to the service.

It has no keys, and only the environment that an object store needs; it knows only one workspace's files,
cannot write to any file, and is killed first when the machine runs out of memory. It exits when its standard
input is closed, so it never outlives its parent.
"""

import contextlib
import os
import resource
import sys
import threading
from pathlib import Path
from typing import Final

import msgspec

from app.query.policy import AnswerHead, Job

ERROR_CHARACTERS_MAX: Final = 4000
"""The length to which DuckDB's messages are cut, since they repeat the query."""

BESIDE_BYTES: Final = 1 << 30
"""Address space for what DuckDB's limit does not cover: Arrow's readers, the answer, the interpreter."""

SECONDS_BESIDE: Final = 5
"""Processor time allowed on top of the time limit; the parent stops this process before that."""


def main() -> int:
    """Returns the exit code: 0, even if the answer is an error."""
    os.nice(int(sys.argv[1]))
    _step_back()
    _load()
    line = sys.stdin.buffer.readline()
    if not line:
        return 0
    threading.Thread(target=_end_with_starter, daemon=True).start()
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    with contextlib.redirect_stdout(sys.stderr):
        head, parts = _answer(msgspec.json.decode(line, type=Job))
    for part in (msgspec.json.encode(head) + b"\n", *parts):
        rest = memoryview(part)
        while rest:
            rest = rest[out.write(rest) :]
    return 0


def _end_with_starter() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def _load() -> None:
    """Loads everything that a query needs in advance, which is most of the time of a short query."""
    import duckdb
    import pyarrow.dataset

    import app.query.locked
    import app.query.snapshot

    assert all((duckdb, pyarrow.dataset, app.query.locked, app.query.snapshot))


def _step_back() -> None:
    with contextlib.suppress(OSError):
        # It waits for its turn, instead of taking it from a thread of the service that has just gone to work.
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit(job: Job) -> None:
    policy = job.policy
    with contextlib.suppress(OSError, ValueError):
        in_use = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
        most = in_use + 2 * (policy.memory_bytes + policy.result_bytes) + BESIDE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        seconds = int(policy.timeout_s) * (policy.threads + 1) + SECONDS_BESIDE
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))


def _answer(job: Job) -> tuple[AnswerHead, list[bytes]]:
    import duckdb
    import pyarrow as pa

    from app.disk.durable_fs import DurableFS
    from app.publish.paths import SinkPaths
    from app.query.data_sets import object_root, open_store
    from app.query.forms import AnswerTooLarge, encode
    from app.query.locked import NotAQuestion, ask_locked, connect_locked
    from app.query.snapshot import CannotAsk, Snapshot

    pa.set_cpu_count(job.policy.threads)
    _limit(job)
    policy, lake = job.policy, job.lake
    paths = SinkPaths(Path(lake.data) if lake.data is not None else None, Path(lake.state))
    try:
        store = open_store(lake.store) if lake.store is not None else None
        objects = object_root(lake.store) if lake.store is not None else None
        snapshot = Snapshot.take(DurableFS(), paths, job.selection, policy.memory_bytes, objects)
        connection = connect_locked(
            snapshot, policy, payload_is_json=lake.payload_is_json, promoted=lake.promoted, store=store
        )
        answer = encode(ask_locked(connection, job.sql), job.form, policy.rows_max, policy.result_bytes)
        return AnswerHead(answer.bytes, answer.rows), answer.parts
    except AnswerTooLarge as error:
        return AnswerHead(error=str(error), code="answer_too_large", limit=True), []
    except (MemoryError, duckdb.OutOfMemoryException, pa.ArrowMemoryError):
        text = f"The query needs more than the {policy.memory_bytes} bytes that query.max_memory allows."
        return AnswerHead(error=text, code="query_memory", limit=True), []
    except NotAQuestion as error:
        return AnswerHead(error=str(error), code="not_a_question"), []
    except CannotAsk as error:
        return AnswerHead(error=str(error), code="cannot_ask", limit=True), []
    except OSError as error:
        text = f"a file cannot be read: {error.strerror or error}; the service's log tells why"
        return AnswerHead(error=text, code="cannot_ask", limit=True), []
    except (duckdb.Error, pa.ArrowException, OverflowError, ValueError) as error:
        return AnswerHead(error=str(error)[:ERROR_CHARACTERS_MAX], code="query_failed"), []
