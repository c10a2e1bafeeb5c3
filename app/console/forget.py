"""`parquet-sink forget`: removes rows from the files and the journal of a running service."""

import argparse
from typing import Any, Final

from app.console.admin import answer_to
from app.console.show import print_json, print_table, size_text
from app.console.target import CommandFailed, target_arguments

PATIENCE_S: Final = 6 * 3600.0
"""It may have to search every file."""


def add_forget(commands: Any) -> None:
    """Adds the command's arguments."""
    forget = commands.add_parser(
        "forget",
        parents=[target_arguments()],
        help="remove the rows of a device or user from all files and the journal",
        description="Removes the rows that match all given conditions. Rows that arrive later are not "
        "covered, and neither are copies (snapshots, backups, other data lakes).",
        epilog="Exit codes: 0 done, 1 the service refused, could not be reached or could not remove "
        "everything, 2 wrong command line.",
    )
    forget.add_argument("--device", metavar="ID", help="a UUID, or the name that it was derived from")
    forget.add_argument("--user", metavar="ID", help="user_id in the payload")
    forget.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a column, or a field of the payload such as $.plan=pro; may be repeated",
    )
    forget.add_argument("--workspace", type=int, metavar="N", help="only this workspace")
    forget.add_argument(
        "--now",
        action="store_true",
        help="zero the old bytes immediately, not after the grace period; running queries may fail because "
        "of that",
    )
    forget.add_argument("--json", action="store_true", help="print JSON, for programs")
    forget.set_defaults(command=_forget)


def _forget(options: argparse.Namespace) -> int:
    receipt = _ask(options)
    if options.json:
        print_json(receipt)
    else:
        _show(receipt)
    return 0 if receipt["complete"] else 1


def _ask(options: argparse.Namespace) -> Any:
    where = {}
    for each in options.where:
        name, equals, value = each.partition("=")
        if not equals:
            raise CommandFailed(f"--where {each}: write it as NAME=VALUE")
        where[name] = value
    given = {
        "device": options.device,
        "user": options.user,
        "where": where or None,
        "workspace_id": options.workspace,
        "now": options.now,
    }
    body = {name: value for name, value in given.items() if value is not None}
    return answer_to(options, "/forget", body, PATIENCE_S)


def _show(receipt: Any) -> None:
    rows = [
        (file["path"], file["rows"], size_text(file["old_bytes"]), "zeros" if file["are_zeros"] else "later")
        for file in receipt["files"]
    ]
    if rows:
        print_table(("path", "rows", "old bytes", "are"), rows)
    print(
        f"{receipt['rows']:,} rows removed; {receipt['files_searched']:,} files searched; receipt: "
        f"{receipt['receipt']}, next to the journal"
    )
    for each in receipt["left"]:
        print(f"not done: {each['path']}: {each['why']}")
