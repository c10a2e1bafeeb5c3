"""A campaign whole, or in parts that run side by side."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Final

import msgspec


class Part(msgspec.Struct, frozen=True):
    """Every `count`th life, from number `index` on: all parts together are the whole campaign."""

    index: int = 0
    count: int = 1

    def of(self, size: int) -> range:
        return range(self.index, size, self.count)


WHOLE: Final = Part()


class Result(msgspec.Struct):
    """distinct: states that differ; a power cut may leave what another one has left before."""

    campaign: str
    seed: int
    planned: int = 0
    fired: int = 0
    violations: list[str] = []
    distinct: int | None = None
    until_violated: bool = False

    @property
    def ended(self) -> bool:
        """Whether the first violation was enough: when it is only asked whether the campaign notices."""
        return self.until_violated and bool(self.violations)

    @property
    def passed(self) -> bool:
        return 0 < self.planned == self.fired and not self.violations

    def __str__(self) -> str:
        counts = f"planned {self.planned} fired {self.fired} violations {len(self.violations)}"
        if self.distinct is not None:
            counts += f" ({self.distinct} distinct states)"
        return "\n  ".join(
            [f"whole service, {self.campaign}: seed {self.seed} {counts}", *self.violations[:10]]
        )


def together(results: list[Result]) -> Result:
    """The result of the campaign that these are all parts of."""
    counted = [result.distinct for result in results if result.distinct is not None]
    return Result(
        results[0].campaign,
        results[0].seed,
        sum(result.planned for result in results),
        sum(result.fired for result in results),
        [violation for result in results for violation in result.violations],
        sum(counted) if counted else None,
    )


def in_processes(count: int, run: Callable[[Part], Result], begin: Callable[[], None]) -> Result:
    """`run` for each part, in a process of its own that calls `begin` first; both are sent by name."""
    parts = [Part(index, count) for index in range(count)]
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), initializer=begin) as pool:
        return together(list(pool.map(run, parts)))
