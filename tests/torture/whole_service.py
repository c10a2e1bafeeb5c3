"""Append, publish, trim and recovery together, on a simulated disk: what was acknowledged is there, once.

    python -m tests.torture.whole_service power_loss --seed 7 --size 200000 --processes 2

Each campaign is a function of a seed and a size, and prints seed, planned, fired and violations. A run in
which a fault did not fire counts as failed.
"""

import argparse
import contextlib
import copy
import itertools
import logging
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import pyarrow as pa

from tests.support.simulated_disk import Fault, faults_of
from tests.torture.parts import WHOLE, Part, Result, in_processes
from tests.torture.stepped_service import DATA, Ended, Process
from tests.torture.verdict import PowerCuts, check
from tests.torture.world import WEIGHTS, WITHOUT_ENDS, WORKSPACES, World

STEPS_PER_PROCESS: Final = 10
STEPS_WHILE_BLOCKED: Final = 25
STATES_PER_LIFE: Final = 10
RECOVERIES_PER_LIFE: Final = 20

Faults = Callable[[Sequence[str]], Iterator[tuple[int, str]]]
"""Those to try of the calls of a process: number of the call, kind."""


def model(seed: int, size: int, until_violated: bool = False, steps: int = 40, part: Part = WHOLE) -> Result:
    """`size` times so many random operations, ends and faults of processes among them, against the ledger."""
    result = Result("model", seed, until_violated=until_violated)
    for number in part.of(size):
        world = World(f"model {seed} {number}")
        world.live(steps, WEIGHTS)
        result.planned += 1
        result.fired += 1
        result.violations += [f"run {number}: {each}" for each in world.violations]
        result.violations += [f"run {number}, at its end: {each}" for each in check(world, world.disk)]
        if result.ended:
            break
    return result


def _life(seed: str, faults: dict[int, Fault] | None = None) -> World:
    """Two processes: the second finds what a kill of the first has left."""
    return _lived(World(seed), STEPS_PER_PROCESS, faults)


def _blocked_life(seed: str, faults: dict[int, Fault] | None = None) -> World:
    """The same, while nothing of one workspace can be published, for longer than the journal has room."""
    world = World(seed)
    world.disk.blocked = DATA / str(WORKSPACES[0])
    return _lived(world, STEPS_WHILE_BLOCKED, faults)


def _lived(world: World, steps: int, faults: dict[int, Fault] | None) -> World:
    if not world.live(steps, WITHOUT_ENDS, faults):
        world.live(steps, WITHOUT_ENDS, faults)
    return world


def _faults(calls: Sequence[str], crashes: bool) -> Iterator[tuple[int, str]]:
    for at, operation in enumerate(calls):
        for kind in faults_of(operation):
            if kind.startswith("crash") == crashes:
                yield at, kind


def _judge(result: Result, world: World, fault: Fault, where: str, rng: random.Random) -> None:
    """What a power cut leaves behind, what a kill does, and what a later power cut leaves of the latter.

    The last is for errors: a start may have believed what only the page cache held, and built on it.
    """
    result.planned += 1
    result.fired += bool(fault.fired)
    result.violations += [f"{where}: {each}" for each in world.violations]
    # The other disk first: a check changes its own.
    for name, disk in (("power loss", world.disk.after_power_loss(rng)), ("kill", world.disk)):
        result.violations += [f"{where}, {name}: {each}" for each in check(world, disk)]
    if not fault.kind.startswith("crash"):
        later = world.disk.after_power_loss(rng)
        result.violations += [f"{where}, later power loss: {each}" for each in check(world, later)]


def _everywhere(result: Result, size: int, part: Part, these: Faults, forever: Sequence[bool]) -> Result:
    for number in part.of(size):
        life = f"{result.seed} {number}"
        rng = random.Random(f"{result.campaign} {life}")
        calls = _life(life).calls
        for process in range(2):
            for (at, kind), ever in itertools.product(these(calls[process]), forever):
                fault = Fault(at, kind, ever)
                where = f"life {number}, process {process}, {fault} ({calls[process][at]})"
                _judge(result, _life(life, {process: fault}), fault, where, rng)
                if result.ended:
                    return result
    return result


def crash_everywhere(seed: int, size: int, part: Part = WHOLE) -> Result:
    """A crash before, within and after every call of `size` lives: of appends, publishing and recovery."""
    crashes = partial(_faults, crashes=True)
    return _everywhere(Result("crash_everywhere", seed), size, part, crashes, (False,))


def error_everywhere(seed: int, size: int, part: Part = WHOLE) -> Result:
    """Every error at every call of `size` lives, once, and until somebody mends the disk."""
    errors = partial(_faults, crashes=False)
    return _everywhere(Result("error_everywhere", seed), size, part, errors, (False, True))


def failed_syncs(seed: int, size: int, until_violated: bool = False, part: Part = WHOLE) -> Result:
    """Every fdatasync of `size` lives fails: what it should have written shows until the power goes."""
    result = Result("failed_syncs", seed, until_violated=until_violated)
    return _everywhere(result, size, part, _failing_datasyncs, (False,))


