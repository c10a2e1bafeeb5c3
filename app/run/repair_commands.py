"""`parquet-sink repair` and `adopt`: an operator decides what a start refuses to decide by itself."""

import argparse
import sys
from typing import TYPE_CHECKING, Any, Final

from app.run.keeping_commands import GetPlan

if TYPE_CHECKING:
    from app.settings.plan import Plan

LOST: Final = 4
"""The exit code if something was recorded as lost."""


def add_repairing(commands: Any, file: argparse.ArgumentParser, get_plan: GetPlan) -> None:
    """Adds the commands' arguments. file: the parser for the configuration file. get_plan: loads it."""
    repair = commands.add_parser(
        "repair",
        parents=[file],
        help="record the damaged parts of the journal as lost, so that the service can start again",
    )
    repair.set_defaults(command=lambda options: _repair(get_plan(options)), host=None, port=None)
    adopt = commands.add_parser(
        "adopt",
        parents=[file],
        help="make this journal the owner of the files in the sink's path, if their own journal is gone",
    )
    adopt.set_defaults(command=lambda options: _adopt(get_plan(options)), host=None, port=None)


def _repair(plan: "Plan") -> int:
    from app.disk.data_directory_lock import DataDirectoryInUse
    from app.disk.durable_file import SyncFailed
    from app.disk.durable_fs import DurableFS
    from app.journal.failures import JournalDamaged
    from app.run.compose import object_store
    from app.run.repair import NothingThere, repair_data_directory
    from app.run.start_report import lines

    paths = plan.storage.paths
    refusals = (NothingThere, DataDirectoryInUse, JournalDamaged)
    try:
        done = repair_data_directory(
            DurableFS(),
            paths,
            object_store(plan.storage),
            syncs=plan.policies.journal.acknowledge == "fsync",
            node=plan.policies.writer.node,
        )
    except (*refusals, OSError, SyncFailed) as error:
        print(f"parquet-sink: not repaired: {error}", file=sys.stderr)
        return 1
    for line in lines(done.report):
        print(line)
    if not done.damages:
        nothing = "" if done.report.files.changed else "; nothing was changed"
        print(f"the journal in {paths.segments} is intact{nothing}")
        return LOST if done.report.files.broken else 0
    for damage in done.damages:
        print(f"lost: {damage}")
    print(f"recorded in {done.losses}; the damaged bytes are kept in {paths.segments / 'aside'}")
    return LOST


def _adopt(plan: "Plan") -> int:
    from app.disk.data_directory_lock import DataDirectoryInUse
    from app.disk.durable_fs import DurableFS
    from app.publish.ownership import TreeRefused
    from app.run.adopt import adopt
    from app.run.compose import object_store

    paths, node = plan.storage.paths, plan.policies.writer.node
    try:
        identity = adopt(DurableFS(), paths, object_store(plan.storage), node)
    except (TreeRefused, DataDirectoryInUse, OSError) as error:
        print(f"parquet-sink: not adopted: {error}", file=sys.stderr)
        return 1
    print(f"the files in {identity.tree} now belong to the journal in {paths.state}")
    return 0
