"""The command `parquet-sink`.

Exit codes: 0 after a clean stop, 1 when it cannot start as configured, 2 for a wrong command line, 3 when the
service stopped itself because of a failure (a failed disk, a damaged journal), 130 when it was told to stop
twice. `repair`: 0 when there was nothing to repair, 1 when it failed, 4 when it recorded something as lost.
`adopt`: 0, or 1 when it failed.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from app.api.api_keys import MAX_WORKSPACE_ID, ApiKeys, KeyFileError
from app.console.admin import add_admin
from app.console.ask import Ask, add_query, ask_service, carry_out
from app.console.completion import SHELLS, script, words_of
from app.console.forget import add_forget
from app.console.init import add_init
from app.console.load import add_load
from app.console.tail import add_tail
from app.console.target import CommandFailed
from app.errors import ConfigurationError
from app.run.keeping_commands import add_keeping
from app.run.repair_commands import add_repairing
from app.run.without_pandas import do_without_pandas
from app.settings.settings import Settings, load
from app.settings.sources import unmatched_variables
from app.settings.toml_text import to_toml

if TYPE_CHECKING:
    from app.settings.plan import Plan

ENGINE_NAMES: Final = ("duckdb", "polars", "clickhouse", "spark", "pyarrow")

DEVELOPMENT_KEYS: Final = "api-keys.txt"
"""The key file that `serve` creates if none is configured."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    options = command_line().parse_args(arguments)
    try:
        code: int = options.command(options)
    except (ConfigurationError, KeyFileError) as error:
        for line in str(error).splitlines():
            print(f"parquet-sink: {line}", file=sys.stderr)
        return 1
    except CommandFailed as error:
        print(f"parquet-sink: {error}", file=sys.stderr)
        return error.code
    if code not in (0, 1):
        # A thread may hang on the failed disk; the process ends all the same.
        logging.shutdown()
        sys.stdout.flush()
        os._exit(code)
    return code


def command_line() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = argparse.ArgumentParser(prog="parquet-sink", description=_description())
    parser.add_argument("--version", action="version", version=f"parquet-sink {version('parquet-sink')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    file = argparse.ArgumentParser(add_help=False)
    file.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="configuration file; default: PARQUET_SINK_CONFIG, else ./parquet-sink.toml if it exists",
    )
    configuration = argparse.ArgumentParser(add_help=False, parents=[file])
    configuration.add_argument("--host", help="address to listen on, instead of server.host")
    configuration.add_argument("--port", help="TCP port, instead of server.port")

    serve = commands.add_parser("serve", parents=[configuration], help="run the service")
    serve.set_defaults(command=_serve)
    check = commands.add_parser(
        "check-config", parents=[configuration], help="print the effective configuration, or its errors"
    )
    check.add_argument(
        "--connect",
        action="store_true",
        help="also try to use the directories, bucket, broker, topic and catalog as the service would",
    )
    check.set_defaults(command=_check_config)
    topic = commands.add_parser(
        "kafka-topic",
        parents=[file],
        help="create the topic of [journal], or report how the existing one differs from what it should be",
    )
    topic.add_argument("--partitions", type=int, default=12, metavar="N", help="partitions; default: 12")
    topic.add_argument("--replicas", type=int, default=3, metavar="N", help="replicas; default: 3")
    topic.set_defaults(command=_kafka_topic, host=None, port=None)
    add_repairing(commands, file, _plan)
    add_keeping(commands, file, _plan)
    keys = commands.add_parser(
        "keys", help="list, add, rotate and revoke API keys; a running service picks up the changes"
    )
    actions = keys.add_subparsers(title="actions", required=True, metavar="ACTION", dest="action")
    of_file = argparse.ArgumentParser(add_help=False, parents=[file])
    of_file.add_argument(
        "--file",
        type=Path,
        metavar="FILE",
        help=f"the key file; default: auth.api_keys_file, else {DEVELOPMENT_KEYS}",
    )
    actions.add_parser("list", parents=[of_file], help="list the keys in the file, shortened")
    add = actions.add_parser("add", parents=[of_file], help="add a new key to the file, and print it")
    add.add_argument("--workspace", type=_workspace, required=True, help="its workspace, 0 to 4294967295")
    add.add_argument("--name", default="", help="a name for the key, for people")
    rotate = actions.add_parser("rotate", parents=[of_file], help="add a second key for the workspace")
    revoke = actions.add_parser("revoke", parents=[of_file], help="remove a key from the file")
    for action in (rotate, revoke):
        action.add_argument("key", help="the key, or the beginning of it")
    keys.set_defaults(command=_keys, host=None, port=None)
    query = add_query(commands, file)
    query.set_defaults(command=_query, host=None, port=None)
    add_load(commands)
    add_tail(commands)
    add_admin(commands)
    add_forget(commands)
    sql = commands.add_parser(
        "sql",
        parents=[file],
        help="print views or code to read the files with an engine",
        description="Prints views or code for an engine, with the paths from the configuration.",
    )
    sql.add_argument("engine", choices=ENGINE_NAMES)
    sql.set_defaults(command=_sql, host=None, port=None)
    add_init(commands)
    completion = commands.add_parser(
        "completion",
        help="print a completion script for a shell",
        description='bash: eval "$(parquet-sink completion bash)" in .bashrc; zsh: the same, in .zshrc; '
        "fish: parquet-sink completion fish > ~/.config/fish/completions/parquet-sink.fish",
    )
    completion.add_argument("shell", choices=SHELLS)
    completion.set_defaults(command=_completion)
    openapi = commands.add_parser("openapi", help="print the OpenAPI document or write it to a file")
    openapi.add_argument("path", nargs="?", type=Path, help="file to write; default: standard output")
    openapi.set_defaults(command=_openapi)
    return parser