def _failing_datasyncs(calls: Sequence[str]) -> Iterator[tuple[int, str]]:
    return ((at, "EIO") for at, operation in enumerate(calls) if operation == "datasync")


def any_fault(seed: int, size: int, until_violated: bool = False, part: Part = WHOLE) -> Result:
    """`size` faults of any kind at any call of either process, each in a life of its own."""
    return _any_fault(Result("any_fault", seed, until_violated=until_violated), size, part, _life)


def any_fault_while_blocked(seed: int, size: int, until_violated: bool = False, part: Part = WHOLE) -> Result:
    """The same in lives in which rows are carried over: most faults are at calls that do that."""
    result = Result("any_fault_while_blocked", seed, until_violated=until_violated)
    return _any_fault(result, size, part, _blocked_life)


def _any_fault(result: Result, size: int, part: Part, live: Callable[..., World]) -> Result:
    for number in part.of(size):
        life = f"{result.seed} {number}"
        rng = random.Random(f"any {life}")
        world = live(life)
        process = rng.randrange(2)
        chosen = [*_faults(world.calls[process], True), *_faults(world.calls[process], False)]
        carrying = [each for each in chosen if each[0] in world.carrying[process]]
        at, kind = rng.choice(carrying if carrying and rng.random() < 0.7 else chosen)
        fault = Fault(at, kind, not kind.startswith("crash") and rng.random() < 0.5)
        where = f"life {number}, process {process}, {fault}"
        _judge(result, live(life, {process: fault}), fault, where, rng)
        if result.ended:
            break
    return result


def power_loss(seed: int, size: int, until_violated: bool = False, part: Part = WHOLE) -> Result:
    """`size` states that a power cut leaves at a random call of a random life."""
    result = Result("power_loss", seed, distinct=0, until_violated=until_violated)
    for number in part.of(-(-size // STATES_PER_LIFE)):
        life = f"{seed} {number}"
        rng = random.Random(f"power {life}")
        calls = _life(life).calls
        process = rng.randrange(2)
        fault = Fault(rng.randrange(len(calls[process])), "crash_before")
        world = _life(life, {process: fault})
        result.violations += [f"life {number}: {each}" for each in world.violations]
        cuts = PowerCuts(world)
        for _ in range(STATES_PER_LIFE):
            result.planned += 1
            result.fired += bool(fault.fired)
            wrong = cuts.judge(world.disk.after_power_loss(rng))
            where = f"life {number}, process {process}, call {fault.at}"
            result.violations += [f"{where}: {each}" for each in wrong]
        result.distinct = (result.distinct or 0) + cuts.distinct
        if result.ended:
            break
    return result


def crash_in_recovery(seed: int, size: int, part: Part = WHOLE) -> Result:
    """`size` crashes and errors in the recovery after a crash or a power cut; then recover again."""
    result = Result("crash_in_recovery", seed)
    for number in itertools.count(part.index + 1, part.count):
        if result.planned >= len(part.of(size)):
            break
        rng = random.Random(f"recovery {seed} {number}")
        calls = _life(f"{seed} {number}").calls
        world = _life(f"{seed} {number}", {0: Fault(rng.randrange(len(calls[0])), "crash_before")})
        disk = world.disk.after_power_loss(rng) if rng.random() < 0.5 else world.disk
        healthy = Process(copy.deepcopy(disk), list(world.clock), world.metrics)
        healthy.open()
        healthy.kill()
        chosen = [*_faults(healthy.fs.calls, True), *_faults(healthy.fs.calls, False)]
        for at, kind in rng.sample(chosen, min(len(chosen), RECOVERIES_PER_LIFE)):
            fault, left = Fault(at, kind), copy.deepcopy(disk)
            again = Process(left, list(world.clock), world.metrics, fault)
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
    for each in (
        model,
        crash_everywhere,
        error_everywhere,
        failed_syncs,
        any_fault,
        any_fault_while_blocked,
        power_loss,
        crash_in_recovery,
    )
}


def _begin() -> None:
    logging.disable()  # every fault is logged by the service as what it is
    pa.set_cpu_count(1)  # threads of its own take longer to wake than the few rows take
    pa.set_io_thread_count(1)


def _run(part: Part, campaign: str, seed: int, size: int, more: dict[str, Any]) -> Result:
    result: Result = CAMPAIGNS[campaign](seed, size, part=part, **more)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("campaign", choices=CAMPAIGNS)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--steps", type=int, default=40, help="of each run of model")
    parser.add_argument("--processes", type=int, default=1, help="to share the lives among")
    parser.add_argument("--until-violated", action="store_true", help="not for each campaign")
    options = parser.parse_args()
    more = {"steps": options.steps} if options.campaign == "model" else {}
    more |= {"until_violated": True} if options.until_violated else {}
    run = partial(_run, campaign=options.campaign, seed=options.seed, size=options.size, more=more)
    if options.processes > 1:
        result = in_processes(options.processes, run, _begin)
    else:
        _begin()
        result = run(WHOLE)
    print(result)
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
