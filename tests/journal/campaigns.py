"""Fault campaigns against the journal, each a function of a seed and a size.

    python -m tests.journal.campaigns power_loss --seed 7 --size 200000

Each prints seed, planned, fired, violations. A run in which a fault did not fire counts as failed.
"""

import argparse
import copy
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from app.disk.durable_file import SyncFailed
from app.journal.failures import JournalDamaged, JournalFailed
from tests.journal.corruption import (
    combined,
    corruptions,
    is_damaged,
    judge,
    judge_killed_repair,
    three_segments,
)
from tests.journal.ledger import Ledger
from tests.journal.workload import live
from tests.support.simulated_disk import Crash, Fault, SimulatedDisk, SimulatedFS, faults_of

STEPS = 12
Mount = Callable[[SimulatedDisk, Fault | None], SimulatedFS]


@dataclass
class Result:
    campaign: str
    seed: int
    planned: int = 0
    fired: int = 0
    violations: list[str] = field(default_factory=list)
    until_violated: bool = False

    @property
    def ended(self) -> bool:
        """Whether the first violation was enough: when it is only asked whether the campaign notices."""
        return self.until_violated and bool(self.violations)

    @property
    def passed(self) -> bool:
        return 0 < self.planned == self.fired and not self.violations

    def __str__(self) -> str:
        counts = f"planned={self.planned} fired={self.fired} violations={len(self.violations)}"
        return "\n  ".join([f"{self.campaign} seed={self.seed} {counts}", *self.violations[:10]])


@dataclass
class Wreck:
    """A disk after a process has ended on it, and what must be on it."""

    disk: SimulatedDisk
    ledger: Ledger
    fired: int
    calls: list[str]


def plain(disk: SimulatedDisk, fault: Fault | None) -> SimulatedFS:
    return disk.mount(fault)


def wreck(seed: str, fault: Fault | None, mount: Mount = plain, earlier: Wreck | None = None) -> Wreck:
    """Run a random process until its fault ends it, or until it is done."""
    disk = earlier.disk if earlier else SimulatedDisk()
    ledger = earlier.ledger if earlier else Ledger()
    fs = mount(disk, fault)
    try:
        live(fs, ledger, random.Random(seed), STEPS)
    except (Crash, OSError, SyncFailed, JournalFailed):
        if fault is None:
            raise
    except JournalDamaged as damaged:
        ledger.violations.append(str(damaged))
    fs.dead = True
    return Wreck(disk, ledger, min(fault.fired, 1) if fault else 0, fs.calls)


def faults(calls: list[str], only_crashes: bool, forever: bool) -> Iterator[Fault]:
    """Every fault that every call can meet."""
    for at, operation in enumerate(calls):
        for kind in faults_of(operation):
            if kind.startswith("crash"):
                if only_crashes:
                    yield Fault(at, kind)
            elif not only_crashes:
                yield Fault(at, kind, forever)


def inspect_wreck(result: Result, found: Wreck, where: str, rng: random.Random, mount: Mount = plain) -> None:
    """The process was killed, or the power went: recover, twice, and compare with the ledger."""
    result.fired += found.fired
    for power_loss in (False, True):
        disk = found.disk.after_power_loss(rng) if power_loss else copy.deepcopy(found.disk)
        after = Wreck(disk, copy.deepcopy(found.ledger), 0, [])
        for _ in range(2):
            after = wreck(f"{rng.random()}", None, mount, after)
            after.disk = after.disk.after_power_loss(rng)
        what = "power loss" if power_loss else "kill"
        result.violations += [f"{where}, {what}: {each}" for each in after.ledger.violations]


def _everywhere(result: Result, size: int, crashes: bool, mount: Mount) -> Result:
    name, seed = result.campaign, result.seed
    for round_ in range(size):
        rng = random.Random(f"{name} {seed} {round_}")
        life = f"life {seed} {round_}"
        calls = wreck(life, None, mount).calls
        for forever in (False,) if crashes else (False, True):
            for fault in faults(calls, crashes, forever):
                result.planned += 1
                found = wreck(life, fault, mount)
                where = f"{fault.kind}{' for ever' if forever else ''} at call {fault.at} ({calls[fault.at]})"
                inspect_wreck(result, found, where, rng, mount)
                if result.ended:
                    return result
    return result


def crash_everywhere(seed: int, size: int, mount: Mount = plain, until_violated: bool = False) -> Result:
    """A crash before, within and after every call of `size` random lives."""
    return _everywhere(Result("crash_everywhere", seed, until_violated=until_violated), size, True, mount)


def error_everywhere(seed: int, size: int, mount: Mount = plain, until_violated: bool = False) -> Result:
    """Every error at every call of `size` random lives, once and for ever after."""
    return _everywhere(Result("error_everywhere", seed, until_violated=until_violated), size, False, mount)


