"""`parquet-sink query`: SQL over a data directory or through a running service, once or in a shell."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from app.console.admin import refusal
from app.console.show import print_table
from app.console.target import CommandFailed, connection, target_arguments
from app.load.connection import NotReached
from app.query.formats import FORMATS

EXIT_CODES: Final = (
    "Reads the configured directory, whether or not the service runs, or with --url queries a running "
    "service. Exit codes: 0 answered, 1 the query is wrong or cannot be answered, 2 wrong command line."
)

TABLE_ROWS_MAX: Final = 100

HISTORY_LINES_MAX: Final = 10_000

WELCOME: Final = (
    "SQL over the views events, logs and snapshots; end a query with ;\n.tables shows the views and their "
    "columns, .format csv (json, …) changes the output format, .exit quits"
)

COLUMNS: Final = (
    "SELECT table_name AS view, string_agg(column_name, ', ' ORDER BY ordinal_position) AS columns "
    "FROM information_schema.columns WHERE table_name IN ('events', 'logs', 'snapshots') "
    "GROUP BY ALL ORDER BY ALL"
)

Ask = Callable[[str, str, Path | None], None]
"""Answers SQL in an output format, to a file or standard output. Raises CommandFailed."""


def add_query(commands: Any, configuration: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Adds the command's arguments; the caller sets the function that carries it out."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "query",
        parents=[configuration, target_arguments()],
        help="query the views events, logs and snapshots with SQL: the rows in files and those not in files "
        "yet",
        epilog=EXIT_CODES,
    )
    parser.add_argument(
        "sql",
        nargs="?",
        help="DuckDB SQL, such as \"SELECT event_name, payload->>'plan' FROM events\"; - reads it from "
        "standard input",
    )
    parser.add_argument("-i", "--interactive", action="store_true", help="start a shell with history")
    parser.add_argument("--workspace", type=int, help="open only this workspace's files")
    parser.add_argument("--since", metavar="YYYY-MM-DD", help="only rows received on or after this day (UTC)")
    parser.add_argument(
        "--until", metavar="YYYY-MM-DD", help="only rows received up to and including this day (UTC)"
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="output format; default: table")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="file for the result; default: standard output"
    )
    return parser


def carry_out(options: argparse.Namespace, ask: Ask) -> int:
    """Runs the query once, or a shell. Raises CommandFailed."""
    if options.sql is None and not options.interactive:
        raise CommandFailed("give a query, or -i for a shell", 2)
    if options.sql is not None:
        ask(sys.stdin.read() if options.sql == "-" else options.sql, options.format, options.output)
    if options.interactive:
        _Shell(ask, options.format, os.environ).run()
    return 0


def ask_service(options: argparse.Namespace) -> Ask:
    """Queries the service at `--url`."""

    def ask(sql: str, form: str, output: Path | None) -> None:
        if form == "parquet" and output is None:
            raise CommandFailed("parquet is not text: name a file with --output")
        sent_form = "arrow" if form in ("table", "parquet") else form
        parameters = {
            "format": sent_form,
            "workspace_id": options.workspace,
            "since": options.since,
            "until": options.until,
        }
        query = urlencode({name: value for name, value in parameters.items() if value is not None})
        service = connection(options, os.environ)
        try:
            answer = service.call("POST", f"/query?{query}", sql.encode(), {"Content-Type": "text/plain"})
        except NotReached as error:
            raise CommandFailed(str(error)) from None
        finally:
            service.close()
        if answer.status != 200:
            raise CommandFailed(refusal(answer))
        _write(answer.content, form, output)

    return ask


def _write(content: bytes, form: str, output: Path | None) -> None:
    if form in ("table", "parquet"):
        import pyarrow as pa

        table = pa.ipc.open_stream(content).read_all()
        if form == "parquet":
            import pyarrow.parquet as pq

            pq.write_table(table, output)
            return
        rows = [list(row.values()) for row in table.slice(0, TABLE_ROWS_MAX).to_pylist()]
        print_table(table.schema.names, rows)
        if table.num_rows > TABLE_ROWS_MAX:
            print(f"{TABLE_ROWS_MAX} of {table.num_rows:,} rows are shown; use --format csv for all")
    elif output is not None:
        output.write_bytes(content)
    else:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


class _Shell:
    """Reads queries until its input ends."""

    def __init__(self, ask: Ask, form: str, environ: Mapping[str, str]) -> None:
        self._ask = ask
        self._form = form
        state = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        self._history = Path(state) / "parquet-sink" / "history"

    def run(self) -> None:
        editing = self._edit_lines() if sys.stdin.isatty() else None
        if sys.stdin.isatty():
            print(WELCOME)
        lines: list[str] = []
        while True:
            try:
                line = input(("… " if lines else "sql> ") if sys.stdin.isatty() else "")
            except EOFError:
                break
            except KeyboardInterrupt:
                lines = []
                print()
                continue
            if not lines and line.strip().startswith("."):
                if not self._obey(line.split()):
                    break
                continue
            lines.append(line)
            if line.rstrip().endswith(";"):
                self._answer("\n".join(lines))
                lines = []
        if any(line.strip() for line in lines):
            self._answer("\n".join(lines))
        if editing is not None:
            editing()

    def _answer(self, sql: str) -> None:
        try:
            self._ask(sql, self._form, None)
        except CommandFailed as error:
            print(error, file=sys.stderr)
        except KeyboardInterrupt:
            print("cancelled", file=sys.stderr)

    def _obey(self, words: list[str]) -> bool:
        """Carries out a dot command; whether the shell continues."""
        if words[0] in (".exit", ".quit", ".q"):
            return False
        if words[0] == ".tables":
            self._answer(COLUMNS)
        elif words[0] == ".format" and words[1:] and words[1] in FORMATS:
            self._form = words[1]
        elif words[0] == ".format":
            print(f"choose one of {', '.join(FORMATS)}", file=sys.stderr)
        else:
            print(WELCOME)
        return True

    def _edit_lines(self) -> Callable[[], None] | None:
        """Switches arrow keys and history on, if Python has them; returns what saves the history."""
        try:
            import readline
        except ImportError:
            return None
        try:
            self._history.parent.mkdir(parents=True, exist_ok=True)
            if self._history.exists():
                readline.read_history_file(self._history)
        except OSError:
            return None
        readline.set_history_length(HISTORY_LINES_MAX)

        def save() -> None:
            try:
                readline.write_history_file(self._history)
            except OSError as error:
                print(f"the history was not saved: {error}", file=sys.stderr)

        return save
