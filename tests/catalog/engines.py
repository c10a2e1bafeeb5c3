"""DuckDB and Spark, as programs of their own: in versions for which there are Iceberg readers."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from app.kinds import Kind
from tests.support.catalog_service import Tables
from tests.support.s3_server import REGION
from tests.support.service import REPOSITORY

ENGINE_SECONDS_MAX: Final = 300.0

Counts = dict[str, list[int]]
"""By kind: rows, different row numbers, sum of row numbers."""


def interpreter() -> Path:
    """The one that ICEBERG_PYTHON names, or that of .venv-iceberg."""
    named = Path(os.environ.get("ICEBERG_PYTHON") or REPOSITORY / ".venv-iceberg" / "bin" / "python")
    assert named.exists(), "make iceberg-engines, or name an interpreter in ICEBERG_PYTHON"
    return named


def jars() -> str:
    """Those that ICEBERG_JARS has, or .iceberg/jars."""
    place = Path(os.environ.get("ICEBERG_JARS") or REPOSITORY / ".iceberg" / "jars")
    found = sorted(place.glob("*.jar"))
    assert found, "make iceberg-engines, or name a directory of jars in ICEBERG_JARS"
    return ",".join(map(str, found))


def by_duckdb(tables: Tables, endpoint: str) -> Counts:
    urls = {kind.value: tables.load(kind).metadata_location for kind in Kind}
    return _run("duckdb_counts.py", {"endpoint": endpoint.removeprefix("http://"), "tables": urls})


def by_spark(tables: Tables, endpoint: str, warehouse: str, *, compact: bool = False) -> Counts:
    """compact: Spark rewrites the tables' files as larger ones before it counts."""
    task = {
        "endpoint": endpoint,
        "region": REGION,
        "uri": tables.uri,
        "warehouse": warehouse,
        "jars": jars(),
        "kinds": [kind.value for kind in Kind],
        "compact": compact,
    }
    return _run("spark_counts.py", task)


def _run(program: str, task: Mapping[str, Any]) -> Counts:
    done = subprocess.run(
        [interpreter(), Path(__file__).with_name(program), json.dumps(task)],
        capture_output=True,
        text=True,
        timeout=ENGINE_SECONDS_MAX,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    counts = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(counts, dict)
    return counts
