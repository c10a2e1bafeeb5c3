"""`parquet-sink files`, `flush` and `status`: calls of a running service, as tables or JSON."""

import argparse
import datetime
import json
import os
from typing import Any, Final
from urllib.parse import urlencode

from app.console.show import print_json, print_table, size_text
from app.console.target import CommandFailed, connection, target_arguments
from app.kinds import Kind
from app.load.connection import Answered, Connection, NotReached

EXIT_CODES: Final = "Exit codes: 0 done, 1 the service refused or could not be reached, 2 wrong command line."

PAGE: Final = 1000


def add_admin(commands: Any) -> None:
    """Adds the commands' arguments."""
    target = target_arguments()
    files = commands.add_parser(
        "files", parents=[target], help="list published files", epilog=EXIT_CODES, description="Newest first."
    )
    files.add_argument("--workspace", type=int, metavar="N", help="only this workspace")
    files.add_argument("--date", metavar="YYYY-MM-DD", help="only this day of receipt, UTC")
    files.add_argument("--kind", choices=[kind.value for kind in Kind], help="only this kind")
    files.add_argument(
        "--updated-since",
        metavar="TIME",
        help="only files that have changed since then, such as 2026-03-01T12:00:00Z",
    )
    files.add_argument(
        "--limit", type=int, default=100, metavar="N", help="maximum number of files; default: 100"
    )
    files.set_defaults(command=_files)
    flush = commands.add_parser(
        "flush", parents=[target], help="write buffered rows to files now", epilog=EXIT_CODES
    )
    flush.add_argument("--workspace", type=int, metavar="N", help="only this workspace")
    flush.set_defaults(command=_flush)
    status = commands.add_parser(
        "status",
        parents=[target],
        help="show where all accepted rows are, and the state of the service",
        epilog=EXIT_CODES,
    )
    status.set_defaults(command=_status)
    for parser in (files, flush, status):
        parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def answer_of(options: argparse.Namespace, method: str, path: str, **parameters: object) -> Any:
    """The JSON answer to a call. Raises CommandFailed."""
    query = urlencode({name: value for name, value in parameters.items() if value is not None})
    return _called(connection(options, os.environ), method, f"{path}?{query}" if query else path, None)


def answer_to(options: argparse.Namespace, path: str, body: object, patience_s: float) -> Any:
    """The JSON answer to a POST of JSON, which may take up to patience_s. Raises CommandFailed."""
    return _called(connection(options, os.environ, patience_s), "POST", path, json.dumps(body).encode())


def _called(service: Connection, method: str, path: str, body: bytes | None) -> Any:
    headers = {} if body is None else {"Content-Type": "application/json"}
    try:
        answer = service.call(method, path, body, headers)
    except NotReached as error:
        raise CommandFailed(str(error)) from None
    finally:
        service.close()
    if answer.status != 200:
        raise CommandFailed(refusal(answer))
    return json.loads(answer.content)


def refusal(answer: Answered) -> str:
    """The message of an error answer."""
    try:
        return str(json.loads(answer.content)["message"])
    except (ValueError, KeyError, TypeError):
        return f"the service answered {answer.status}: {answer.content[:200].decode('utf-8', 'replace')}"


def _files(options: argparse.Namespace) -> int:
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while len(found) < options.limit:
        page = answer_of(
            options,
            "GET",
            "/files",
            workspace_id=options.workspace,
            date=options.date,
            kind=options.kind,
            updated_since=options.updated_since,
            limit=min(options.limit - len(found), PAGE),
            cursor=cursor,
        )
        found += page["files"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    if options.json:
        print_json(found)
        return 0
    print_table(
        ("path", "rows", "size", "from", "to", "updated", "sealed"),
        [
            (
                file["path"],
                file["rows"],
                size_text(file["bytes"]),
                time_text(file["min_timestamp"]),
                time_text(file["max_timestamp"]),
                file["updated_at"],
                file["sealed"],
            )
            for file in found
        ],
    )
    if cursor is not None:
        print(f"only the first {options.limit} files are shown; use --limit for more")
    return 0


def _flush(options: argparse.Namespace) -> int:
    result = answer_of(options, "POST", "/flush", workspace_id=options.workspace)
    if options.json:
        print_json(result)
        return 0
    print(f"{result['flushed_rows']:,} rows written")
    if result["files"]:
        print_table(
            ("path", "rows", "size"),
            [(file["path"], file["rows"], size_text(file["bytes"])) for file in result["files"]],
        )
    return 0


def _status(options: argparse.Namespace) -> int:
    status = answer_of(options, "GET", "/status")
    if options.json:
        print_json(status)
        return 0
    names = ("workspace_id", "kind", "accepted", "published", "buffered", "quarantined", "removed")
    print_table(
        ("workspace", *names[1:]),
        [[str(row[names[0]]), *(row.get(name) for name in names[1:])] for row in status["rows"]],
    )
    facts = {
        "journal": size_text(status["journal"]["bytes"]) if "journal" in status else None,
        "oldest row not in a file yet": f"{status['buffer']['oldest_row_age_s']:.0f} s"
        if "buffer" in status
        else None,
        "files": status.get("files"),
        "last flush": time_text(status.get("last_flush_ms")),
        "problem": status.get("problem") or "none",
    }
    print_table(("", ""), [(name, str(value)) for name, value in facts.items() if value is not None])
    for trouble in status.get("failing_partitions", []):
        print(
            f"cannot be written: workspace {trouble['workspace_id']}, {trouble['date']}: {trouble['error']}"
        )
    for lost in status.get("lost_files", []):
        print(f"lost: {lost['path']}, {lost['lost_rows']:,} rows")
    return 0


def time_text(ms: int | None) -> str | None:
    if ms is None:
        return None
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=ms)
    return moment.isoformat(sep=" ", timespec="seconds")
