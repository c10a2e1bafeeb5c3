"""The whole service without HTTP, on a simulated disk, one step after the other.

Everything is the product's own; only the writer's thread is left out: it works when it is told to, so that a
seed always leads to the same calls of the disk. The commit thread is there, and is waited for.
"""

import contextlib
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, Final

from app.commit.admission import AdmissionPolicy
from app.commit.batch_ids import DeduplicationPolicy
from app.commit.group_queue import GroupPolicy
from app.errors import OutcomeUnknown
from app.journal.policy import JournalPolicy
from app.metrics import Metrics
from app.parquet.partition import Partition
from app.publish.intake import FlushResult, NotPublished
from app.publish.paths import SinkPaths
from app.publish.rotation import WriterPolicy
from app.publish.writer import Writer
from app.run.local_service import Service
from app.settings.plan import Policies
from app.submission import Answer, DecodePolicy, Submission
from tests.support.simulated_disk import Crash, Fault, SimulatedDisk

DATA: Final = Path("/node/data")
PATHS: Final = SinkPaths(DATA, Path("/node/state"))
ANSWER_SECONDS_MAX: Final = 30.0
MENDED_AFTER: Final = 2
STEPS_MAX: Final = 40
WAITS_MAX: Final = 50

SMALL: Final = Policies(
    admission=AdmissionPolicy(min_free_bytes=0, resume_free_bytes=0, min_free_inodes=0),
    decode=DecodePolicy(),
    group=GroupPolicy(
        idle_mark_s=100_000.0
    ),  # never idle: a mark at a moment of its own choice is not a step
    max_delay_s=0.0,
    deduplication=DeduplicationPolicy(),
    journal=JournalPolicy(segment_bytes=4_000),
    writer=WriterPolicy(
        row_group_rows=60,
        max_file_bytes=12 << 10,
        max_partitions_per_publication=3,
        max_buffered_bytes=20_000,
        early_flush_bytes=0,
        max_journal_bytes=16_000,
    ),
    reserve_bytes=1_000,
    drain_timeout_s=0.0,
    publish_timeout_s=0.0,
)
"""Small, so that segments roll, files overflow, and partitions are published one by one."""


class Ended(Exception):
    """The process is over: it was killed, or it has stopped itself."""


class Process:
    """One life of the service on a disk. clock: ms since the epoch, and ms on a clock that is never set.

    carrying: numbers of the calls that carry rows over.
    """

    def __init__(
        self, disk: SimulatedDisk, clock: list[int], metrics: Metrics, fault: Fault | None = None
    ) -> None:
        self.fs = disk.mount(fault)
        self.clock = clock
        self._failed = threading.Event()
        self.service = Service(
            self.fs,
            PATHS,
            SMALL,
            metrics,
            lambda: clock[0],
            lambda: clock[1],
            self._failed.set,
            new_writer=partial(_SteppedWriter, self),
        )
        self._writer: _SteppedWriter | None = None
        self.carrying: set[int] = set()

    def do(self, act: Callable[[], object]) -> None:
        """Carries something out. Raises Ended when the process does not survive it."""
        try:
            act()
        except (Crash, Exception) as error:
            if self.fs.fault is None or not self.fs.fault.fired:
                raise
            self.kill()
            raise Ended from error
        if self.service.fatal is not None:
            self.kill()
            raise Ended from self.service.fatal

    def open(self) -> None:
        self.do(self.service.lock)
        self.do(lambda: self.service.open(None))

    def send(self, submission: Submission) -> Answer:
        """The answer to a batch. Raises Ended when there is nobody to give one."""
        answers: list[Answer] = []
        answered = threading.Event()

        def reply(answer: Answer) -> None:
            answers.append(answer)
            answered.set()

        self.do(lambda: self.service.submit(submission, reply))
        assert answered.wait(ANSWER_SECONDS_MAX), "no answer"
        if isinstance(answers[0], OutcomeUnknown):
            assert self._failed.wait(ANSWER_SECONDS_MAX), (
                "it is not known what is on the disk, and it goes on"
            )
            self.kill()
            raise Ended
        return answers[0]

    def flush(self) -> None:
        """Of all that can be published now: a partition may be blocked, or wait for its next try."""

        def act() -> None:
            with contextlib.suppress(NotPublished):
                self.service.flush().result(0)

        self.do(act)

    def turn(self) -> None:
        """What the writer does at a tick, and what is looked at every second."""
        assert self._writer is not None
        self.do(self._writer.step)
        self.do(self._look_at_the_disk)

    def _look_at_the_disk(self) -> None:
        with contextlib.suppress(OSError):  # the service says so in its log, and looks again a second later
            self.service.check_space()

    def close(self) -> None:
        try:
            self.do(self.service.close)
        finally:
            self.kill()

    def kill(self) -> None:
        """Nothing reaches the disk any more."""
        self.fs.dead = True
        parts = self.service._parts
        if parts is None:
            return
        if self.service.fatal is None:
            parts.pipeline.close()
        else:
            # It waits for stragglers for a second, and there are none.
            threading.Thread(target=parts.pipeline.close, daemon=True).start()


class _SteppedWriter(Writer):
    def __init__(self, process: Process, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._process = process
        self._waits = 0
        process._writer = self
        self._carry_over = self.carrier._carry
        self.carrier._carry = self._carry  # type: ignore[method-assign, assignment]

    def start(self) -> None:
        pass

    def flush(
        self,
        workspace_id: int | None = None,
        partitions: Collection[Partition] | None = None,
        *,
        hastens: bool = False,
    ) -> Future[FlushResult]:
        future = super().flush(workspace_id, partitions, hastens=hastens)
        self._until(future.done)
        return future

    def close(self, deadline_s: float) -> bool:
        self._until(lambda: self.buffered_rows == 0, everything=True)
        return self.buffered_rows == 0

    def _carry(self, *arguments: Any) -> bool:
        begun = len(self._process.fs.calls)
        try:
            return self._carry_over(*arguments)
        finally:
            self._process.carrying |= set(range(begun, len(self._process.fs.calls) + 1))

    def step(self, everything: bool = False) -> None:
        fatal = self._process.service.fatal
        if fatal is not None:
            raise fatal  # its thread has ended, and whoever waits for it is told
        try:
            self.turn(everything=everything)
        except Exception as error:
            self._end(error)
            self._on_fatal(error)

    def _until(self, holds: Callable[[], bool], everything: bool = False) -> None:
        """Somebody mends a disk that fails for ever when the writer has met it a few times."""
        fault = self._process.fs.fault
        for trial in range(STEPS_MAX):
            self.step(everything)
            if holds() or self._process.service.fatal is not None:
                self._pass_time(fault)
                return
            clock = self._process.clock
            clock[:] = [each + self._policy.retry_ms_max for each in clock]
            if trial >= MENDED_AFTER and fault is not None and fault.fired:
                fault.forever = False
        if self._process.fs.disk.blocked is None:
            raise AssertionError("the writer does not come to an end")

    def _pass_time(self, fault: Fault | None) -> None:
        """A start waits for a disk as long as it fails: time passes, and in the end it is mended."""
        self._waits += 1
        if self._waits > WAITS_MAX and fault is not None and fault.fired:
            fault.forever = False
            clock = self._process.clock
            clock[:] = [each + self._policy.retry_ms_max for each in clock]