def power_loss(seed: int, size: int, mount: Mount = plain, until_violated: bool = False) -> Result:
    """`size` states that a power cut leaves, at a random call of a random life; often several lives old."""
    result = Result("power_loss", seed, until_violated=until_violated)
    per_life = 10
    for life in range(-(-size // per_life)):
        rng = random.Random(f"power {seed} {life}")
        found: Wreck | None = None
        for age in range(rng.randint(1, 3)):
            if found is not None:
                found.disk = found.disk.after_power_loss(rng)
            name = f"{seed} {life} {age}"
            calls = wreck(name, None, mount, copy.deepcopy(found)).calls
            found = wreck(name, Fault(rng.randrange(len(calls)), "crash_before"), mount, found)
        assert found is not None
        for _ in range(per_life):
            after = Wreck(found.disk.after_power_loss(rng), copy.deepcopy(found.ledger), 0, [])
            after = wreck(f"{rng.random()}", None, mount, after)
            result.planned += 1
            result.fired += found.fired
            result.violations += [f"life {life}: {each}" for each in after.ledger.violations]
            if result.ended:
                return result
    return result


def crash_in_recovery(seed: int, size: int, mount: Mount = plain) -> Result:
    """`size` crashes or errors during a recovery that follows on a power cut; then recover again."""
    result = Result("crash_in_recovery", seed)
    round_ = 0
    while result.planned < size:
        rng = random.Random(f"recovery {seed} {round_}")
        round_ += 1
        calls = wreck(f"first {seed} {round_}", None, mount).calls
        found = wreck(f"first {seed} {round_}", Fault(rng.randrange(len(calls)), "crash_before"), mount)
        found.disk = found.disk.after_power_loss(rng) if rng.random() < 0.8 else found.disk
        steps = wreck(f"second {seed} {round_}", None, mount, copy.deepcopy(found)).calls
        recovery = steps[: steps.index("create", 1) + 6 if "create" in steps else None]
        for only_crashes in (True, False):
            for fault in faults(recovery, only_crashes, False):
                if rng.random() < 0.2:
                    result.planned += 1
                    again = wreck(f"second {seed} {round_}", fault, mount, copy.deepcopy(found))
                    inspect_wreck(result, again, f"round {round_} {fault}", rng, mount)
    return result


def corrupt_everything(seed: int, size: int, until_violated: bool = False) -> Result:
    """`size` layouts of a three-segment journal, closed and killed, each with every single corruption."""
    result = Result("corrupt_everything", seed, until_violated=until_violated)
    for number in range(size):
        for closed in (True, False):
            layout = three_segments(seed + number, closed)
            for index, corruption in enumerate(corruptions(layout)):
                result.planned += 1
                result.fired += corruption.files != layout.files
                # A repair for one bit of each byte; which bit changes from byte to byte.
                wrong = judge(layout, corruption, with_repair=index % 9 == 0 or "bit" not in corruption.what)
                if wrong:
                    state = "closed" if closed else "killed"
                    result.violations.append(f"layout {seed + number}, {state}, {corruption.what}: {wrong}")
                if result.ended:
                    return result
    return result


def corrupt_in_several_places(seed: int, size: int) -> Result:
    """`size` times two or three random corruptions at once, then a repair."""
    result = Result("corrupt_in_several_places", seed)
    rng = random.Random(f"several {seed}")
    while result.planned < size:
        layout = three_segments(rng.randrange(1 << 32), closed=True)
        everything = list(corruptions(layout))
        for _ in range(50):
            several = rng.sample(everything, 2) + rng.sample(everything[:25], rng.randint(0, 1))
            corruption = combined(layout, several)
            result.planned += 1
            result.fired += corruption.files != layout.files
            wrong = judge(layout, corruption, with_repair=True)
            if wrong:
                result.violations.append(f"{corruption.what}: {wrong}")
    return result


def crash_in_repair(seed: int, size: int) -> Result:
    """`size` repairs of random corruptions, killed at a random call and run again."""
    result = Result("crash_in_repair", seed)
    rng = random.Random(f"repair {seed}")
    while result.planned < size:
        layout = three_segments(rng.randrange(1 << 32), closed=True)
        everything = list(corruptions(layout))
        # Most corruptions are bit flips; the rarer ones come first and are no less interesting.
        for corruption in rng.sample(everything, 15) + rng.sample(everything[:25], 15):
            if judge(layout, corruption, with_repair=False) or not is_damaged(corruption):
                continue
            result.planned += 1
            fired, wrong = judge_killed_repair(layout, corruption, rng)
            result.fired += fired
            if wrong:
                result.violations.append(f"{corruption.what}: {wrong}")
    return result


CAMPAIGNS = {
    each.__name__: each
    for each in (
        crash_everywhere,
        error_everywhere,
        power_loss,
        crash_in_recovery,
        corrupt_everything,
        corrupt_in_several_places,
        crash_in_repair,
    )
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("campaign", choices=CAMPAIGNS)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--until-violated", action="store_true", help="not for each campaign")
    options = parser.parse_args()
    more = {"until_violated": True} if options.until_violated else {}
    result = CAMPAIGNS[options.campaign](options.seed, options.size, **more)
    print(result)
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
