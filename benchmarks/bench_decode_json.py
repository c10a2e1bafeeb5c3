"""Decoding JSON batches: time per row by kind, by shape, by batch size and by group size.

python benchmarks/bench_decode_json.py [--json] [--seconds 0.3] [--shape nested ...]

Beside it stands what one would write first: orjson.loads for each line, a dict for each row, and
pyarrow.Table.from_pylist.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from app.decode.json.decode import decode_json
from app.kinds import Kind
from app.schema import SCHEMAS
from app.submission import DecodePolicy, Submission, WireFormat

BATCH_ROWS = (3, 10, 100, 500, 2000)
GROUPS = (1, 64)
MAX_ROWS_A_GROUP = 32_000
PAYLOAD_PLACES = ("properties", "traits", "data", "payload", "metrics")
COLUMN_KEYS = {
    "type",
    "event",
    "device_id",
    "session_id",
    "timestamp",
    "level",
    "source",
    "service",
    "entity",
}


def uuid(i: int) -> str:
    return str(UUID(int=i % 1000 << 64 | 0x4000_8000_0000_0000_0000))


def members(i: int) -> dict[str, Any]:
    return {
        "page": f"/products/{i % 97}",
        "referrer": "https://www.example.com/search?q=x",
        "duration_ms": 100 + i % 900,
        "price": 12.5,
        "plan": "team",
        "ok": True,
    }


def event(i: int) -> dict[str, Any]:
    return {
        "type": "identify" if i % 10 == 0 else "track",
        "event": "page_view",
        "device_id": uuid(i),
        "session_id": uuid(i + 7),
        "timestamp": 1_700_000_000_000 + i,
    }


def anonymous(i: int) -> dict[str, Any]:
    return event(i) | {"properties": members(i)}


def nested(i: int) -> dict[str, Any]:
    context = {"os": "linux", "locale": "de-DE"}
    return event(i) | {"user_id": f"user-{i % 500}", "properties": members(i), "context": context}


def flat(i: int) -> dict[str, Any]:
    return event(i) | members(i)


def flat_user(i: int) -> dict[str, Any]:
    return event(i) | {"user_id": f"user-{i % 500}"} | members(i)


def log(i: int) -> dict[str, Any]:
    return {
        "level": "warn" if i % 10 == 0 else "info",
        "message": f"request {i} took longer than expected",
        "timestamp": 1_700_000_000_000 + i,
        "source": "host-1.example.com",
        "service": "web",
        "data": {"path": f"/products/{i % 97}", "status": 200, "duration_ms": 100 + i % 900},
    }


def snapshot(i: int) -> dict[str, Any]:
    return {
        "source": "github",
        "entity": f"user/repository-{i % 97}",
        "timestamp": 1_700_000_000_000 + i,
        "metrics": {"stars": i, "forks": i % 100, "open_issues": i % 10},
    }


SHAPES: dict[str, tuple[Kind, Callable[[int], dict[str, Any]]]] = {
    "nested": (Kind.EVENTS, nested),
    "anonymous": (Kind.EVENTS, anonymous),
    "flat": (Kind.EVENTS, flat),
    "flat_user": (Kind.EVENTS, flat_user),
    "logs": (Kind.LOGS, log),
    "snapshots": (Kind.SNAPSHOTS, snapshot),
}


def submissions(shape: str, rows: int, batches: int) -> list[Submission]:
    kind, row = SHAPES[shape]
    source_ip = bytes(10) + b"\xff\xff\x7f\x00\x00\x01"
    return [
        Submission(
            WireFormat.JSON,
            kind,
            b"\n".join(orjson.dumps(row(batch * rows + i)) for i in range(rows)),
            bytes(16),
            7,
            source_ip,
            1_700_000_000_000,
        )
        for batch in range(batches)
    ]


def decode(group: list[Submission]) -> int:
    """The rows that the service makes of a group."""
    decoded = decode_json(group, DecodePolicy())
    assert all(verdict.error is None and not verdict.rejected for verdict in decoded.verdicts)
    return sum(decoded_group.rows.num_rows for decoded_group in decoded.groups)


def decode_naively(group: list[Submission]) -> int:
    """The same columns, a dict for each row."""
    rows = []
    for sent in group:
        for line in sent.body.split(b"\n"):
            row = orjson.loads(line)
            payload = {key: value for key, value in row.items() if key not in COLUMN_KEYS}
            for place in PAYLOAD_PLACES:
                payload.update(payload.pop(place, {}))
            ids = {key: UUID(row[key]).bytes for key in ("device_id", "session_id") if key in row}
            rows.append(
                row
                | ids
                | {
                    "batch_timestamp": sent.received_ms,
                    "workspace_id": sent.workspace_id,
                    "event_type": row.get("type", "log"),
                    "event_name": row.get("event"),
                    "source_ip": sent.source_ip,
                    "payload": orjson.dumps(payload),
                }
            )
    assert group[0].kind is not None
    return int(pa.Table.from_pylist(rows, SCHEMAS[group[0].kind]).num_rows)


def seconds_per_call(
    call: Callable[[list[Submission]], int], group: list[Submission], budget_s: float
) -> float:
    """The median of as many calls as fit into the budget, at least five."""
    taken: list[float] = []
    end = time.perf_counter() + budget_s
    while len(taken) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        call(group)
        taken.append(time.perf_counter() - start)
    return sorted(taken)[len(taken) // 2]


def measure(shape: str, budget_s: float) -> list[dict[str, Any]]:
    results = []
    for rows in BATCH_ROWS:
        for batches in GROUPS:
            if (total := rows * batches) > MAX_ROWS_A_GROUP:
                continue
            group = submissions(shape, rows, batches)
            assert decode(group) == decode_naively(group) == total
            ours, naive = (seconds_per_call(call, group, budget_s) for call in (decode, decode_naively))
            results.append(
                {
                    "shape": shape,
                    "rows_a_batch": rows,
                    "batches_a_group": batches,
                    "bytes_a_row": len(group[0].body) / rows,
                    "us_a_call": ours * 1e6,
                    "us_a_row": ours * 1e6 / total,
                    "naive_us_a_row": naive * 1e6 / total,
                }
            )
    return results


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--seconds", type=float, default=0.3, help="for each figure")
    arguments.add_argument("--shape", choices=list(SHAPES), nargs="+", default=list(SHAPES))
    chosen = arguments.parse_args()
    results = [result for shape in chosen.shape for result in measure(shape, chosen.seconds)]
    if chosen.json:
        print(json.dumps(results, indent=1))
        return
    print("shape      rows/batch  batches  bytes/row   us/call    us/row  naive us/row")
    for r in results:
        print(
            f"{r['shape']:<10} {r['rows_a_batch']:10}  {r['batches_a_group']:7}  {r['bytes_a_row']:9.0f}"
            f"  {r['us_a_call']:8.1f}  {r['us_a_row']:8.3f}  {r['naive_us_a_row']:12.3f}"
        )


if __name__ == "__main__":
    main()
