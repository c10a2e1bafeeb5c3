"""What HTTP alone carries, and what the service would carry written the usual way.

    python -m benchmarks.bench_reference_servers http-limit|row-at-a-time [--rows 500] [--json]

See benchmarks/reference_servers.py for what they do. The same load generator sends the same requests.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.service import RowsLost, ServerProcess, rates, write_keys
from tests.support.service import free_port


def measure(directory: Path, server: str, **load: object) -> dict[str, Any]:
    """One run; see service.rates. The rows in the file of row-at-a-time must equal those acknowledged."""
    with tempfile.TemporaryDirectory(dir=directory) as name:
        path, port = Path(name), free_port()
        command = [sys.executable, "-m", "benchmarks.reference_servers", server]
        command += ["--port", str(port), "--directory", name]
        with ServerProcess(command, path, port) as process:
            keys = write_keys(path)
            warm = process.load(keys, **{**load, "seconds": 0.5})
            before = process.cpu_s()
            result = process.load(keys, **load)
            began = time.perf_counter()
            if server == "row-at-a-time":
                process.request("POST", "/flush")
            result["flush_s"] = time.perf_counter() - began
            result["server_cpu_s"] = process.cpu_s() - before
        if server == "row-at-a-time":
            found = pq.read_metadata(path / "rows.parquet").num_rows
            if found != result["rows"] + warm["rows"]:
                raise RowsLost(f"{result['rows'] + warm['rows']} acknowledged, {found} in the file")
    return rates(result)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("server", choices=["http-limit", "row-at-a-time"])
    parser.add_argument("--format", choices=["flatbuffer", "nested-json"], default="flatbuffer")
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--json", action="store_true")
    options = vars(parser.parse_args())
    as_json = options.pop("json")
    result = measure(options.pop("directory"), options.pop("server"), **options)
    print(json.dumps(result) if as_json else result)


if __name__ == "__main__":
    main()
