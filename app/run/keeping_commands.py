"""`parquet-sink retention` and `snapshot`: they read the service's directories, and change nothing there."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from app.console.target import CommandFailed

if TYPE_CHECKING:  # it has all that the service is built from
    from app.settings.plan import Plan

GetPlan: TypeAlias = "Callable[[argparse.Namespace], Plan]"


def add_keeping(commands: Any, file: argparse.ArgumentParser, get_plan: GetPlan) -> None:
    """Adds the commands' arguments. file: the parser for the configuration file. get_plan: loads it."""
    retention = commands.add_parser(
        "retention",
        parents=[file],
        help="list the files that [[retention]] would remove now",
        description="The service removes such files itself while it runs. This command reads its directory, "
        "whether or not it runs, and changes nothing.",
    )
    retention.add_argument(
        "--dry-run", action="store_true", required=True, help="list the files, change nothing"
    )
    retention.add_argument("--json", action="store_true", help="for programs")
    retention.set_defaults(
        command=lambda options: _retention(options, get_plan(options)), host=None, port=None
    )
    snapshot = commands.add_parser(
        "snapshot",
        parents=[file],
        help="copy all published files and their manifest, while the service runs",
        description="Rows that are not in files yet are not included: run parquet-sink flush first.",
    )
    snapshot.add_argument(
        "directory", type=Path, metavar="DIR", help="directory to create; must not exist yet"
    )
    snapshot.set_defaults(command=lambda options: _snapshot(options, get_plan(options)), host=None, port=None)


def _retention(options: argparse.Namespace, plan: "Plan") -> int:
    # Only these commands need the parts of the service.
    from app.console.retention import show_would_go
    from app.disk.durable_fs import DurableFS
    from app.publish.manifest import ManifestDamaged
    from app.publish.placings_file import PlacingsDamaged
    from app.run.compose import now_ms
    from app.run.retention_plan import NoManifest, would_go

    policy = plan.policies.writer.retention
    if not policy.rules:
        raise CommandFailed("the configuration has no [[retention]]: all files are kept")
    try:
        files = would_go(DurableFS(), plan.storage.paths, policy, now_ms())
    except (NoManifest, ManifestDamaged, PlacingsDamaged, OSError) as error:
        raise CommandFailed(str(error)) from None
    show_would_go(files, as_json=options.json)
    return 0


def _snapshot(options: argparse.Namespace, plan: "Plan") -> int:
    from app.console.show import size_text
    from app.disk.durable_file import SyncFailed
    from app.disk.durable_fs import DurableFS
    from app.publish.manifest import ManifestDamaged
    from app.run.snapshot import CannotCopy, take_snapshot

    if plan.kafka is not None:
        raise CommandFailed(
            'with journal.type = "kafka" the publication log is stored with the files: copy both'
        )
    try:
        copied = take_snapshot(DurableFS(), plan.storage.paths, options.directory.absolute())
    except (CannotCopy, ManifestDamaged, OSError, SyncFailed) as error:
        raise CommandFailed(str(error)) from None
    how = "all as hard links" if not copied.copied else f"{copied.copied:,} of them byte by byte"
    size = size_text(copied.bytes)
    print(f"copied {copied.files:,} files with {copied.rows:,} rows, {size}, {how}, to {options.directory}")
    return 0
