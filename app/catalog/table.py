"""One kind's Iceberg table: its files are added exactly once, whatever is interrupted or comes in between.

A property of the table records which of a node's commits are registered; it changes in the same Iceberg
commit that adds the files. Each commit requires that the table is unchanged since this node read it: so a
commit with unknown outcome is either visible when the table is read again, or can no longer happen.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.table import Table, Transaction
from pyiceberg.types import IcebergType

from app.catalog.columns import iceberg_schema, iceberg_type, partition_spec
from app.catalog.expiry import expire
from app.catalog.footers import iceberg_data_file
from app.catalog.judgement import UnfitFile, judge
from app.catalog.policy import COMMIT_FILES_MAX, CONFLICTS_MAX, CatalogPolicy
from app.kinds import Kind
from app.parquet.data_file import DataFile

PROPERTY_PREFIX: Final = "parquet-sink.last-commit."
NAME_MAPPING: Final = "schema.name-mapping.default"

_PROPERTIES: Final = (
    ("format-version", "2"),
    ("write.metadata.delete-after-commit.enabled", "true"),
    ("write.metadata.previous-versions-max", "100"),
)

_NO_RETRIES: Final = "commit.retry.num-retries"
"""pyiceberg's own retries would repeat a commit without looking at the property again."""

CONFLICT_PAUSE_S: Final = 0.05
"""The pause before the second attempt; it up to doubles before each further one, to at most
CONFLICT_PAUSE_S_MAX."""

CONFLICT_PAUSE_S_MAX: Final = 2.0


