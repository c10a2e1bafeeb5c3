"""Counts the rows of Iceberg tables in DuckDB, with its extension; run by the interpreter that has them.

    python duckdb_counts.py '{"endpoint": "127.0.0.1:8333", "tables": {"events": "s3://…/00001-….metadata.json"}}'

Prints {"events": [rows, different row numbers, sum of row numbers]}.
"""

import json
import os
import sys
from pathlib import Path

import duckdb
import duckdb_ext

NUMBER = "CAST(regexp_extract(decode(payload), '\"row\": ?([0-9]+)', 1) AS BIGINT)"


def main() -> None:
    task = json.loads(sys.argv[1])
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    for name in ("avro", "httpfs", "iceberg"):
        (place,) = Path(next(iter(duckdb_ext.__path__))).rglob(f"{name}.duckdb_extension")
        connection.execute(f"LOAD '{place}'")
    connection.execute(
        "CREATE SECRET (TYPE s3, KEY_ID $key, SECRET $secret, ENDPOINT $endpoint, USE_SSL false, "
        "URL_STYLE 'path')",
        {
            "key": os.environ["AWS_ACCESS_KEY_ID"],
            "secret": os.environ["AWS_SECRET_ACCESS_KEY"],
            "endpoint": task["endpoint"],
        },
    )
    columns = f"count(*), count(DISTINCT {NUMBER}), coalesce(sum({NUMBER}), 0)::BIGINT"
    found = {
        kind: connection.execute(f"SELECT {columns} FROM iceberg_scan('{url}')").fetchone()
        for kind, url in task["tables"].items()
    }
    print(json.dumps(found))


main()
