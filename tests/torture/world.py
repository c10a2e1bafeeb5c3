"""The disk, the clock and what was sent, which outlive the processes that come and go."""

import contextlib
import functools
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry

from app.api.answers import Status
from app.commit.usage import UsageByDay
from app.errors import BatchIdReused, Overloaded, Refused
from app.kinds import Kind
from app.metrics import Metrics
from app.submission import Answer, Receipt, Submission, WireFormat
from tests.parquet.rows import DAY_MS, NOON_MS
from tests.support.service import KEYS
from tests.support.simulated_disk import Fault, SimulatedDisk
from tests.torture.kill_campaign import encode
from tests.torture.ledger import Batch, Outcome
from tests.torture.stepped_service import DATA, Ended, Process

WORKSPACES: Final = (1, 2, 3)
OPERATIONS: Final = (
    "append",
    "again",
    "other",
    "flush",
    "turn",
    "time",
    "jump",
    "restart",
    "kill",
    "power",
    "fault",
    "block",
)
WEIGHTS: Final = (10, 3, 1, 2, 5, 2, 1, 1, 1, 1, 1, 1)
WITHOUT_ENDS: Final = (10, 3, 1, 2, 5, 2, 1, 0, 0, 0, 0, 1)


DAYS: Final = 60
"""Before and after the present that are looked at for usage: the clock jumps by two at most."""


class Sent(msgspec.Struct):
    """A batch of the ledger, and how it was sent. in_doubt: once or more without an answer."""

    batch: Batch
    submission: Submission
    in_doubt: bool = False


