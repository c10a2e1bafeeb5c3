"""`parquet-sink sql ENGINE`: prints views or code for reading the files with an engine, with the user's own
paths.

A kind whose files have columns of several types (docs/files.md) is combined from parts, file by file.
"""

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Final

import pyarrow as pa

from app.console.looks import Look, Looks, pattern
from app.kinds import COLUMNS, ID_BYTES, Kind
from app.parquet.annotation import Annotation
from app.parquet.columns import IDS
from app.query.views import MACROS, RowSource, view

_CLICKHOUSE: Final = MappingProxyType(
    {"int64": "Int64", "uint64": "UInt64", "double": "Float64", "bool": "Bool"}
)
"""Its types by Arrow's; what is not here is String."""


def duckdb_text(place: str, looks: Looks, *, payload_is_json: bool) -> str:
    """Views events, logs and snapshots, the same as those of `parquet-sink query`."""
    head = [
        "-- Views over the files, as `parquet-sink query` has them; what is in no file yet is not in them."
    ]
    if "://" in place:
        head.append("INSTALL httpfs; LOAD httpfs; CREATE SECRET (TYPE s3, PROVIDER credential_chain);")
    macros = MACROS.replace("CREATE MACRO", "CREATE OR REPLACE MACRO").strip()
    views = []
    for kind, some in looks.items():
        sources = [
            RowSource(
                f"read_parquet({_sql_list(look.place)}, union_by_name = true, hive_partitioning = false)",
                look.promoted,
            )
            for look in some
        ]
        text = view(kind, sources, payload_is_json=payload_is_json, promoted=_promoted(some))
        views += [*_one_by_one("--", kind, some), text.replace("CREATE VIEW", "CREATE OR REPLACE VIEW")]
    return "\n".join([*head, macros, *views, *_missing("--", looks)])


def polars_text(place: str, looks: Looks, *, payload_is_json: bool) -> str:
    """One lazy frame per kind."""
    lines = ["import polars as pl", ""]
    for kind, some in looks.items():
        columns = [
            'pl.col("timestamp").cast(pl.Datetime("ms"))',
            'pl.col("batch_timestamp").cast(pl.Datetime("ms"))',
        ]
        columns += [f'pl.col("{name}").bin.encode("hex")' for name in IDS if name in COLUMNS[kind]]
        if payload_is_json:
            columns.append('pl.col("payload").cast(pl.String)  # then .str.json_path_match("$.plan")')
        frames = [f"pl.scan_parquet({look.place!r})" for look in some]
        lines += _one_by_one("#", kind, some)
        if len(some) == 1:
            lines.append(f"{kind.value} = {frames[0]}.with_columns(")
        else:
            lines += [
                f"{kind.value} = pl.concat(",
                f"    [{', '.join(frames)}]",
                '    , how="diagonal_relaxed",',
                ").with_columns(",
            ]
        lines += [*(f"    {_with_comma(column)}" for column in columns), ")"]
    return "\n".join([*lines, *_missing("#", looks)])


def pyarrow_text(place: str, looks: Looks, *, payload_is_json: bool) -> str:
    """One data set per kind."""
    if "://" in place:
        lines = ["import pyarrow.dataset as ds", "from pyarrow import fs", ""]
        lines += [
            f"store, path = fs.FileSystem.from_uri({place!r})",
            "selector = fs.FileSelector(path, recursive=True)",
        ]
        lines += ["files = [file.path for file in store.get_file_info(selector) if file.is_file]"]
        for kind in looks:
            found = f'[file for file in files if file.rsplit("/", 1)[-1].startswith("{kind.value}")]'
            lines.append(f'{kind.value} = ds.dataset({found}, format="parquet", filesystem=store)')
    else:
        lines = ["from glob import glob", "", "import pyarrow.dataset as ds", ""]
        for kind, some in looks.items():
            for look, name in zip(some, _part_names(kind, some), strict=True):
                files = look.place
                found = repr(files) if isinstance(files, list) else f"sorted(glob({files!r}, recursive=True))"
                lines.append(f"{name} = ds.dataset({found})")
            lines += _one_by_one("#", kind, some)
    return "\n".join([*lines, *_missing("#", looks)])


def clickhouse_text(place: str, looks: Looks, *, payload_is_json: bool) -> str:
    """Views for `clickhouse local` or a server."""
    lines = [
        "-- For `clickhouse local` and chDB. A server reads below its user_files alone: link the files there."
    ]
    for kind, some in looks.items():
        lines += _one_by_one("--", kind, some)
        parts = "\nUNION ALL ".join(_clickhouse_part(place, kind, look, _promoted(some)) for look in some)
        lines.append(f"CREATE VIEW {kind.value} AS {parts};")
    return "\n".join(
        [*lines, "-- JSONExtractString(payload, 'plan') reads the payload.", *_missing("--", looks)]
    )


