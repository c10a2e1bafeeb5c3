"""A file that grows while an engine reads it, with all of the engine's threads."""

import threading
from pathlib import Path

import duckdb

from app.publish.rotation import WriterPolicy
from tests.parquet.bench import Bench
from tests.parquet.rows import event_rows

REPLACEMENTS = 150
ROWS = 200
PATH = "7/2026-01-01/events.parquet"


class Reader(threading.Thread):
    """Queries in a loop until told to stop. Rows are numbered from 0, so count and sum must agree."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.stop = threading.Event()
        self.queries = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        connection = duckdb.connect()
        connection.execute("set threads = 4")
        query = f"""select count(*), max(timestamp), sum(timestamp)::bigint, count(distinct payload),
                           sum(octet_length(device_id)) from '{self.path}'"""
        while not self.stop.is_set():
            try:
                [(count, last, total, payloads, id_bytes)] = connection.execute(query).fetchall()
            except duckdb.Error as error:
                self.wrong.append(str(error))
                continue
            self.queries += 1
            good = (count - 1, count * (count - 1) // 2, count, 16 * count)
            if count % ROWS or (last, total, payloads, id_bytes) != good:
                self.wrong.append(f"{count} rows, last {last}, sum {total}, {payloads} payloads")
        connection.close()


def test_queries_are_right_while_the_file_is_replaced(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy=WriterPolicy(max_file_bytes=1 << 30))
    bench.put(1, event_rows(0, ROWS * 100))
    bench.flush()
    reader = Reader(bench.data / PATH)
    reader.start()
    rows = ROWS * 100
    lsn = 1
    while not reader.wrong and (lsn < REPLACEMENTS or reader.queries < 10):
        lsn += 1
        bench.put(lsn, event_rows(rows, ROWS))
        bench.flush()
        rows += ROWS
    reader.stop.set()
    reader.join()
    print(f"{reader.queries} queries during {lsn - 1} replacements")
    assert reader.wrong == []
    assert reader.queries >= 10
