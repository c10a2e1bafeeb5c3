"""A day that is over is laid again by the service itself, on a thread beside ingest."""

from pathlib import Path

import pyarrow.parquet as pq

from tests.support.payloads import event, numbers
from tests.support.service import Service, running

DAY = "2026-03-01T12:00:00+00:00"
NEXT_DAY = "2026-03-02T06:30:00+00:00"
CONFIG = {
    "sinks.parquet": {"max_file_size": "40KB"},
    "sinks.parquet.final": {"grace": "1s", "share": 1.0, "compression": "zstd", "sort": ["timestamp"]},
}


def test_a_day_that_is_over_is_laid_again_and_takes_less_room(tmp_path: Path) -> None:
    with running(Service(tmp_path, CONFIG, clock=DAY)) as service:
        rows = 0
        while len(service.files()) < 2:
            service.post_json("events", [event(rows + each) for each in range(5)])
            service.flush()
            rows += 5
        before = {file["path"]: file for file in service.files()}
        (first,) = [file for file in before.values() if file["sealed"]]
        assert all(file["disk_bytes"] == file["bytes"] for file in before.values())
        content = (service.parquet / first["path"]).read_bytes()
        assert service.terminate() == 0

        service.clock = NEXT_DAY
        service.start()
        service.post_json("events", [event(rows)], wait="file")

        def laid() -> dict[str, object]:
            (file,) = [each for each in service.files() if each["path"] == first["path"]]
            return file

        def is_given_back() -> bool:
            file = laid()
            return file["disk_bytes"] != file["bytes"]

        service.wait_until(is_given_back, 60)
        file = laid()
        assert (file["rows"], file["compression"], file["sealed"]) == (first["rows"], "zstd", True)
        assert file["created_at"] == first["created_at"]
        assert str(file["updated_at"]) > first["updated_at"]
        path = service.parquet / first["path"]
        assert path.stat().st_size == file["bytes"]
        assert file["bytes"] - len(content) + 4 == file["disk_bytes"]
        assert pq.read_metadata(path).num_row_groups == 1
        assert sorted(numbers(service.table())) == list(range(rows + 1))
        metrics = service.metrics()
        assert metrics["parquet_sink_final_files_total"] == 1
        assert metrics["parquet_sink_final_bytes_given_back_total"] == len(content) - 4

        service.kill9()
        service.start()
        assert service.status()["lost_files"] == []
        assert laid() == file
        assert sorted(numbers(service.table())) == list(range(rows + 1))
