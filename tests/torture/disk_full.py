"""A real file system that is full: refusals with 507, nothing acknowledged lost, on again without a restart.

    python -m tests.torture.disk_full --rounds 500 --seed 1

Needs the right to mount (root). Each round: post until the service refuses, or fill the rest of the disk with
something else first, so that writes meet ENOSPC; then free the space, and post again.
"""

import argparse
import contextlib
import http.client
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from app.kinds import Kind
from tests.support.service import KEYS, Service
from tests.torture.kill_campaign import post
from tests.torture.ledger import Ledger, Outcome
from tests.torture.oracle import violations

DISK_BYTES: Final = 64 << 20
RECOVER_SECONDS_MAX: Final = 30.0
ROWS: Final = 2_000
CONFIG: Final[dict[str, dict[str, Any]]] = {
    "journal": {
        "segment_size": "1MB",
        "min_free_space": "4MB",
        "resume_free_space": "8MB",
        "reserve_size": "4MB",
        "min_free_inodes": 0,
    },
    "sinks.parquet": {"flush_interval": "200ms", "compression": "uncompressed"},
}


class Result(msgspec.Struct):
    """fired: rounds in which a batch was refused with 507."""

    seed: int
    planned: int
    fired: int = 0
    violations: list[str] = []
    accepted_rows: int = 0

    def __str__(self) -> str:
        return (
            f"disk full: seed {self.seed} planned {self.planned} fired {self.fired} "
            f"violations {len(self.violations)} (rows acknowledged {self.accepted_rows})"
        )


@contextlib.contextmanager
def small_disk(directory: Path) -> Iterator[Path]:
    """A tmpfs of DISK_BYTES for as long as the context lasts. Raises CalledProcessError without the right."""
    directory.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(directory)],
        check=True,
        capture_output=True,
    )
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def campaign(rounds: int, seed: int, directory: Path) -> Result:
    result = Result(seed, rounds)
    random_ = random.Random(seed)
    left, number = rounds, 0
    while left > 0 and not result.violations:
        number += 1
        with small_disk(directory / f"disk-{number}") as disk:
            # A disk holds so many rounds' rows; then a new one is taken.
            done = _disk(disk, left, random_, result)
        left -= done
    return result


def _disk(disk: Path, rounds: int, random_: random.Random, result: Result) -> int:
    done = 0
    ballast = disk / "ballast"
    with tempfile.TemporaryDirectory() as elsewhere:
        ledger = Ledger(Path(elsewhere) / "ledger")
        with contextlib.closing(ledger), Service(disk, CONFIG) as service:
            service.start()
            while done < rounds and _data_bytes(service) < DISK_BYTES // 4 and not result.violations:
                done += 1
                _round(service, ledger, ballast, random_, result)
            service.flush()
            result.violations += violations(ledger.batches, service.parquet)
            if service.terminate() != 0:
                result.violations.append("the service did not stop with exit code 0")
        result.accepted_rows += ledger.count(Outcome.ACCEPTED)
    return done


def _round(service: Service, ledger: Ledger, ballast: Path, random_: random.Random, result: Result) -> None:
    # To the last block, so that journal and files meet ENOSPC; or so far that admission refuses.
    leave = random_.choice((0, 0, 100_000, 3_000_000))
    _fill(ballast, leave)
    refused = _post_until(service, ledger, 507)
    result.fired += refused
    ballast.unlink()
    if not _post_until(service, ledger, 202):
        result.violations.append("no batch was taken after space was freed")


def _fill(ballast: Path, leave: int) -> None:
    with ballast.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(bytes(1 << 16)):
                pass
        file.truncate(max(file.tell() - leave, 0))


def _post_until(service: Service, ledger: Ledger, status: int) -> bool:
    """Posts batches until one is answered so; False when that takes too long."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    deadline = time.monotonic() + RECOVER_SECONDS_MAX
    with contextlib.closing(connection):
        while time.monotonic() < deadline:
            kind = Kind.EVENTS if len(ledger.batches) % 2 else Kind.SNAPSHOTS
            batch = ledger.sending(kind.value, next(iter(KEYS)), ROWS)
            if not post(connection, ledger, batch, flatbuffer=len(ledger.batches) % 3 == 0):
                raise AssertionError(f"the service is gone:\n{service.stderr[-3000:]}")
            if batch.status == status:
                return True
    return False


def _data_bytes(service: Service) -> int:
    return sum(path.stat().st_size for path in service.data_files())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        result = campaign(options.rounds, options.seed, Path(directory))
    print(result)
    for violation in result.violations[:20]:
        print(f"  {violation}")
    return 0 if result.fired == result.planned and not result.violations else 1


if __name__ == "__main__":
    sys.exit(main())
