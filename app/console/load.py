"""`parquet-sink load`: files of rows into a running service."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from app.console.target import CommandFailed, connection, target_arguments
from app.kinds import Kind

if TYPE_CHECKING:
    from app.load.connection import Connection
    from app.load.tally import LoadTally

SOME_REFUSED: Final = 4
INTERRUPTED: Final = 130

EXIT_CODES: Final = (
    "Exit codes: 0 every row is stored, 1 some rows could not be sent, 2 wrong command line, 4 all were "
    "sent but some were refused, 130 interrupted. After 1 or 130 run the same command again: every row is "
    "stored once."
)

DESCRIPTION: Final = (
    "Sends the rows of files to a running service: JSON Lines, JSON arrays, CSV, Parquet and Arrow, also "
    "compressed with gzip or zstd. The format is recognised by a file's first bytes. If no event has a "
    "type, all become track events; rows of a table without event names are named after the file."
)


def add_load(commands: Any) -> None:
    """Adds the command's arguments."""
    parser = commands.add_parser(
        "load",
        parents=[target_arguments(key_only=True)],
        help="send the rows of files to a running service",
        description=DESCRIPTION,
        epilog=EXIT_CODES,
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="files, glob patterns, or - for standard input"
    )
    parser.add_argument(
        "--kind", choices=[kind.value for kind in Kind], default="events", help="default: events"
    )
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="NAME=COLUMN",
        help="take timestamp, event_name, event_type, device_id, message, level … from this column; may be "
        "repeated, or separated by commas",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="default for rows without a value, such as --set event_name=flight",
    )
    parser.add_argument("--delimiter", help="delimiter of CSV; default: detected among , ; tab |")
    parser.add_argument("--encoding", default="utf-8", help="encoding of CSV; default: utf-8")
    parser.add_argument(
        "--dead-letter",
        type=Path,
        metavar="FILE",
        help="write refused rows to this file, with reasons, as JSON Lines",
    )
    parser.add_argument(
        "--parallel", type=_number, default=4, metavar="N", help="number of connections; default: 4"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="give up when the service has accepted nothing for this long; default: 300",
    )
    parser.add_argument(
        "--json", action="store_true", help="print a JSON summary, for programs, to standard output"
    )
    parser.set_defaults(command=_load)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:4]) <= 64:
        raise argparse.ArgumentTypeError("must be a number from 1 to 64")
    return int(text)


def pairs(texts: Sequence[str], option: str, *, splits: bool) -> dict[str, str]:
    """`name=value` options. splits: one may hold several, with commas. Raises CommandFailed."""
    found = {}
    for text in texts:
        for part in text.split(",") if splits else [text]:
            name, equals, value = part.partition("=")
            if not equals or not name.strip() or not value.strip():
                raise CommandFailed(f"{option} {part}: write it as NAME={option[2:].upper()}", 2)
            found[name.strip()] = value.strip()
    return found


def _load(options: argparse.Namespace) -> int:
    from app.load.batches import Wishes
    from app.load.loader import Loader
    from app.load.policy import CannotLoad, LoadPolicy
    from app.load.sources import find_sources
    from app.load.tally import LoadTally

    kind = Kind(options.kind)
    wishes = Wishes(
        kind,
        pairs(options.map, "--map", splits=True),
        pairs(options.set, "--set", splits=False),
        options.delimiter,
        options.encoding,
    )
    policy = LoadPolicy(parallel=options.parallel, patience_s=options.patience)
    began = time.monotonic()
    try:
        sources = find_sources(options.files)
        tally = LoadTally(options.dead_letter)
    except CannotLoad as error:
        raise CommandFailed(str(error)) from None
    except OSError as error:
        raise CommandFailed(f"{options.dead_letter}: {error.strerror}") from None

    def connect() -> "Connection":
        return connection(options, os.environ, policy.timeout_s)

    loader = Loader(connect, kind, policy, tally)
    as_json = options.json or not sys.stdout.isatty()
    failure = ""
    interrupted = False
    try:
        with Progress(sum(source.size for source in sources), tally, shown=not as_json) as tick:
            loader.run(sources, wishes, tick)
    except CannotLoad as error:
        failure = str(error)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        tally.close()
    seconds = time.monotonic() - began
    if as_json:
        print(json.dumps(summary(tally, len(sources), seconds, failure, interrupted=interrupted)))
    else:
        _tell(tally, seconds)
    if interrupted:
        print(
            "parquet-sink: interrupted; run the same command again: every row is stored once", file=sys.stderr
        )
        return INTERRUPTED
    if failure:
        print(f"parquet-sink: {failure}", file=sys.stderr)
        return 1
    return SOME_REFUSED if tally.refused else 0


class Progress:
    """A progress bar on standard error with rows per second and the time left. As a context it gives the
    function that advances it."""

    def __init__(self, size: int, tally: "LoadTally", *, shown: bool) -> None:
        self._size = size
        self._tally = tally
        self._shown = shown and sys.stderr.isatty()
        self._bar: Any = None

    def __enter__(self) -> Callable[[], None]:
        if not self._shown:
            return lambda: None
        from rich import progress
        from rich.console import Console

        self._bar = progress.Progress(
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TextColumn("{task.fields[rows]:,} rows, {task.fields[rate]:,.0f}/s"),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._bar.start()
        task = self._bar.add_task("load", total=self._size or None, rows=0, rate=0.0)
        began = time.monotonic()

        def tick() -> None:
            rows = self._tally.accepted + self._tally.stored_before + self._tally.refused
            rate = rows / max(time.monotonic() - began, 0.001)
            self._bar.update(task, completed=self._tally.size, rows=rows, rate=rate)

        return tick

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def summary(
    tally: "LoadTally", files: int, seconds: float, failure: str, *, interrupted: bool
) -> dict[str, Any]:
    """The summary of a load, for programs."""
    return {
        "files": files,
        "stored": tally.accepted,
        "stored_before": tally.stored_before,
        "refused": tally.refused,
        "reasons": [
            {"reason": reason, "rows": rows, "example": tally.examples[reason]}
            for reason, rows in tally.reasons.most_common()
        ],
        "seconds": round(seconds, 3),
        "rows_per_second": round((tally.accepted + tally.stored_before) / max(seconds, 0.001)),
        "interrupted": interrupted,
        "error": failure or None,
    }


def _tell(tally: "LoadTally", seconds: float) -> None:
    rate = (tally.accepted + tally.stored_before) / max(seconds, 0.001)
    print(f"{tally.accepted:,} rows stored in {seconds:.1f} s ({rate:,.0f} per second)")
    if tally.stored_before:
        print(f"{tally.stored_before:,} rows had already been stored by an earlier run")
    if tally.refused:
        print(f"{tally.refused:,} rows refused:")
        for reason, rows in tally.reasons.most_common():
            print(f"  {rows:,} x {reason}\n      {tally.examples[reason]}")
