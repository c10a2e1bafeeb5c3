"""`parquet-sink init`: a commented configuration and a key file for a purpose. Existing files are kept."""

import argparse
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from app.console.target import CommandFailed

CONFIGURATION: Final = "parquet-sink.toml"
KEYS: Final = "api-keys.txt"

EXIT_CODES: Final = (
    "Exit codes: 0 written, 1 a file already exists or cannot be written, 2 wrong command line."
)

_QUERY: Final = """
[query]                                # SQL over HTTP, if the extra `query` is installed
timeout = "30s"                        # time limit for one query
max_memory = "512MB"
max_concurrent = 2                     # queries at a time, each in a process of its own at low priority
"""

_LAPTOP: Final = """\
# Parquet Sink on this machine only: no other machine can reach it.
# All keys: docs/parquet-sink.example.toml.

[server]
host = "127.0.0.1"
port = 8080

[auth]
api_keys_file = "{keys}"               # parquet-sink keys add --workspace 2

[journal]
path = "journal/"                      # rows that are acknowledged but not in files yet

[sinks.parquet]
path = "parquet/"                      # parquet/WORKSPACE/DATE/events.parquet
flush_interval = "10s"                 # how far files lag behind; `parquet-sink query` sees newer rows, too
"""

_SERVER: Final = """\
# Parquet Sink on a server. All keys: docs/parquet-sink.example.toml.

[server]
host = "0.0.0.0"
port = 8080
# tls_certificate = "tls.crt"          # or let a proxy terminate TLS, and name it below
# tls_key = "tls.key"
trusted_proxies = []                   # such as ["10.0.0.0/8"]: their X-Forwarded-For is trusted
workers = 1                            # about one per two cores, if one is not enough
max_body_size = "10MB"

[auth]
api_keys_file = "{keys}"               # parquet-sink keys add --workspace 2
admin_token = "{token}"                # for /status, /metrics, and all workspaces; keep it secret

[journal]
path = "/var/lib/parquet-sink/journal" # on a disk that honours cache flushes
acknowledge = "fsync"                  # a 202 survives a power cut
max_size = "8GB"                       # limit for rows that wait to be written to files

[sinks.parquet]
path = "/var/lib/parquet-sink/parquet"
rotation = "daily"
compression = "zstd"
flush_interval = "60s"
"""

_CONTAINER: Final = """\
# Parquet Sink in a container. Mount a volume at /data, this file at /etc/parquet-sink/parquet-sink.toml,
# and the key file, readable for user 10001, at /run/secrets/api-keys.txt.
# All keys: docs/parquet-sink.example.toml.

[server]
host = "0.0.0.0"
port = 8080

[auth]
api_keys_file = "/run/secrets/api-keys.txt"
admin_token = "{token}"                # better: PARQUET_SINK__AUTH__ADMIN_TOKEN from a secret

[journal]
path = "/data/journal"                 # on the same volume as the files: publishing renames files

[sinks.parquet]
path = "/data/parquet"
flush_interval = "60s"
"""

_BUCKET: Final = """\
# Parquet Sink with its files in a bucket (extra `s3`).
# Credentials come from the environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
# The journal stays on a disk of its own. All keys: docs/parquet-sink.example.toml.

[server]
host = "0.0.0.0"
port = 8080
# node_id = "sink-0"                   # if several nodes write to one bucket

[auth]
api_keys_file = "{keys}"
admin_token = "{token}"                # for /status, /metrics, and all workspaces; keep it secret

[journal]
path = "/var/lib/parquet-sink/journal" # rows not in objects yet: a disk that outlives the machine
max_size = "8GB"                       # limit for rows that wait while the store is down

[sinks.parquet]
path = "s3://your-bucket/parquet"      # your bucket here; also gs:// and az://
flush_interval = "10m"                 # each flush makes new objects
compression = "zstd"

[sinks.parquet.store]
# endpoint = "https://minio:9000"      # for an S3-compatible store
# region = "eu-central-1"
"""

_KAFKA: Final = """\
# Parquet Sink with Kafka as its journal (extra `kafka`): a 202 means replicated.
# The topic must exist: docs/kafka.md. All keys: docs/parquet-sink.example.toml.

[server]
host = "0.0.0.0"
port = 8080
role = "all"                           # "ingest" for front ends, "writer" for nodes that publish

[auth]
api_keys_file = "{keys}"
admin_token = "{token}"                # for /status, /metrics, and all workspaces; keep it secret

[journal]
type = "kafka"
brokers = "kafka-0:9092"               # your brokers here
topic = "parquet-sink"

[sinks.parquet]
path = "s3://your-bucket/parquet"      # reachable by all writers: a bucket or a shared directory
flush_interval = "10m"
compression = "zstd"
"""

PURPOSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "laptop": _LAPTOP + _QUERY,
        "server": _SERVER + _QUERY,
        "container": _CONTAINER + _QUERY,
        "bucket": _BUCKET,
        "kafka": _KAFKA,
    }
)
"""The configuration by purpose; {keys} and {token} are filled in."""


def add_init(commands: Any) -> None:
    """Adds the command's arguments."""
    parser = commands.add_parser(
        "init",
        help="write a commented configuration and a key file",
        description=f"Writes {CONFIGURATION} and {KEYS}. Existing files are not changed.",
        epilog=EXIT_CODES,
    )
    parser.add_argument(
        "--for", dest="purpose", choices=list(PURPOSES), default="laptop", help="default: laptop"
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="where to write them; default: the working directory",
    )
    parser.set_defaults(command=_init)


def _init(options: argparse.Namespace) -> int:
    from app.api.key_file import add_key

    directory: Path = options.directory
    configuration, keys = directory / CONFIGURATION, directory / KEYS
    if configuration.exists():
        raise CommandFailed(f"{configuration} already exists and is not changed; choose another --directory")
    text = PURPOSES[options.purpose]
    # A relative path counts from where the service is started.
    named = KEYS if options.purpose == "laptop" else str(keys.absolute())
    text = text.replace("{keys}", named).replace("{token}", secrets.token_urlsafe(32))
    os.umask(0o077)  # both hold secrets
    try:
        directory.mkdir(parents=True, exist_ok=True)
        key = None if keys.exists() else add_key(keys, 1, "first")
        if key is not None and options.purpose == "container":
            keys.chmod(0o644)  # the user in the container is another one
        with configuration.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise CommandFailed(f"{directory}: {error.strerror}") from None
    print(f"{configuration}: edit it as needed; parquet-sink check-config tells whether it is valid")
    said = "already exists and is not changed" if key is None else f"a key for workspace 1, {key}"
    print(f"{keys}: {said}")
    print(f"then: parquet-sink serve --config {configuration}")
    return 0
