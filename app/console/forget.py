"""`parquet-sink forget`: takes rows out of the files and the journal of a running service."""

import argparse
from typing import Any, Final

from app.console.admin import answer_to
from app.console.show import print_json, print_table, size_text
from app.console.target import CommandFailed, target_arguments

PATIENCE_S: Final = 6 * 3600.0
"""Every file of a lake may have to be looked at."""


def add_forget(commands: Any) -> None:
    """The command's arguments."""
    forget = commands.add_parser(
        "forget",
        parents=[target_arguments()],
        help="take rows of a device or user out of all files and the journal",
        description="All conditions that are given must hold. Rows that arrive later are not covered; copies "
        "(snapshots, backups, other lakes) are yours to look after.",
        epilog="Exit codes: 0 done, 1 the service says no, is not there, or could not do all of it, 2 wrong "
        "command line.",
    )
    forget.add_argument("--device", metavar="ID", help="a UUID, or the name that one was made of")
    forget.add_argument("--user", metavar="ID", help="user_id of the payload")
    forget.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a column, or a member of the payload as $.plan=pro; may be repeated",
    )
    forget.add_argument("--workspace", type=int, metavar="N", help="only this workspace")
    forget.add_argument(
        "--now",
        action="store_true",
        help="old bytes become zeros at once, not after the grace; a query under way may fail over them",
    )
    forget.add_argument("--json", action="store_true", help="for programs")
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
        f"{receipt['rows']:,} rows are forgotten; {receipt['files_searched']:,} files were searched; "
        f"receipt: {receipt['receipt']}, beside the journal"
    )
    for each in receipt["left"]:
        print(f"not done: {each['path']}: {each['why']}")
