"""Append, publish, trim and recovery together, on a simulated disk: what was acknowledged is there, once.

    python -m tests.torture.whole_service power_loss --seed 7 --size 200000

Each campaign is a function of a seed and a size, and prints seed, planned, fired and violations. A run in
which a fault did not fire counts as failed.
"""

import argparse
import contextlib
import copy
import io
import logging
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from app.errors import BatchIdReused, Refused
from app.group import Answer, Receipt
from app.schema import Kind
from app.submission import Submission, WireFormat
from tests.parquet.rows import DAY_MS, NOON_MS
from tests.support.service import KEYS
from tests.support.simulated_disk import Fault, SimulatedDisk, faults_of
from tests.torture.kill_campaign import encode
from tests.torture.ledger import Batch, Outcome
from tests.torture.oracle import compare, rows_in_file
from tests.torture.stepped_service import PATHS, Ended, Process

WORKSPACES: Final = (1, 2, 3)
STEPS_PER_PROCESS: Final = 10
STATES_PER_LIFE: Final = 10
RECOVERIES_PER_LIFE: Final = 20
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
)
WEIGHTS: Final = (10, 3, 1, 2, 5, 2, 1, 1, 1, 1, 1)
WITHOUT_ENDS: Final = (10, 3, 1, 2, 5, 2, 1, 0, 0, 0, 0)


