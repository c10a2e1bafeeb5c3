"""Decoding FlatBuffer batches: CPU time per row (all of it in one thread) by batch size and group size.

python benchmarks/bench_decode_flatbuffer.py [--json] [--seconds 0.3] [--kind events] [--layout plain]
"""

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from app.decode.flatbuffer.decode import decode_flatbuffers
from app.kinds import Kind
from app.submission import DecodePolicy, Submission, WireFormat
from tests.support.flatbuffer_batches import NUMBER, EventLayout, Template

KEY = bytes(range(16))
SENT_MS = 1_700_000_000_000
BATCH_ROWS = (1, 3, 10, 100, 500, 2000)
GROUPS = (1, 16, 64)
MAX_ROWS_A_GROUP = 32_000


def row(i: int) -> dict[str, object]:
    """About 250 bytes on the wire; a kind leaves out what it has no field for."""
    return {
        "event_type": "enrich" if i % 10 == 0 else 1,
        "level": "info",
        "event_name": "page_view",
        "source": "host-1.example.com",
        "entity": "user/repository",
        "service": "web",
        "device_id": (i % 1000).to_bytes(16, "big"),
        "session_id": (i % 77).to_bytes(16, "big"),
        "payload": b'{"n":"%s","page":"/products/%d","referrer":"https://www.example.com/search?q=x",'
        b'"duration_ms":%d,"plan":"team","ok":true}' % (NUMBER, i % 97, 100 + i % 900),
    }


def submissions(kind: Kind, layout: EventLayout, rows: int, batches: int) -> list[Submission]:
    template = Template(kind, [row(i) for i in range(rows)], KEY, layout=layout)
    source_ip = bytes(10) + b"\xff\xff\x7f\x00\x00\x01"
    return [
        Submission(WireFormat.FLATBUFFER, None, template.body(b * rows, SENT_MS), KEY, 7, source_ip, SENT_MS)
        for b in range(batches)
    ]


def cpu_seconds(group: list[Submission], policy: DecodePolicy, budget_s: float) -> float:
    """CPU time: the median of as many calls as fit into the budget, at least five."""
    taken: list[float] = []
    end = time.perf_counter() + budget_s
    while len(taken) < 5 or time.perf_counter() < end:
        start = time.thread_time()
        decoded = decode_flatbuffers(group, policy)
        taken.append(time.thread_time() - start)
    assert all(verdict.error is None and not verdict.rejected for verdict in decoded.verdicts)
    return sorted(taken)[len(taken) // 2]


def measure(kind: Kind, layout: EventLayout, budget_s: float) -> list[dict[str, object]]:
    results: list[dict[str, object]] = []
    for rows in BATCH_ROWS:
        for batches in GROUPS:
            if rows * batches > MAX_ROWS_A_GROUP:
                continue
            group = submissions(kind, layout, rows, batches)
            for json_required in (False, True):
                taken = cpu_seconds(group, DecodePolicy(payload_must_be_json=json_required), budget_s)
                results.append(
                    {
                        "rows_a_batch": rows,
                        "batches_a_group": batches,
                        "payload_must_be_json": json_required,
                        "bytes_a_row": len(group[0].body) / rows,
                        "cpu_us_a_call": taken * 1e6,
                        "cpu_us_a_row": taken * 1e6 / (rows * batches),
                    }
                )
    return results


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--seconds", type=float, default=0.3, help="for each figure")
    arguments.add_argument("--kind", type=Kind, choices=list(Kind), default=Kind.EVENTS)
    arguments.add_argument("--layout", choices=("plain", "service"), default="plain")
    chosen = arguments.parse_args()
    results = measure(chosen.kind, chosen.layout, chosen.seconds)
    if chosen.json:
        print(json.dumps({"kind": chosen.kind, "layout": chosen.layout, "results": results}, indent=1))
        return
    print("rows/batch  batches   json  bytes/row   us/call    us/row")
    for r in results:
        print(
            f"{r['rows_a_batch']:10}  {r['batches_a_group']:7}  {r['payload_must_be_json']!s:>5}"
            f"  {r['bytes_a_row']:9.0f}  {r['cpu_us_a_call']:8.1f}  {r['cpu_us_a_row']:8.3f}"
        )


if __name__ == "__main__":
    main()