class World:
    """The disk, the clock, and what was sent; processes come and go."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)
        self.disk = SimulatedDisk()
        self.clock = [NOON_MS, NOON_MS]
        self.metrics = Metrics(CollectorRegistry())  # of all its processes: making them takes a while
        self.sent: list[Sent] = []
        self.violations: list[str] = []
        self.calls: list[list[str]] = []
        self.carrying: list[set[int]] = []
        self.opening: list[int] = []
        self._next = 1
        self._process: Process | None = None

    def live(self, steps: int, weights: tuple[int, ...], faults: dict[int, Fault] | None = None) -> bool:
        """So many steps, with a process begun whenever there is none. Returns whether one ended of itself.

        faults: by number of the process; where there are any, the first end of a process is the end.
        """
        ended = False
        try:
            for _ in range(steps):
                operation = self.random.choices(OPERATIONS, weights)[0]
                try:
                    process = self._process or self._begin((faults or {}).get(len(self.calls)))
                    self._step(operation, process)
                except Ended:
                    self._process = None
                    ended = True
                    if faults:
                        break
        finally:
            self.stop()
        return ended

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process = None

    def _begin(self, fault: Fault | None) -> Process:
        process = Process(self.disk, self.clock, self.metrics, fault)
        self.calls.append(process.fs.calls)
        self.carrying.append(process.carrying)
        process.open()
        self.opening.append(len(process.fs.calls))
        self._process = process
        return process

    def _step(self, operation: str, process: Process) -> None:
        match operation:
            case "append":
                self._send(process, self._new_batch())
            case "again":
                self._send_again(process)
            case "other":
                self._send_other(process)
            case "flush":
                process.flush()
            case "turn":
                process.turn()
            case "time":
                passed_ms = self.random.choice((1_000, 61_000, 3_600_000))
                self.clock[:] = [each + passed_ms for each in self.clock]
            case "jump":
                self.clock[0] += self.random.randint(-2 * DAY_MS, 2 * DAY_MS)
            case "restart":
                process.close()
                self._process = None
            case "kill" | "power":
                process.kill()
                self._process = None
                self.disk = self.disk.after_power_loss(self.random) if operation == "power" else self.disk
            case "block":
                folder = DATA / str(self.random.choice(WORKSPACES))
                self.disk.blocked = folder if self.disk.blocked is None else None
            case "fault":
                kind = self.random.choice(("crash_before", "crash_after", "EIO"))
                at = len(process.fs.calls) + self.random.randrange(40)
                process.fs.fault = Fault(at, kind, self.random.random() < 0.3)
        if self._process is not None and operation != "fault":
            self._audit(process)

    def _new_batch(self) -> Sent:
        random_ = self.random
        key = f"{random_.getrandbits(40):x}" if random_.random() < 0.5 else None
        kind = random_.choice(list(Kind)).value
        batch = Batch(self._next, random_.choice((1, 2, 5, 40)), kind, random_.choice(WORKSPACES), key)
        self._next += batch.rows
        return self._sent(batch)

    def _sent(self, batch: Batch) -> Sent:
        flatbuffer = self.random.random() < 0.5
        self.sent.append(
            Sent(
                batch,
                Submission(
                    wire_format=WireFormat.FLATBUFFER if flatbuffer else WireFormat.JSON,
                    kind=None if flatbuffer else Kind(batch.kind),
                    body=_body(batch.first, batch.rows, batch.kind, batch.workspace, flatbuffer),
                    api_key=bytes.fromhex(KEYS[batch.workspace]),
                    workspace_id=batch.workspace,
                    source_ip=bytes(16),
                    received_ms=0,
                    batch_id=b"key:" + batch.key.encode() if batch.key else b"",
                ),
            )
        )
        return self.sent[-1]

    def _send(self, process: Process, sent: Sent) -> Answer:
        """Raises Ended; then nobody knows whether the batch is stored, unless an earlier answer said so."""
        batch = sent.batch
        was_in_doubt, sent.in_doubt = sent.in_doubt, True
        if batch.outcome is Outcome.REFUSED:
            batch.outcome = Outcome.UNKNOWN
        answer = process.send(msgspec.structs.replace(sent.submission, received_ms=self.clock[0]))
        sent.in_doubt = was_in_doubt
        if isinstance(answer, Receipt):
            if answer.accepted != batch.rows or (batch.outcome is Outcome.ACCEPTED and not answer.duplicate):
                self.violations.append(f"batch {batch.first} was answered {answer}")
            batch.outcome = Outcome.ACCEPTED
        elif isinstance(answer, Refused | BatchIdReused):
            if batch.outcome is Outcome.ACCEPTED:
                self.violations.append(f"batch {batch.first} was accepted, and then {answer}")
            elif not was_in_doubt:
                batch.outcome = Outcome.REFUSED
        else:
            self.violations.append(f"batch {batch.first} was answered {answer!r}")
        return answer

    def _send_again(self, process: Process) -> None:
        known = [sent for sent in self.sent if sent.batch.key is not None]
        if known:
            self._send(process, self.random.choice(known))

    def _send_other(self, process: Process) -> None:
        """Another payload under the id of a batch that was accepted."""
        known = [
            s.batch for s in self.sent if s.batch.key is not None and s.batch.outcome is Outcome.ACCEPTED
        ]
        if not known:
            return
        before = self.random.choice(known)
        other = Batch(self._next, before.rows, before.kind, before.workspace, before.key)
        self._next += other.rows
        answer = self._send(process, self._sent(other))
        self.sent.pop()
        if not isinstance(answer, BatchIdReused):
            self.violations.append(
                f"another payload under the id of batch {before.first} was answered {answer}"
            )

    def _audit(self, process: Process) -> None:
        """The account adds up at every moment, and holds at least what was acknowledged."""
        wrong, accepted = account(process)
        self.violations += wrong
        for key, rows in self._acknowledged().items():
            if accepted[key] < rows:
                self.violations.append(
                    f"{rows} rows of {key} were acknowledged, {accepted[key]} are accounted for"
                )

    def _acknowledged(self) -> Counter[tuple[int, str]]:
        rows: Counter[tuple[int, str]] = Counter()
        for sent in self.sent:
            if sent.batch.outcome is Outcome.ACCEPTED:
                rows[sent.batch.workspace, sent.batch.kind] += sent.batch.rows
        return rows


@functools.lru_cache(maxsize=1_000)
def _body(first: int, rows: int, kind: str, workspace: int, flatbuffer: bool) -> bytes:
    """Kept, since a life is told again with every fault, and always sends the same."""
    return encode(Batch(first, rows, kind, workspace), flatbuffer)[1]


def account(process: Process) -> tuple[list[str], Counter[tuple[int, str]]]:
    """What does not add up in the account, and the rows accepted by workspace and kind. Raises Ended."""
    wrong: list[str] = []
    accepted: Counter[tuple[int, str]] = Counter()
    found: list[Status] = []
    process.do(lambda: found.append(process.service.status()))
    for line in found[0].rows:
        accepted[line.workspace_id, line.kind.value] = line.accepted
        if (
            line.accepted != line.published + line.buffered + line.quarantined + line.removed
            or line.quarantined
        ):
            wrong.append(f"the account does not add up: {line}")
    used = usage(process)
    if used is not None and used != +accepted:
        wrong.append(f"usage says {used}, and {+accepted} were accepted")
    return wrong, accepted


def usage(process: Process) -> Counter[tuple[int, str]] | None:
    """Rows by workspace and kind, of all days; None where the disk does not let them be read.

    Raises Ended.
    """
    today = datetime.fromtimestamp(process.clock[0] / 1000, UTC).date()
    days = [(today + timedelta(days=each)).isoformat() for each in range(-DAYS, DAYS)]
    found: list[UsageByDay] = []

    def ask() -> None:
        with contextlib.suppress(Overloaded):
            found.append(process.service.accounts.of_days(days))

    process.do(ask)
    if not found:
        return None
    rows: Counter[tuple[int, str]] = Counter()
    for amounts in found[0].values():
        for (workspace_id, kind), amount in amounts.items():
            rows[workspace_id, kind.value] += amount.rows
    return rows