class Result(msgspec.Struct):
    campaign: str
    seed: int
    planned: int = 0
    fired: int = 0
    violations: list[str] = []

    @property
    def passed(self) -> bool:
        return 0 < self.planned == self.fired and not self.violations

    def __str__(self) -> str:
        counts = f"planned {self.planned} fired {self.fired} violations {len(self.violations)}"
        return "\n  ".join(
            [f"whole service, {self.campaign}: seed {self.seed} {counts}", *self.violations[:10]]
        )


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
        self.clock = [NOON_MS]
        self.sent: list[Sent] = []
        self.violations: list[str] = []
        self.calls: list[list[str]] = []
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
        process = Process(self.disk, self.clock, fault)
        self.calls.append(process.fs.calls)
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
                self.clock[0] += self.random.choice((1_000, 61_000, 3_600_000))
            case "jump":
                self.clock[0] += self.random.randint(-2 * DAY_MS, 2 * DAY_MS)
            case "restart":
                process.close()
                self._process = None
            case "kill" | "power":
                process.kill()
                self._process = None
                self.disk = self.disk.after_power_loss(self.random) if operation == "power" else self.disk
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
        _, body, _ = encode(batch, flatbuffer)
        self.sent.append(
            Sent(
                batch,
                Submission(
                    wire_format=WireFormat.FLATBUFFER if flatbuffer else WireFormat.JSON,
                    kind=None if flatbuffer else Kind(batch.kind),
                    body=body,
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


def account(process: Process) -> tuple[list[str], Counter[tuple[int, str]]]:
    """What does not add up in the account, and the rows accepted by workspace and kind."""
    wrong: list[str] = []
    accepted: Counter[tuple[int, str]] = Counter()
    lines = process.service.status()["rows"]
    assert isinstance(lines, list)
    for line in lines:
        accepted[line["workspace_id"], line["kind"]] = line["accepted"]
        if (
            line["accepted"] != line["published"] + line["buffered"] + line["quarantined"]
            or line["quarantined"]
        ):
            wrong.append(f"the account does not add up: {line}")
    return wrong, accepted


def check(world: World, disk: SimulatedDisk) -> list[str]:
    """Start on what is left, publish all, compare with what was sent; then start once more."""
    try:
        wrong, left = _start_and_flush(world, disk)
        found: Counter[tuple[str, int, int]] = Counter()
        for path, content in data_files(disk).items():
            found.update(rows_in_file(path, io.BytesIO(content)))
        wrong += compare([sent.batch for sent in world.sent], found)
        before = data_files(disk)
        again, _ = _start_and_flush(world, disk)
    except Exception as refusal:
        return [f"does not start: {refusal!r}"]
    if data_files(disk) != before:
        wrong.append("a second recovery changed the files")
    return wrong + again + left


def _start_and_flush(world: World, disk: SimulatedDisk) -> tuple[list[str], list[str]]:
    process = Process(disk, list(world.clock))
    try:
        process.open()
        process.flush()
        process.turn()
        wrong, _ = account(process)
        writer = process.service._open_parts().writer
        buffered = {workspace: writer.buffered_bytes_of(workspace) for workspace in WORKSPACES}
        left = [f"buffered after a flush: {buffered}"] * (any(buffered.values()) or writer.buffered_bytes > 0)
        return wrong, left
    finally:
        process.kill()


def data_files(disk: SimulatedDisk) -> dict[Path, bytes]:
    return {
        path.relative_to(PATHS.data): bytes(file.cached)
        for path, file in disk.files().items()
        if path.is_relative_to(PATHS.data)
    }


def model(seed: int, size: int, until_violated: bool = False, steps: int = 40) -> Result:
    """`size` times so many random operations, ends and faults of processes among them, against the ledger."""
    result = Result("model", seed)
    for number in range(size):
        world = World(f"model {seed} {number}")
        world.live(steps, WEIGHTS)
        result.planned += 1
        result.fired += 1
        result.violations += [f"run {number}: {each}" for each in world.violations]
        result.violations += [f"run {number}, at its end: {each}" for each in check(world, world.disk)]
        if until_violated and result.violations:
            break
    return result


def _life(seed: str, faults: dict[int, Fault] | None = None) -> World:
    """Two processes: the second finds what a kill of the first has left."""
    world = World(seed)
    if not world.live(STEPS_PER_PROCESS, WITHOUT_ENDS, faults):
        world.live(STEPS_PER_PROCESS, WITHOUT_ENDS, faults)
    return world


def _faults(calls: list[str], crashes: bool) -> Iterator[tuple[int, str]]:
    for at, operation in enumerate(calls):
        for kind in faults_of(operation):
            if kind.startswith("crash") == crashes:
                yield at, kind


def _judge(result: Result, world: World, fault: Fault, where: str, rng: random.Random) -> None:
    """What a kill and what a power cut leave behind, each."""
    result.planned += 1
    result.fired += bool(fault.fired)
    result.violations += [f"{where}: {each}" for each in world.violations]
    for name, disk in (("kill", world.disk), ("power loss", world.disk.after_power_loss(rng))):
        result.violations += [f"{where}, {name}: {each}" for each in check(world, copy.deepcopy(disk))]


def _everywhere(name: str, seed: int, size: int, crashes: bool) -> Result:
    result = Result(name, seed)
    for number in range(size):
        life = f"{seed} {number}"
        rng = random.Random(f"{name} {life}")
        calls = _life(life).calls
        for process in range(2):
            for at, kind in _faults(calls[process], crashes):
                for forever in (False,) if crashes else (False, True):
                    fault = Fault(at, kind, forever)
                    where = f"process {process}, {kind}{' for ever' * forever} at {at} ({calls[process][at]})"
                    _judge(result, _life(life, {process: fault}), fault, where, rng)
    return result


def crash_everywhere(seed: int, size: int) -> Result:
    """A crash before, within and after every call of `size` lives: of appends, publishing and recovery."""
    return _everywhere("crash_everywhere", seed, size, crashes=True)


def error_everywhere(seed: int, size: int) -> Result:
    """Every error at every call of `size` lives, once, and until somebody mends the disk."""
    return _everywhere("error_everywhere", seed, size, crashes=False)


def any_fault(seed: int, size: int, until_violated: bool = False) -> Result:
    """`size` faults of any kind at any call of either process, each in a life of its own."""
    result = Result("any_fault", seed)
    for number in range(size):
        life = f"{seed} {number}"
        rng = random.Random(f"any {life}")
        calls = _life(life).calls
        process = rng.randrange(2)
        at, kind = rng.choice([*_faults(calls[process], True), *_faults(calls[process], False)])
        fault = Fault(at, kind, not kind.startswith("crash") and rng.random() < 0.5)
        _judge(
            result, _life(life, {process: fault}), fault, f"life {number}, process {process}, {fault}", rng
        )
        if until_violated and result.violations:
            break
    return result


def power_loss(seed: int, size: int, until_violated: bool = False) -> Result:
    """`size` states that a power cut leaves at a random call of a random life."""
    result = Result("power_loss", seed)
    for number in range(-(-size // STATES_PER_LIFE)):
        life = f"{seed} {number}"
        rng = random.Random(f"power {life}")
        calls = _life(life).calls
        process = rng.randrange(2)
        fault = Fault(rng.randrange(len(calls[process])), "crash_before")
        world = _life(life, {process: fault})
        result.violations += [f"life {number}: {each}" for each in world.violations]
        for _ in range(STATES_PER_LIFE):
            result.planned += 1
            result.fired += bool(fault.fired)
            where = f"life {number}, process {process}, call {fault.at}"
            result.violations += [
                f"{where}: {each}" for each in check(world, world.disk.after_power_loss(rng))
            ]
        if until_violated and result.violations:
            break
    return result


def crash_in_recovery(seed: int, size: int) -> Result:
    """`size` crashes and errors in the recovery after a crash or a power cut; then recover again."""
    result = Result("crash_in_recovery", seed)
    number = 0
    while result.planned < size:
        number += 1
        rng = random.Random(f"recovery {seed} {number}")
        calls = _life(f"{seed} {number}").calls
        world = _life(f"{seed} {number}", {0: Fault(rng.randrange(len(calls[0])), "crash_before")})
        disk = world.disk.after_power_loss(rng) if rng.random() < 0.5 else world.disk
        healthy = Process(copy.deepcopy(disk), list(world.clock))
        healthy.open()
        healthy.kill()
        chosen = [*_faults(healthy.fs.calls, True), *_faults(healthy.fs.calls, False)]
        for at, kind in rng.sample(chosen, min(len(chosen), RECOVERIES_PER_LIFE)):
            fault, left = Fault(at, kind), copy.deepcopy(disk)
            again = Process(left, list(world.clock), fault)
            with contextlib.suppress(Ended):
                again.open()
                again.kill()
            result.planned += 1
            result.fired += bool(fault.fired)
            left = left.after_power_loss(rng) if rng.random() < 0.5 else left
            result.violations += [f"life {number}, {fault}: {each}" for each in check(world, left)]
    return result


CAMPAIGNS = {
    each.__name__: each
    for each in (model, crash_everywhere, error_everywhere, any_fault, power_loss, crash_in_recovery)
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("campaign", choices=CAMPAIGNS)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--steps", type=int, default=40, help="of each run of model")
    parser.add_argument("--until-violated", action="store_true", help="model, any_fault, power_loss")
    options = parser.parse_args()
    logging.disable()  # every fault is logged by the service as what it is
    more = {"steps": options.steps} if options.campaign == "model" else {}
    more |= {"until_violated": True} if options.until_violated else {}
    result = CAMPAIGNS[options.campaign](options.seed, options.size, **more)
    print(result)
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
