"""Faults of the world around a service, at random among kills, stops and flushes under load.

    python -m tests.torture.fault_campaign --rounds 1000 --seed 1
    python -m tests.torture.fault_campaign --rounds 200 --seed 1 --bucket
    python -m tests.torture.fault_campaign --rounds 100 --seed 1 --tables

In each round one thing happens to files, manifest, folders or clock (tests/torture/world_faults.py), and the
service is killed or stopped some of the time. Then all that was acknowledged is held against the files and
against what the service says of itself (tests/torture/fault_oracle.py). All kinds of fault occur equally
often. Over a bucket they are those of the manifest and the clock: objects are not listed, so what became of
one is found out by whoever reads it. With a catalog promoted columns change.
"""

import argparse
import contextlib
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from tests.support.forked_service import (
    Forked,
    ForkedBucketService,
    ForkedCatalogService,
    ForkedService,
    Forks,
)
from tests.support.s3_server import CREDENTIALS, running_s3_server
from tests.support.service import DidNotStart
from tests.torture.fault_scene import Scene
from tests.torture.ledger import Outcome
from tests.torture.world_faults import FAULTS, FAULTS_OF_A_BUCKET, FAULTS_OF_TABLES, Fault

CATALOG_MODULES: Final = ("pyiceberg.catalog.sql", "app.catalog.registrar", "app.catalog.table")
"""What a service with a catalog imports later."""

ROUNDS_PER_DIRECTORY: Final = 15


class Result(msgspec.Struct):
    """fired: rounds whose fault happened, by fault. lost_rows: destroyed by the campaign, and said to be."""

    seed: int
    planned: int
    fired: Counter[str] = msgspec.field(default_factory=Counter)
    violations: list[str] = []
    kills: int = 0
    accepted_rows: int = 0
    unknown_rows: int = 0
    lost_rows: int = 0

    @property
    def passed(self) -> bool:
        return 0 < self.planned == self.fired.total() and not self.violations

    def __str__(self) -> str:
        faults = ", ".join(f"{fault} {count}" for fault, count in sorted(self.fired.items()))
        return (
            f"faults: seed {self.seed} planned {self.planned} fired {self.fired.total()} ({faults}) "
            f"violations {len(self.violations)} (kills {self.kills}, rows acknowledged {self.accepted_rows}, "
            f"without an answer {self.unknown_rows}, destroyed and said to be lost {self.lost_rows})"
        )


def campaign_over_a_bucket(rounds: int, seed: int, directory: Path) -> Result:
    """With an S3 server, which lives on; the services find its credentials in the environment."""
    os.environ.update(CREDENTIALS)
    (place := directory / "s3").mkdir()
    with running_s3_server(place) as server:
        new_service = partial(ForkedBucketService, endpoint=server.endpoint)
        return campaign(rounds, seed, directory, FAULTS_OF_A_BUCKET, new_service)


def campaign_with_tables(rounds: int, seed: int, directory: Path) -> Result:
    """With a catalog, and promoted columns that change."""
    return campaign(rounds, seed, directory, FAULTS_OF_TABLES, ForkedCatalogService, CATALOG_MODULES)


def campaign(
    rounds: int,
    seed: int,
    directory: Path,
    faults: Mapping[str, Fault] = FAULTS,
    new_service: Callable[..., Forked] = ForkedService,
    modules: Sequence[str] = (),
) -> Result:
    """So many rounds, in directories of their own below `directory`; it ends with the first violation."""
    result = Result(seed, rounds)
    rng = random.Random(seed)
    chosen = _in_turn(sorted(faults), rng)
    with Forks(*modules) as forks:
        for start in range(0, rounds, ROUNDS_PER_DIRECTORY):
            (place := directory / f"place-{start}").mkdir()
            with Scene(place, partial(new_service, forks=forks), rng) as scene:
                for number in range(start, min(start + ROUNDS_PER_DIRECTORY, rounds)):
                    name = next(chosen)
                    wrong = _round(scene, faults[name], name, result)
                    result.violations += [f"round {number}, {name}: {each}" for each in wrong]
                    if result.violations:
                        break
                _count(scene, result)
            if result.violations:
                break
            shutil.rmtree(place)
    return result


def _in_turn(names: Sequence[str], rng: random.Random) -> Iterator[str]:
    """All of them, in an order that is always another."""
    while True:
        yield from rng.sample(names, len(names))


def _round(scene: Scene, fault: Fault, name: str, result: Result) -> list[str]:
    rng = scene.rng
    try:
        scene.start()
        scene.load()
        scene.flush()
        scene.keep_older()
        if rng.random() < 0.3:
            scene.load(scene.stop)
            scene.start()
        scene.load()
        if rng.random() < 0.7:
            scene.flush()
        result.fired[name] += fault(scene)
        if rng.random() < 0.4:
            scene.load(scene.stop)
            scene.start()
        scene.load()
        if rng.random() < 0.3:
            scene.restart()
        return scene.verdict()
    except (DidNotStart, AssertionError) as error:
        return [*scene.wrong, str(error)]


def _count(scene: Scene, result: Result) -> None:
    result.kills += scene.kills
    result.accepted_rows += scene.ledger.count(Outcome.ACCEPTED)
    result.unknown_rows += scene.ledger.count(Outcome.UNKNOWN)
    result.lost_rows += len(scene.forgiven)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bucket", action="store_true", help="files go to an S3 server")
    parser.add_argument("--tables", action="store_true", help="files are registered in Iceberg tables")
    parser.add_argument("--only", choices=sorted(FAULTS), action="append", help="these faults alone")
    parser.add_argument("--keep", type=Path, help="an empty directory to work in, which stays")
    options = parser.parse_args(arguments)
    faults = {name: FAULTS[name] for name in options.only or FAULTS}
    with contextlib.ExitStack() as held:
        directory = options.keep or Path(held.enter_context(tempfile.TemporaryDirectory()))
        directory.mkdir(exist_ok=True)
        if options.bucket:
            result = campaign_over_a_bucket(options.rounds, options.seed, directory)
        elif options.tables:
            result = campaign_with_tables(options.rounds, options.seed, directory)
        else:
            result = campaign(options.rounds, options.seed, directory, faults)
    print(result)
    for violation in result.violations[:20]:
        print(f"  {violation}")
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
