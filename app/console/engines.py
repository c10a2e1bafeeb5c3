"""`parquet-sink sql ENGINE`: what makes an engine see the files, with the user's own paths. Text out."""

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Final

from app.kinds import COLUMNS, Kind
from app.query.views import MACROS, view

_OPTIONS: Final = "union_by_name = true, hive_partitioning = false"


def duckdb_text(place: str, kinds: Sequence[Kind], *, payload_is_json: bool) -> str:
    """Views events, logs and snapshots, as `parquet-sink query` has them."""
    head = [
        "-- Views over the files, as `parquet-sink query` has them; what is in no file yet is not in them."
    ]
    if "://" in place:
        head.append("INSTALL httpfs; LOAD httpfs; CREATE SECRET (TYPE s3, PROVIDER credential_chain);")
    macros = MACROS.replace("CREATE MACRO", "CREATE OR REPLACE MACRO").strip()
    views = [
        view(
            kind,
            [f"read_parquet({_quoted(_pattern(place, kind))}, {_OPTIONS})"],
            payload_is_json=payload_is_json,
        ).replace("CREATE VIEW", "CREATE OR REPLACE VIEW")
        for kind in kinds
    ]
    return "\n".join([*head, macros, *views, *_missing("--", kinds)])


def polars_text(place: str, kinds: Sequence[Kind], *, payload_is_json: bool) -> str:
    """One lazy frame a kind."""
    lines = ["import polars as pl", ""]
    for kind in kinds:
        columns = [
            'pl.from_epoch("timestamp", time_unit="ms")',
            'pl.from_epoch("batch_timestamp", time_unit="ms")',
        ]
        columns += [
            f'pl.col("{name}").bin.encode("hex")'
            for name in ("device_id", "session_id")
            if name in COLUMNS[kind]
        ]
        if payload_is_json:
            columns.append('pl.col("payload").cast(pl.String)  # then .str.json_path_match("$.plan")')
        lines += [
            f"{kind.value} = pl.scan_parquet({_pattern(place, kind)!r}).with_columns(",
            *(f"    {_with_comma(column)}" for column in columns),
            ")",
        ]
    return "\n".join([*lines, *_missing("#", kinds)])


def pyarrow_text(place: str, kinds: Sequence[Kind], *, payload_is_json: bool) -> str:
    """One data set a kind."""
    if "://" in place:
        lines = ["import pyarrow.dataset as ds", "from pyarrow import fs", ""]
        lines += [
            f"store, path = fs.FileSystem.from_uri({place!r})",
            "selector = fs.FileSelector(path, recursive=True)",
        ]
        lines += ["files = [file.path for file in store.get_file_info(selector) if file.is_file]"]
        for kind in kinds:
            found = f'[file for file in files if file.rsplit("/", 1)[-1].startswith("{kind.value}")]'
            lines.append(f'{kind.value} = ds.dataset({found}, format="parquet", filesystem=store)')
    else:
        lines = ["from glob import glob", "", "import pyarrow.dataset as ds", ""]
        lines += [
            f"{kind.value} = ds.dataset(sorted(glob({_pattern(place, kind)!r}, recursive=True)))"
            for kind in kinds
        ]
    return "\n".join([*lines, *_missing("#", kinds)])


def clickhouse_text(place: str, kinds: Sequence[Kind], *, payload_is_json: bool) -> str:
    """Views for `clickhouse local` or a server."""
    lines = [
        "-- For `clickhouse local` and chDB. A server reads below its user_files alone: link the files there."
    ]
    for kind in kinds:
        pattern = _quoted(_pattern(place, kind))
        source = f"s3({pattern}, 'Parquet')" if "://" in place else f"file({pattern}, Parquet)"
        lines += [
            f"CREATE VIEW {kind.value} AS SELECT",
            "  fromUnixTimestamp64Milli(timestamp, 'UTC') AS timestamp,",
            "  fromUnixTimestamp64Milli(batch_timestamp, 'UTC') AS received_at,",
            f"  * EXCEPT (timestamp, batch_timestamp) FROM {source};",
        ]
    return "\n".join(
        [*lines, "-- JSONExtractString(payload, 'plan') reads the payload.", *_missing("--", kinds)]
    )


def spark_text(place: str, kinds: Sequence[Kind], *, payload_is_json: bool) -> str:
    """One temporary view a kind."""
    lines = [
        "from pyspark.sql import SparkSession, functions as F",
        "",
        'spark = SparkSession.builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()',
    ]
    for kind in kinds:
        lines += [
            f"{kind.value} = (",
            '    spark.read.option("recursiveFileLookup", "true")',
            f'    .option("pathGlobFilter", "{kind.value}*.parquet")',
            f"    .parquet({place!r})",
            '    .withColumn("timestamp", F.timestamp_millis("timestamp"))',
            *(['    .withColumn("payload", F.col("payload").cast("string"))'] if payload_is_json else []),
            ")",
            f'{kind.value}.createOrReplaceTempView("{kind.value}")',
        ]
    return "\n".join([*lines, *_missing("#", kinds)])


ENGINES: Final = MappingProxyType[str, Callable[..., str]](
    {
        "duckdb": duckdb_text,
        "polars": polars_text,
        "clickhouse": clickhouse_text,
        "spark": spark_text,
        "pyarrow": pyarrow_text,
    }
)
"""By name: takes the place of the files, the kinds of which there are some, and payload_is_json."""


def _pattern(place: str, kind: Kind) -> str:
    return f"{place.rstrip('/')}/**/{kind.value}*.parquet"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _with_comma(column: str) -> str:
    code, comment, text = column.partition("  # ")
    return f"{code},{comment}{text}"


def _missing(mark: str, kinds: Sequence[Kind]) -> list[str]:
    names = [kind.value for kind in Kind if kind not in kinds]
    return [f"{mark} There are no files of {', '.join(names)} yet."] if names else []