class KindTable:
    """Used only by the registrar's thread. Every call raises whatever the catalog's client raises.

    writer: identifies the manifest whose commits are counted. schema: current columns of this kind's files; a
    file's own columns are read from its footer. pause: waits some seconds, fewer when the service stops.
    leave_out: called with files that do not fit, before the commit that leaves them out.
    """

    def __init__(
        self,
        catalog: Catalog,
        policy: CatalogPolicy,
        kind: Kind,
        schema: pa.Schema,
        writer: str,
        pause: Callable[[float], None],
        leave_out: Callable[[Sequence[UnfitFile]], None],
    ) -> None:
        self._catalog = catalog
        self._policy = policy
        self._name = (policy.namespace, kind.value)
        self._schema = schema
        self._property = PROPERTY_PREFIX + writer
        self._pause = pause
        self._kind = kind
        self._leave_out = leave_out
        self._footers: dict[str, pq.FileMetaData] = {}

    def load(self) -> Table:
        """The current table; created if there is none."""
        try:
            return self._catalog.load_table(self._name)
        except NoSuchTableError:
            self._catalog.create_namespace_if_not_exists(self._policy.namespace)
            schema = iceberg_schema(self._schema)
            mapping = schema.name_mapping.model_dump_json()
            return self._catalog.create_table_if_not_exists(
                self._name,
                schema,
                partition_spec=partition_spec(schema),
                properties={**dict(_PROPERTIES), NAME_MAPPING: mapping},
            )

    def registered(self, table: Table) -> int:
        """The last commit of this writer whose files the table has; 0 for none."""
        return int(table.properties.get(self._property, 0))

    def register(self, files: Sequence[DataFile]) -> int:
        """Add the files of commits that are not registered yet; return the last registered commit.

        Commits become visible in their order, each one whole. Raises CommitFailedException if other nodes
        repeatedly commit first.
        """
        registered = self.registered(self.load())
        for last_commit, some in _in_portions(files, registered):
            registered = self._register_once(last_commit, some)
        self._footers.clear()
        return registered

    def expire(self, now_ms: int) -> int:
        """Remove snapshots beyond the policy's number and age; return how many."""
        return expire(
            self.load(), now_ms, self._policy.snapshots_max, round(self._policy.snapshot_age_s * 1000)
        )

    def _register_once(self, last_commit: int, files: Sequence[DataFile]) -> int:
        pause_s = CONFLICT_PAUSE_S
        for conflicts in range(CONFLICTS_MAX + 1):
            table = self.load()
            if self.registered(table) >= last_commit:
                break
            try:
                self._commit(table, last_commit, files)
            except CommitFailedException:
                if conflicts == CONFLICTS_MAX:
                    raise
                self._pause(random.uniform(CONFLICT_PAUSE_S, pause_s))
                pause_s = min(2 * pause_s, CONFLICT_PAUSE_S_MAX)
            else:
                break
        return last_commit

    def add_again(self, files: Sequence[DataFile]) -> list[str]:
        """Add files that were left out but fit now; returns their paths, and those already in the table."""
        table = self.load()
        has = {task.file.file_path for task in table.scan().plan_files()}
        present = [file for file in files if self._policy.root + file.path in has]
        waiting = [file for file in files if self._policy.root + file.path not in has]
        fitting, _, left = self._judged(table, waiting)
        if fitting:
            self._commit(table, self.registered(table), fitting)
        return [file.path for file in present] + [file.path for file in waiting if file.path not in left]

    def _commit(self, table: Table, last_commit: int, files: Sequence[DataFile]) -> None:
        fitting, missing, left = self._judged(table, files)
        if left:
            self._leave_out([UnfitFile(path, self._kind, reason) for path, reason in left.items()])
        table.metadata = table.metadata.model_copy(
            update={"properties": {**table.metadata.properties, _NO_RETRIES: "0"}}
        )
        with table.transaction() as transaction:
            self._evolve(transaction, missing)
            transaction.set_properties({self._property: str(last_commit)})
            if not fitting:
                return
            summary = {"parquet-sink.commit": str(last_commit)}
            if self._policy.node:
                summary["parquet-sink.node"] = self._policy.node
            update = transaction.update_snapshot(snapshot_properties=summary)
            with update.merge_append() as append:
                for file in fitting:
                    url = self._policy.root + file.path
                    footer = self._footer(table, url)
                    metadata = transaction.table_metadata
                    append.append_data_file(iceberg_data_file(url, file.bytes, footer, metadata))

    def _judged(
        self, table: Table, files: Sequence[DataFile]
    ) -> tuple[list[DataFile], dict[str, IcebergType], dict[str, str]]:
        """(files that fit, columns that must be added for them, why the others do not fit, by path)."""
        schema = table.schema()
        columns = {field.name: field.field_type for field in schema.fields}
        fitting, missing, left = [], dict[str, IcebergType](), dict[str, str]()
        for file in files:
            try:
                footer = self._footer(table, self._policy.root + file.path)
            except FileNotFoundError:
                left[file.path] = "the file does not exist"
                continue
            except pa.ArrowInvalid as error:
                left[file.path] = f"the file cannot be read: {error}"
                continue
            judgement = judge(footer, columns | missing, schema)
            if judgement.reason is None:
                missing |= judgement.missing
                fitting.append(file)
            else:
                left[file.path] = judgement.reason
        return fitting, missing, left

    def _footer(self, table: Table, url: str) -> pq.FileMetaData:
        if url not in self._footers:
            with table.io.new_input(url).open() as stream:
                self._footers[url] = pq.read_metadata(stream)
        return self._footers[url]

    def _evolve(self, transaction: Transaction, missing: Mapping[str, IcebergType]) -> None:
        """Add columns that files have but the table lacks; none is ever removed or changed."""
        schema = transaction.table_metadata.schema()
        if transaction.table_metadata.name_mapping() is None:
            transaction.set_properties({NAME_MAPPING: schema.name_mapping.model_dump_json()})
        known = set(schema.column_names) | set(missing)
        configured = {
            column.name: iceberg_type(column.type) for column in self._schema if column.name not in known
        }
        if missing or configured:
            with transaction.update_schema() as update:
                for name, type_ in {**missing, **configured}.items():
                    update.add_column(name, type_)


def _in_portions(files: Sequence[DataFile], registered: int) -> Iterator[tuple[int, list[DataFile]]]:
    """(last commit, files) of some complete commits after the registered one, in order."""
    new = sorted((file for file in files if (file.commit or 0) > registered), key=_commit_of)
    portion: list[DataFile] = []
    for _, some in groupby(new, _commit_of):
        portion += some
        if len(portion) >= COMMIT_FILES_MAX:
            yield _commit_of(portion[-1]), portion
            portion = []
    if portion:
        yield _commit_of(portion[-1]), portion


def _commit_of(file: DataFile) -> int:
    return file.commit or 0
