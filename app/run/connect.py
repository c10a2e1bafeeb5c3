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
from app.kafka.client import KafkaMisconfigured
from app.kafka.topic import look_at
from app.object_store.store import ObjectStore
from app.run.compose import object_store, sink_paths
from app.settings.settings import Settings
from app.settings.sources import ConfigurationError

PROBE: Final = "parquet-sink-probe-"


def tried(settings: Settings) -> Iterator[tuple[str, str | None]]:
    """Each thing tried, with the reason why it does not work, or None if it does. Leaves nothing behind."""
    yield from _each("the journal's directory", lambda: _write_to(sink_paths(settings).state))
    store: ObjectStore | None = None
    if settings.sink.url is not None:
        try:
            store = object_store(settings)
        except ConfigurationError as error:
            yield f"the bucket {settings.sink.path}", str(error)
        if store is not None:
            found = store
            yield from _each(f"the bucket {settings.sink.path}", lambda: _upload(found))
    elif settings.sink.directory is not None:
        directory = settings.sink.directory
        yield from _each(f"the directory {directory}", lambda: _write_to(directory))
    if settings.journal.type == "kafka":
        yield from _topic(settings)
    if settings.catalog.enabled:
        place = settings.sink.directory if store is None else store.policy
        if place is not None:
            policy = settings.catalog.policy(place, settings.server.node_id)

            def ask() -> None:
                with contextlib.closing(open_catalog(policy)) as catalog:
                    catalog.list_namespaces()

            yield from _each(f"the {settings.catalog.type} catalog", ask)


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


def _topic(settings: Settings) -> Iterator[tuple[str, str | None]]:
    name = f"the topic {settings.journal.topic} at {settings.journal.brokers}"
    try:
        topic = look_at(settings.journal.kafka_policy(settings.server.max_inflight_size))
    except (OSError, ValueError, KafkaMisconfigured) as error:
        yield name, f"{error}; parquet-sink kafka-topic creates it"
        return
    yield name, None
    for warning in topic.warnings:
        yield name, warning
