"""Makes a journal the owner of another one's files, on an operator's explicit order: `parquet-sink adopt`."""

from app.disk.data_directory_lock import lock_data_directory
from app.disk.durable_fs import DurableFS
from app.object_store.store import ObjectStore
from app.publish.bucket import Bucket, BucketTree
from app.publish.destination import Destination
from app.publish.local_directory import local_destination
from app.publish.ownership import JournalIdentity, LocalTree, adopt_tree
from app.publish.paths import SinkPaths


def adopt(fs: DurableFS, paths: SinkPaths, store: ObjectStore | None, node: str | None) -> JournalIdentity:
    """Raises DataDirectoryInUse; TreeRefused; OSError."""
    lock = lock_data_directory(fs, paths.state)
    try:
        if store is not None:
            return adopt_tree(fs, paths, BucketTree(store), node, _last_lsn(Bucket(fs, store)))
        assert paths.data is not None
        destination = local_destination(fs, paths)
        destination.prepare()
        return adopt_tree(fs, paths, LocalTree(fs, paths.data), node, _last_lsn(destination))
    finally:
        lock.release()


def _last_lsn(destination: Destination) -> int:
    """The highest LSN with rows in the files there: this journal's own LSNs begin above."""
    listing = destination.listing(thorough=True)
    found = [destination.facts(path) for path in listing.files] if listing is not None else []
    return max((facts.last_lsn for facts in found if facts is not None), default=0)