def _description() -> str:
    return "Takes batches of events, logs and snapshots over HTTP and lands them as Parquet files."


def _workspace(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text[:11]) > MAX_WORKSPACE_ID:
        raise argparse.ArgumentTypeError(f"a workspace must be a number from 0 to {MAX_WORKSPACE_ID}")
    return int(text)


def _load(options: argparse.Namespace) -> Settings:
    return load(options.config, os.environ, _flags(options))


def _plan(options: argparse.Namespace) -> "Plan":
    """For commands that do what the service does; what they need of it takes its time to be imported."""
    from app.settings.planning import plan_of

    return plan_of(_load(options))


def _flags(options: argparse.Namespace) -> dict[str, str]:
    given = {"server.host": options.host, "server.port": options.port}
    return {key: text for key, text in given.items() if text is not None}


def _serve(options: argparse.Namespace) -> int:
    do_without_pandas()
    # The other commands are quick because they do not import the service.
    from app.run.serve import serve
    from app.settings.configuration import ReadConfiguration

    return serve(ReadConfiguration(options.config, _flags(options)))


def _check_config(options: argparse.Namespace) -> int:
    settings = _load(options)
    print(to_toml(settings), end="")
    for name in unmatched_variables(os.environ):
        print(f"parquet-sink: {name} is not a setting; settings begin with PARQUET_SINK__", file=sys.stderr)
    for remark in settings.sink.remarks:
        print(f"parquet-sink: {remark}", file=sys.stderr)
    missing = [
        path
        for path in (
            settings.auth.api_keys_file,
            settings.server.tls_certificate,
            settings.server.tls_key,
            settings.server.tls_client_ca,
        )
        if path is not None and not path.is_file()
    ]
    for path in missing:
        print(f"parquet-sink: {path} does not exist yet; serve needs it", file=sys.stderr)
    keys_file = settings.auth.api_keys_file
    if keys_file is not None and keys_file not in missing and not ApiKeys.load(keys_file):
        raise ConfigurationError([f"auth.api_keys_file: {keys_file} contains no keys"])
    return _connect(settings) if options.connect else 0


def _connect(settings: Settings) -> int:
    from app.run.connect import tried
    from app.settings.planning import plan_of

    failed = 0
    for what, why_not in tried(plan_of(settings)):
        print(f"parquet-sink: {what}: {why_not or 'works'}", file=sys.stderr)
        failed += why_not is not None
    return 1 if failed else 0