def _clickhouse_part(place: str, kind: Kind, look: Look, promoted: Sequence[str]) -> str:
    source = _clickhouse_source(place, kind, look)
    columns = [
        "fromUnixTimestamp64Milli(reinterpretAsInt64(timestamp), 'UTC') AS timestamp",
        "fromUnixTimestamp64Milli(reinterpretAsInt64(batch_timestamp), 'UTC') AS received_at",
    ]
    for name in COLUMNS[kind]:
        if name in ("timestamp", "batch_timestamp"):
            continue
        if name in IDS and Annotation.IDS not in look.annotations:
            columns.append(f"toUUID(UUIDNumToString(toFixedString({name}, 16))) AS {name}")
        elif name == "payload" and Annotation.PAYLOAD in look.annotations:
            columns.append("toString(payload) AS payload")
        else:
            columns.append(name)
    columns += [f'"{name}"' if name in look.promoted else f'NULL AS "{name}"' for name in promoted]
    listed = ",\n  ".join(columns)
    return f"SELECT\n  {listed} FROM {source}"


def _clickhouse_source(place: str, kind: Kind, look: Look) -> str:
    if "://" in place:
        return f"s3({_quoted(pattern(place, kind))}, 'Parquet')"
    if isinstance(look.place, str) or look.schema is None:
        return f"file({_quoted(pattern(place, kind))}, Parquet)"
    types = ", ".join(f"{field.name} {_clickhouse_type(field, look)}" for field in look.schema)
    chosen = ", ".join(map(_quoted, look.place))
    return f"file({_quoted(pattern(place, kind))}, Parquet, {_quoted(types)}) WHERE _path IN ({chosen})"


def _clickhouse_type(field: pa.Field, look: Look) -> str:
    if pa.types.is_timestamp(field.type):
        name = "DateTime64(3, 'UTC')"
    elif pa.types.is_fixed_size_binary(field.type):
        is_uuid = field.name in IDS and Annotation.IDS in look.annotations
        name = "UUID" if is_uuid else f"FixedString({ID_BYTES})"
    else:
        name = _CLICKHOUSE.get(str(field.type), "String")
    return f"Nullable({name})" if field.nullable else name


def spark_text(place: str, looks: Looks, *, payload_is_json: bool) -> str:
    """One temporary view per kind."""
    lines = [
        "from pyspark.sql import SparkSession, functions as F",
        "",
        'spark = SparkSession.builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()',
    ]
    for kind, some in looks.items():
        lines += _one_by_one("#", kind, some)
        if any(Annotation.IDS in look.annotations for look in some):
            lines.append("# Spark refuses files with UUID columns: leave ids out of the sink's annotate.")
        names = _part_names(kind, some)
        for look, name in zip(some, names, strict=True):
            lines += _spark_part(place, kind, look, name, payload_is_json)
        if len(some) > 1:
            union = names[0] + "".join(
                f".unionByName({name}, allowMissingColumns=True)" for name in names[1:]
            )
            lines.append(f"{kind.value} = {union}")
        lines.append(f'{kind.value}.createOrReplaceTempView("{kind.value}")')
    return "\n".join([*lines, *_missing("#", looks)])


def _spark_part(place: str, kind: Kind, look: Look, name: str, payload_is_json: bool) -> list[str]:
    if isinstance(look.place, str):
        source = [
            '    spark.read.option("recursiveFileLookup", "true")',
            f'    .option("pathGlobFilter", "{kind.value}*.parquet")',
            f"    .parquet({place!r})",
        ]
    else:
        source = [f"    spark.read.parquet(*{look.place!r})"]
    if Annotation.TIMESTAMPS not in look.annotations:
        source.append('    .withColumn("timestamp", F.timestamp_millis("timestamp"))')
    else:
        source.append('    .withColumn("batch_timestamp", F.unix_millis("batch_timestamp"))')
    if payload_is_json:
        source.append('    .withColumn("payload", F.col("payload").cast("string"))')
    return [f"{name} = (", *source, ")"]


ENGINES: Final = MappingProxyType[str, Callable[..., str]](
    {
        "duckdb": duckdb_text,
        "polars": polars_text,
        "clickhouse": clickhouse_text,
        "spark": spark_text,
        "pyarrow": pyarrow_text,
    }
)
"""By name: takes the place of the files, what those of each kind look like, and payload_is_json."""


def _promoted(looks: Sequence[Look]) -> list[str]:
    """Columns that some of the files have after the payload."""
    return list(dict.fromkeys(name for look in looks for name in look.promoted))


def _part_names(kind: Kind, looks: Sequence[Look]) -> list[str]:
    return [kind.value if len(looks) == 1 else f"{kind.value}_{part}" for part in range(1, len(looks) + 1)]


def _one_by_one(mark: str, kind: Kind, looks: Sequence[Look]) -> list[str]:
    if len(looks) == 1:
        return []
    return [
        f"{mark} The files of {kind.value} have columns of different types, so each file is named here: "
        "print this again when there are new ones."
    ]


def _sql_list(place: str | list[str]) -> str:
    return _quoted(place) if isinstance(place, str) else f"[{', '.join(map(_quoted, place))}]"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _with_comma(column: str) -> str:
    code, comment, text = column.partition("  # ")
    return f"{code},{comment}{text}"


def _missing(mark: str, looks: Looks) -> list[str]:
    names = [kind.value for kind in Kind if kind not in looks]
    return [f"{mark} There are no files of {', '.join(names)} yet."] if names else []
