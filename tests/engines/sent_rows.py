"""What the service was sent for the query tests: three workspaces, three days, three kinds.

The expected answers are computed from these rows, never read back from a file.
"""

import datetime
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

DAYS: Final = ("2026-03-01", "2026-03-02", "2026-03-03")
WORKSPACES: Final = (1, 2, 3)
EVENTS_A_DAY: Final = 400
LEVELS: Final = ("info", "warning", "error", "critical")


class Sent(NamedTuple):
    """One row as it was posted. day: on which the service received it."""

    workspace: int
    day: str
    row: dict[str, Any]


def noon(day: str) -> str:
    return f"{day}T12:00:00+00:00"


def morning_ms(day: str) -> int:
    return round(datetime.datetime.fromisoformat(f"{day}T08:00:00+00:00").timestamp() * 1000)


def events() -> Iterator[Sent]:
    for day in DAYS:
        for workspace in WORKSPACES:
            for number in range(EVENTS_A_DAY * workspace):
                yield Sent(workspace, day, _event(day, number))


def _event(day: str, number: int) -> dict[str, Any]:
    purchase = number % 10 == 0
    properties: dict[str, Any] = {"path": f"/product/{number % 3}"}
    if purchase:
        properties["price"] = 5.25 + number % 7
    return {
        "type": "track",
        "event": "purchase" if purchase else "page_view",
        "device_id": f"00000000-0000-4000-8000-{number % 5:012d}",
        "session_id": f"00000000-0000-4000-9000-{number % 20:012d}",
        "timestamp": morning_ms(day) + number,
        "properties": properties,
    }


def logs() -> Iterator[Sent]:
    for day in DAYS:
        for workspace in WORKSPACES:
            for number in range(50):
                yield Sent(
                    workspace,
                    day,
                    {
                        "message": f"line {number}",
                        "level": LEVELS[number % len(LEVELS)],
                        "service": "api",
                        "timestamp": morning_ms(day) + number,
                    },
                )


def snapshots() -> Iterator[Sent]:
    for day in DAYS:
        for workspace in WORKSPACES:
            for number in range(4):
                yield Sent(
                    workspace,
                    day,
                    {
                        "source": "github",
                        "entity": f"user/repo-{number}",
                        "timestamp": morning_ms(day),
                        "metrics": {"stars": 100 * number + DAYS.index(day)},
                    },
                )


SENT: Final = {"events": events, "logs": logs, "snapshots": snapshots}