def _kafka_topic(options: argparse.Namespace) -> int:
    from app.kafka.topic import look_at, make_topic

    kafka = _plan(options).kafka
    if kafka is None:
        raise ConfigurationError(['journal.type is not "kafka": there is no topic'])
    policy = kafka.policy
    try:
        made = make_topic(policy, options.partitions, options.replicas)
        topic = look_at(policy, patient=made)
    except (OSError, ValueError) as error:
        print(f"parquet-sink: {error}", file=sys.stderr)
        return 1
    print(f"{policy.topic}: {topic.partitions} partitions, {'created' if made else 'already there'}")
    for warning in topic.warnings:
        print(f"parquet-sink: {warning}", file=sys.stderr)
    return 1 if topic.warnings else 0


def _keys(options: argparse.Namespace) -> int:
    from app.api.key_file import add_key, list_keys, revoke_key, rotate_key

    path = options.file or _load(options).auth.api_keys_file or Path(DEVELOPMENT_KEYS)
    os.umask(0o077)  # no other user can read the file, even while it is being written
    try:
        if options.action == "list":
            for line in list_keys(path):
                print(f"{line.shown}  workspace {line.workspace_id}  {line.name}".rstrip())
        elif options.action == "add":
            print(add_key(path, options.workspace, options.name))
        elif options.action == "rotate":
            key, old = rotate_key(path, options.key)
            print(key)
            print(
                f"{old.shown} stays valid until you run: parquet-sink keys revoke {old.key[:8]}",
                file=sys.stderr,
            )
        else:
            print(f"revoked {revoke_key(path, options.key).shown}", file=sys.stderr)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    return 0


def _query(options: argparse.Namespace) -> int:
    do_without_pandas()
    return carry_out(options, ask_service(options) if options.url else _ask_directory(options))


def _ask_directory(options: argparse.Namespace) -> Ask:
    """Queries the configured files and journal; each query sees them as they are when it starts."""
    from app.disk.durable_fs import DurableFS
    from app.query.ask import QueryFailed, answer, connect
    from app.query.data_sets import object_root, open_store
    from app.query.snapshot import CannotAsk, Selection, Snapshot

    plan = _plan(options)
    selection = Selection(options.workspace, options.since, options.until)
    lake, paths = plan.query.lake, plan.storage.paths

    def ask(sql: str, form: str, output: Path | None) -> None:
        try:
            store = open_store(lake.store) if lake.store is not None else None
            objects = object_root(lake.store) if lake.store is not None else None
            snapshot = Snapshot.take(DurableFS(), paths, selection, objects=objects)
            try:
                connection = connect(
                    snapshot, payload_is_json=lake.payload_is_json, promoted=lake.promoted, store=store
                )
                answer(connection, sql, form, output)
            finally:
                snapshot.close()
        except (CannotAsk, QueryFailed, OSError) as error:
            raise CommandFailed(str(error)) from None

    return ask


def _sql(options: argparse.Namespace) -> int:
    import pyarrow as pa

    from app.console.engines import ENGINES
    from app.console.looks import as_configured, on_disk

    sink = _load(options).sink
    directory = sink.directory.absolute() if sink.directory else None
    place = str(sink.path if directory is None else directory)
    try:
        looks = as_configured(place, sink.annotations) if directory is None else on_disk(directory)
    except (OSError, pa.ArrowException) as error:
        raise CommandFailed(str(error)) from None
    print(ENGINES[options.engine](place, looks, payload_is_json=sink.data_format == "json"))
    return 0


def _completion(options: argparse.Namespace) -> int:
    print(script(options.shell, *words_of(command_line())), end="")
    return 0


def _openapi(options: argparse.Namespace) -> int:
    from app.run.application import create_app
    from app.settings.planning import plan_of

    document = json.dumps(create_app(plan_of(Settings())).openapi(), indent=2, ensure_ascii=False) + "\n"
    if options.path is None:
        sys.stdout.write(document)
    else:
        options.path.write_text(document, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
