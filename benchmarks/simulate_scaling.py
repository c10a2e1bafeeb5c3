"""How far files lag, how large journals get, what a lost disk costs: nodes that crash, a store that fails.

    python -m benchmarks.simulate_scaling [--seed 7] [--hours 6]

A model in ticks of one second, not the service. Rows arrive by Poisson, with bursts, are shared by the nodes
that are up, wait in a node's journal, and are published by age or by pressure on its buffer, as
app/publish/rotation.py decides, while the store is up. A node that crashes comes back after a restart and the
replay of its journal; now and then its disk is lost, and with it what was not published. What nobody takes
waits with the clients, which send it again. A node is one partition here: docs/scaling.md has what partitions
cost.

Prints the table of docs/scaling.md. Every number of it depends on the arguments and the seed alone.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

YEAR_S: Final = 365 * 86_400


@dataclass(frozen=True)
class Scenario:
    """What is simulated. Rates are rows a second, and of one node but for rows_per_s; times are seconds.

    rows_per_s: of all nodes together outside bursts. burst_factor: times as many in a burst.
    ingest_rate, publish_rate, replay_rate: what one node does at most.
    buffer_rows, journal_rows: rows that a node buffers, and that its journal holds, at most; from half of the
    smaller on it publishes, down to a quarter. lag_s: age at which rows are published.
    crash_every_s: mean time between crashes of one node; restart_s until it replays. disk_lost: the share
    of crashes after which the disk is gone, and another node takes the place after replace_s.
    outage_every_s, outage_s: mean time between the store's outages, and their mean length.
    """

    name: str = ""
    seconds: int = 6 * 3600
    nodes: int = 4
    rows_per_s: float = 200_000
    burst_every_s: float = 1_800
    burst_s: float = 60
    burst_factor: float = 2.0
    ingest_rate: int = 90_000
    publish_rate: int = 250_000
    replay_rate: int = 780_000
    buffer_rows: int = 409_000
    journal_rows: int = 35_700_000
    lag_s: int = 60
    crash_every_s: float = 7_200
    restart_s: int = 10
    disk_lost: float = 0.05
    replace_s: int = 300
    outage_every_s: float = 10_800
    outage_s: float = 300

    @property
    def room_rows(self) -> int:
        return min(self.buffer_rows, self.journal_rows)


@dataclass(frozen=True)
class Outcome:
    """What happened. Every row is in one place: arrived = published + held + lost + waiting.

    held: rows in journals at the end. waiting: with clients at the end. lag_s, lag_rows: seconds from the
    receipt to the publish, and how many rows had it. backlog: rows in each node's journal, [tick, node].
    """

    scenario: Scenario
    arrived: int
    accepted: int
    published: int
    held: int
    lost: int
    waiting: int
    waiting_max: int
    refusing_s: int
    crashes: int
    disks_lost: int
    outage_ticks: int
    lag_s: Integers
    lag_rows: Integers
    backlog: Integers


class Nodes:
    """The state of all nodes, one element each, and what one tick does to it. Rows are cumulative counts."""

    def __init__(self, scenario: Scenario) -> None:
        count = scenario.nodes
        self.scenario = scenario
        self.accepted: Integers = np.zeros(count, np.int64)
        self.gone: Integers = np.zeros(count, np.int64)  # published or lost: no longer in the journal
        self.target: Integers = np.zeros(count, np.int64)  # a publish under way goes on to here
        self.back_at: Integers = np.zeros(count, np.int64)
        self.lost: Integers = np.zeros(count, np.int64)

    @property
    def backlog(self) -> Integers:
        return self.accepted - self.gone

    def crash(self, tick: int, crashing: Flags, disk_lost: Flags) -> None:
        """Nodes stop until they have replayed, or until another has their place with an empty journal.

        For a tick at least: in one in which rows are lost, none are published.
        """
        scenario, backlog = self.scenario, self.backlog
        replayed = tick + scenario.restart_s + backlog // scenario.replay_rate
        until = np.where(disk_lost, tick + scenario.replace_s, replayed)
        self.back_at = np.where(crashing, np.maximum(until, tick + 1), self.back_at)
        gone = np.where(crashing & disk_lost, backlog, 0)
        self.lost += gone
        self.gone += gone
        self.target = np.where(crashing, self.gone, self.target)

    def accept(self, tick: int, offered: int) -> int:
        """Shares rows among the nodes that are up, as far as each has room; returns how many were taken."""
        scenario = self.scenario
        up = self.back_at <= tick
        room = np.minimum(scenario.ingest_rate, scenario.room_rows - self.backlog)
        room = np.where(up, np.maximum(room, 0), 0)
        taken = np.minimum(room, shares(offered, up))
        taken += np.minimum(room - taken, shares(offered - int(taken.sum()), room > taken))
        self.accepted += taken
        return int(taken.sum())

    def publish(self, tick: int, old: Integers) -> int:
        """Publishes what is due, and returns how many rows. old: what each node had accepted lag_s ago."""
        scenario, backlog = self.scenario, self.backlog
        by_age = np.where(old > self.gone, self.accepted, 0)
        pressed = backlog > scenario.room_rows // 2
        by_pressure = np.where(pressed, self.accepted - scenario.room_rows // 4, 0)
        self.target = np.maximum(self.target, np.maximum(by_age, by_pressure))
        rows = np.clip(self.target - self.gone, 0, scenario.publish_rate)
        rows = np.where(self.back_at <= tick, rows, 0)
        self.gone += rows
        return int(rows.sum())


def shares(rows: int, among: Flags) -> Integers:
    """Rows in equal whole parts, the first ones a row more; nothing where there is nobody."""
    count = int(among.sum())
    parts = np.zeros(len(among), np.int64)
    if count and rows > 0:
        parts[among] = rows // count
        parts[np.flatnonzero(among)[: rows % count]] += 1
    return parts


def spells(random: np.random.Generator, seconds: int, every_s: float, length_s: float) -> Flags:
    """Which ticks lie in spells; pauses and lengths are exponentially distributed around these means."""
    within = np.zeros(seconds, np.bool_)
    tick = random.exponential(every_s)
    while tick < seconds:
        length = max(1.0, random.exponential(length_s))
        within[int(tick) : int(tick + length)] = True
        tick += length + random.exponential(every_s)
    return within


def simulate(scenario: Scenario, seed: int) -> Outcome:
    """One run; the same scenario and seed give the same outcome. Time: about 60 µs a tick."""
    random = np.random.default_rng(seed)
    seconds, count = scenario.seconds, scenario.nodes
    bursts = spells(random, seconds, scenario.burst_every_s, scenario.burst_s)
    outages = spells(random, seconds, scenario.outage_every_s, scenario.outage_s)
    arriving = random.poisson(scenario.rows_per_s * np.where(bursts, scenario.burst_factor, 1.0))
    crashing = random.random((seconds, count)) < 1 / scenario.crash_every_s
    disk_lost = random.random((seconds, count)) < scenario.disk_lost
    accepted: Integers = np.zeros((seconds + 1, count), np.int64)
    gone: Integers = np.zeros((seconds + 1, count), np.int64)
    losing: Flags = np.zeros((seconds, count), np.bool_)
    waits: Integers = np.zeros(seconds, np.int64)
    nodes, waiting, published, crashes = Nodes(scenario), 0, 0, 0
    for tick in range(seconds):
        now = crashing[tick] & (nodes.back_at <= tick)
        if now.any():
            losing[tick] = now & disk_lost[tick]
            crashes += int(now.sum())
            nodes.crash(tick, now, disk_lost[tick])
        waiting += int(arriving[tick])
        waiting -= nodes.accept(tick, waiting)
        if not outages[tick]:
            published += nodes.publish(tick, accepted[max(0, tick + 1 - scenario.lag_s)])
        waits[tick] = waiting
        accepted[tick + 1], gone[tick + 1] = nodes.accepted, nodes.gone
    lag_s, lag_rows = lags(accepted, gone, losing)
    return Outcome(
        scenario=scenario,
        arrived=int(arriving.sum()),
        accepted=int(nodes.accepted.sum()),
        published=published,
        held=int(nodes.backlog.sum()),
        lost=int(nodes.lost.sum()),
        waiting=waiting,
        waiting_max=int(waits.max()),
        refusing_s=int((waits > 0).sum()),
        crashes=crashes,
        disks_lost=int(losing.sum()),
        outage_ticks=int(outages.sum()),
        lag_s=lag_s,
        lag_rows=lag_rows,
        backlog=accepted - gone,
    )


def lags(accepted: Integers, gone: Integers, losing: Flags) -> tuple[Integers, Integers]:
    """How long published rows waited, in ticks, and how many did: from cumulative counts, [tick + 1, node].

    A node's journal is read in order, so row i left in the first tick after which more than i rows had left.
    losing: in which ticks the rows that left were lost; [tick, node].
    """
    ticks: Integers = np.zeros(len(accepted), np.int64)
    for node in range(accepted.shape[1]):
        came, left = accepted[:, node], gone[:, node]
        edges = np.unique(np.concatenate((came, left)))
        edges = edges[edges <= left[-1]]
        first, rows = edges[:-1], np.diff(edges)
        came_at = np.searchsorted(came, first, side="right")
        left_at = np.searchsorted(left, first, side="right")
        rows = np.where(losing[left_at - 1, node], 0, rows)  # in a tick of a loss nothing is published
        np.add.at(ticks, left_at - came_at, rows)
    used = np.flatnonzero(ticks)
    return used, ticks[used]


def percentile(values: Integers, weights: Integers, share: float) -> int:
    """The smallest value that at least this share of the weights does not exceed; 0 without any."""
    if not len(values):
        return 0
    total = np.cumsum(weights)
    return int(values[np.searchsorted(total, share * total[-1])])


def scenarios(seconds: int) -> list[Scenario]:
    """What docs/scaling.md compares: the measured node, more of them, and one thing changed at a time."""
    four = Scenario(name="4 nodes, 200 k rows/s", seconds=seconds)
    calm = replace(four, crash_every_s=YEAR_S, outage_every_s=YEAR_S, burst_factor=1.0)
    roomy = {"buffer_rows": 60_000_000, "journal_rows": 71_000_000}
    return [
        replace(calm, name="1 node, 50 k rows/s, nothing fails", nodes=1, rows_per_s=50_000),
        replace(calm, name="4 nodes, 200 k rows/s, nothing fails"),
        four,
        replace(four, name="… buffers of 2 GB", buffer_rows=6_390_000),
        replace(four, name="… 2 GB, and no outages", buffer_rows=6_390_000, outage_every_s=YEAR_S),
        replace(four, name="… 19 GB, a journal of 8 GB, a flush every 10 min", lag_s=600, **roomy),
        replace(four, name="3 nodes, 200 k rows/s: less to spare", nodes=3),
        replace(four, name="20 nodes, 1 M rows/s", nodes=20, rows_per_s=1_000_000),
        replace(
            four,
            name="20 nodes, 1 M rows/s, buffers of 2 GB",
            nodes=20,
            rows_per_s=1_000_000,
            buffer_rows=6_390_000,
        ),
    ]


HEADER: Final = (
    "scenario",
    "lag p50 / p99 / max, s",
    "clients wait, s (most rows)",
    "journal, max MB per node",
    "rows at risk per disk: mean / max",
    "crashes, disks, outage s",
    "lost",
)


def table_row(outcome: Outcome, journal_bytes: int) -> Sequence[str]:
    lag = " / ".join(str(percentile(outcome.lag_s, outcome.lag_rows, share)) for share in (0.5, 0.99, 1.0))
    most, mean = int(outcome.backlog.max()), float(outcome.backlog.mean())
    return (
        outcome.scenario.name,
        lag,
        f"{outcome.refusing_s} ({outcome.waiting_max / 1e6:.1f} M)",
        f"{most * journal_bytes / 1e6:.0f}",
        f"{mean / 1e6:.2f} M / {most / 1e6:.2f} M",
        f"{outcome.crashes}, {outcome.disks_lost}, {outcome.outage_ticks}",
        f"{outcome.lost / 1e6:.2f} M ({1e6 * outcome.lost / max(1, outcome.accepted):.0f} ppm)",
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate_scaling", description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--journal-bytes", type=int, default=112, help="of one row")
    options = parser.parse_args()
    print("|", " | ".join(HEADER), "|")
    print("|" + "---|" * len(HEADER))
    for scenario in scenarios(round(options.hours * 3600)):
        outcome = simulate(scenario, options.seed)
        print("|", " | ".join(table_row(outcome, options.journal_bytes)), "|", flush=True)


if __name__ == "__main__":
    main()
