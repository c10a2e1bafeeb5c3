"""Implements `check-config --connect`: tries everything that the service will connect to."""

import contextlib
import os
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from app.catalog.client import open_catalog
from app.disk.durable_fs import DurableFS
from app.errors import ConfigurationError
from app.kafka.client import KafkaMisconfigured
from app.kafka.topic import look_at
from app.object_store.store import ObjectStore
from app.run.compose import object_store
from app.settings.plan import KafkaPlan, Plan, StoragePlan

PROBE: Final = "parquet-sink-probe-"


def tried(plan: Plan) -> Iterator[tuple[str, str | None]]:
    """Each thing tried, with the reason why it does not work, or None if it does. Leaves nothing behind."""
    storage = plan.storage
    yield from _each("the journal's directory", lambda: _write_to(storage.paths.state))
    directory = storage.paths.data
    if directory is not None:
        yield from _each(f"the directory {storage.shown}", lambda: _write_to(directory))
    else:
        yield from _bucket(storage)
    if plan.kafka is not None:
        yield from _topic(plan.kafka)
    if plan.catalog is not None:
        policy = plan.catalog.policy

        def ask() -> None:
            with contextlib.closing(open_catalog(policy)) as catalog:
                catalog.list_namespaces()

        yield from _each("the iceberg catalog", ask)


def _bucket(storage: StoragePlan) -> Iterator[tuple[str, str | None]]:
    try:
        store = object_store(storage)
    except ConfigurationError as error:
        yield f"the bucket {storage.shown}", str(error)
        return
    assert store is not None, "files are in a directory or in a bucket"
    yield from _each(f"the bucket {storage.shown}", lambda: _upload(store))


def _each(name: str, act: Callable[[], None]) -> Iterator[tuple[str, str | None]]:
    try:
        act()
    except Exception as error:  # whatever clients of stores, brokers and catalogs raise
        yield name, _words(error)
    else:
        yield name, None


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def _write_to(directory: Path) -> None:
    """If the directory does not exist yet, the nearest existing parent is used."""
    fs = DurableFS()
    while directory != directory.parent and not os.path.lexists(directory):
        directory = directory.parent
    path = directory / f".{PROBE}{uuid.uuid4().hex}"
    file = fs.create(path)
    try:
        file.write([b"a probe of check-config; it may be removed"])
        file.datasync()
    finally:
        file.close()
        fs.unlink(path)


def _upload(store: ObjectStore) -> None:
    """The operations of publishing: create, inspect, read, list, remove."""
    content = b"a probe of check-config; it may be removed"
    path = f".{PROBE}{uuid.uuid4().hex}"
    store.create(path, content, zlib.crc32(content))
    try:
        facts = store.facts(path)
        if facts is None or store.read(path, 0, facts.size) != content:
            raise OSError("reading back returned different bytes")
        next(iter(store.names("")), None)
    finally:
        store.remove(path)


def _topic(plan: KafkaPlan) -> Iterator[tuple[str, str | None]]:
    name = f"the topic {plan.policy.topic} at {plan.policy.brokers}"
    try:
        topic = look_at(plan.policy)
    except (OSError, ValueError, KafkaMisconfigured) as error:
        yield name, f"{error}; parquet-sink kafka-topic creates it"
        return
    yield name, None
    for warning in topic.warnings:
        yield name, warning
