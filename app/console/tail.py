"""`parquet-sink tail`: rows of a running service as they are accepted."""

import argparse
import json
import os
import sys
from typing import Any, Final
from urllib.parse import urlencode

from app.console.admin import refusal
from app.console.load import pairs
from app.console.target import CommandFailed, connection, target_arguments
from app.kinds import Kind
from app.load.connection import Answered, NotReached

EXIT_CODES: Final = (
    "Exit codes: 0 after --count rows, 1 the service refused or has ended, 2 wrong command line, 130 "
    "interrupted."
)

SILENCE_S: Final = 60.0
"""The service sends something more often than this."""

INTERRUPTED: Final = 130

FIRST: Final = ("event_name", "level", "event_type", "source", "service", "entity")
"""The fields that a line for people begins with, after the time and the kind."""


def add_tail(commands: Any) -> None:
    """Adds the command's arguments."""
    parser = commands.add_parser(
        "tail",
        parents=[target_arguments()],
        help="show rows as they are accepted",
        description="Shows rows of a running service as soon as they are accepted.",
        epilog=EXIT_CODES,
    )
    kinds = [kind.value for kind in Kind]
    parser.add_argument("--kind", choices=kinds, action="append", help="only this kind; may be repeated")
    parser.add_argument("--workspace", type=int, metavar="N", help="only this workspace")
    parser.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="only rows with this event_name, event_type, level, source, service, entity, device_id or "
        "session_id; contains=TEXT searches the payload",
    )
    parser.add_argument("--count", type=int, metavar="N", help="stop after this many rows")
    parser.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object per line; the default if the output is not a terminal",
    )
    parser.set_defaults(command=_tail)


def _tail(options: argparse.Namespace) -> int:
    parameters: list[tuple[str, object]] = [("kind", kind) for kind in options.kind or ()]
    parameters += pairs(options.where, "--where", splits=False).items()
    if options.workspace is not None:
        parameters.append(("workspace_id", options.workspace))
    service = connection(options, os.environ, SILENCE_S)
    as_json = options.json or not sys.stdout.isatty()
    shown = 0
    try:
        status, lines = service.lines(f"/tail?{urlencode(parameters)}")
        if status != 200:
            raise CommandFailed(refusal(Answered(status, {}, b"".join(lines))))
        event = b""
        for line in lines:
            if line.startswith(b"event:"):
                event = line[6:].strip()
            elif line.startswith(b"data:"):
                if event == b"missed":
                    rows = json.loads(line[5:])["rows"]
                    print(f"parquet-sink: {rows} rows were skipped: they came too fast", file=sys.stderr)
                else:
                    shown += 1
                    text = line[5:].strip().decode()
                    print(text if as_json else readable(json.loads(text)), flush=True)
                    if options.count is not None and shown >= options.count:
                        return 0
            elif not line:
                event = b""
    except NotReached as error:
        raise CommandFailed(str(error)) from None
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        service.close()
    raise CommandFailed("the service has ended")


def readable(row: dict[str, Any]) -> str:
    """One line of a row, for people."""
    words = [str(row["received_at"])[11:23], str(row["kind"])]
    words += [str(row[name]) for name in FIRST if row.get(name)]
    payload = row.get("payload")
    words.append(payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False))
    return "  ".join(words)
