"""A data tree belongs to one journal: otherwise two services could write the same files, or rows could be
left behind.

The journal has an identity of its own, in its directory; the tree records which journal it belongs to, one
for each node id, in a place that engines do not read. It is locked while the service runs.
"""

import contextlib
import errno
import logging
import socket
import uuid
from pathlib import Path
from typing import Final, Protocol

import msgspec

from app.disk.durable_fs import DurableFS
from app.disk.file_lock import FileLock, LockHeld
from app.publish.paths import SinkPaths

log = logging.getLogger(__name__)

OWNER_NAME: Final = ".owner"
OWNER_ATTRIBUTE: Final = "user.parquet_sink.owner"
NO_ATTRIBUTES: Final = frozenset({errno.ENOTSUP, errno.EPERM, errno.ENOSPC, errno.E2BIG, errno.ENOSYS})
NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.EOPNOTSUPP})


class TreeRefused(Exception):
    """Continuing could lose or duplicate rows. The message says what to do."""


class TreeOwner(msgspec.Struct, frozen=True):
    """Which journal a tree belongs to. path, host: where that journal was last, for people."""

    journal: str
    path: str
    host: str


class JournalIdentity(msgspec.Struct, frozen=True):
    """The journal's own. tree: where its files are. adopted: journals whose files it has taken over;
    adopted_lsn: these have rows up to this LSN, so its own begin above."""

    journal: str
    tree: str
    adopted: tuple[str, ...] = ()
    adopted_lsn: int = 0

    @property
    def journals(self) -> frozenset[str]:
        return frozenset((self.journal, *self.adopted))


class Tree(Protocol):
    """Where files are, as far as its owner is concerned. Raises OSError."""

    @property
    def name(self) -> str:
        """A path or URL, for people, and to tell whether it is another one."""
        ...

    def read_owner(self, node: str | None) -> bytes | None: ...
    def write_owner(self, node: str | None, data: bytes, *, replaces: bool) -> bool:
        """False when there is one, unless it is to be replaced."""
        ...

    def lock_owner(self, node: str | None) -> FileLock | None:
        """Raises LockHeld."""
        ...


class LocalTree:
    """A directory. Its owner stands in an extended attribute of it; in a hidden file where the file system
    has no attributes, and where several nodes write, each of which has a lock of its own."""

    def __init__(self, fs: DurableFS, root: Path) -> None:
        self._fs = fs
        self._root = root

    @property
    def name(self) -> str:
        return str(self._root)

    def read_owner(self, node: str | None) -> bytes | None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return self._fs.read(self._root / owner_name(node))
        if node is None:
            with contextlib.suppress(OSError):
                return self._fs.attribute(self._root, OWNER_ATTRIBUTE)
        return None

    def write_owner(self, node: str | None, data: bytes, *, replaces: bool) -> bool:
        self._fs.make_directory(self._root)
        if node is None and not self._fs.exists(self._root / OWNER_NAME):
            try:
                self._fs.set_attribute(self._root, OWNER_ATTRIBUTE, data, replaces=replaces)
                return True
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in NO_ATTRIBUTES:
                    raise
        return self._write_file(self._root / owner_name(node), data, replaces)

    def _write_file(self, path: Path, data: bytes, replaces: bool) -> bool:
        if replaces:
            self._fs.write_atomically(path, data)
            return True
        try:
            file = self._fs.create(path)
        except FileExistsError:
            return False
        try:
            file.write([data])
            file.sync()
        finally:
            file.close()
        self._fs.sync_directory(self._root)
        return True

    def lock_owner(self, node: str | None) -> FileLock | None:
        path = self._root / owner_name(node)
        try:
            return self._fs.lock(path, None) if self._fs.exists(path) else self._fs.lock_directory(self._root)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            log.warning(
                "%s does not support locks: a second service on it is detected only by its journal",
                self._root,
            )
            return None


def owner_name(node: str | None) -> str:
    return OWNER_NAME if node is None else f"{OWNER_NAME}-{node}"


def take_tree(
    fs: DurableFS, paths: SinkPaths, tree: Tree, node: str | None
) -> tuple[JournalIdentity, FileLock | None]:
    """Make sure that this journal and this tree belong together; on the first start they do from then on.

    Raises TreeRefused; OSError.
    """
    known = read_identity(fs, paths)
    owner = _owner(tree, node)
    if owner is None:
        _refuse_left_behind(fs, known, tree, node)
        known = known or new_identity(fs, paths, tree)
        torn = tree.read_owner(node) is not None
        if not tree.write_owner(node, _owned_by(known, paths), replaces=torn):
            owner = _owner(tree, node)
    if owner is not None and (known is None or owner.journal != known.journal):
        raise TreeRefused(_owned_by_another(tree, owner, node))
    assert known is not None
    try:
        lock = tree.lock_owner(node)
    except LockHeld:
        raise TreeRefused(
            f"another running service writes to {tree.name}; stop it, or give this one a server.node_id or "
            "a sink path of its own"
        ) from None
    if known.tree != tree.name:
        known = msgspec.structs.replace(known, tree=tree.name)
        fs.write_atomically(paths.identity, msgspec.json.encode(known) + b"\n")
    return known, lock


def new_identity(fs: DurableFS, paths: SinkPaths, tree: Tree) -> JournalIdentity:
    """The journal gets a name that no other one has. Raises OSError."""
    identity = JournalIdentity(uuid.uuid4().hex, tree.name)
    fs.write_atomically(paths.identity, msgspec.json.encode(identity) + b"\n")
    return identity


def adopt_tree(
    fs: DurableFS, paths: SinkPaths, tree: Tree, node: str | None, last_lsn: int
) -> JournalIdentity:
    """Make this journal the owner, instead of the previous one. last_lsn: the highest LSN of a file in the
    tree.

    Raises TreeRefused when the owner runs; OSError.
    """
    data, before = tree.read_owner(node), tuple[str, ...]()
    if data is not None:
        with contextlib.suppress(msgspec.DecodeError):
            before = (msgspec.json.decode(data, type=TreeOwner).journal,)
        try:
            lock = tree.lock_owner(node)
        except LockHeld:
            raise TreeRefused(f"a running service writes to {tree.name}; stop it first") from None
        if lock is not None:
            lock.release()
    known = read_identity(fs, paths)
    adopted = tuple(dict.fromkeys((*(known.adopted if known else ()), *before)))
    identity = JournalIdentity(known.journal if known else uuid.uuid4().hex, tree.name, adopted, last_lsn)
    fs.write_atomically(paths.identity, msgspec.json.encode(identity) + b"\n")
    tree.write_owner(node, _owned_by(identity, paths), replaces=True)
    return identity


def read_identity(fs: DurableFS, paths: SinkPaths) -> JournalIdentity | None:
    """The journal's identity; None where it has none (yet)."""
    try:
        return msgspec.json.decode(fs.read(paths.identity), type=JournalIdentity)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _owner(tree: Tree, node: str | None) -> TreeOwner | None:
    """None where there is none, or none that can be read: a first start that was cut off has left that."""
    data = tree.read_owner(node)
    try:
        return msgspec.json.decode(data, type=TreeOwner) if data else None
    except msgspec.DecodeError:
        return None


def _owned_by(identity: JournalIdentity, paths: SinkPaths) -> bytes:
    return msgspec.json.encode(TreeOwner(identity.journal, str(paths.state), socket.gethostname())) + b"\n"


def _refuse_left_behind(fs: DurableFS, known: JournalIdentity | None, tree: Tree, node: str | None) -> None:
    """A tree without an owner is new, unless this journal has files elsewhere."""
    if known is None or known.tree == tree.name or "://" in known.tree:
        return
    before = LocalTree(fs, Path(known.tree))
    owner = _owner(before, node)
    if owner is not None and owner.journal == known.journal:
        raise TreeRefused(
            f"this journal's files are in {known.tree}, but the configuration says {tree.name}: move that "
            "directory there, including hidden files, or change the sink's path back; to start over in "
            f"{tree.name} and leave the old files where they are, run parquet-sink adopt"
        )


def _owned_by_another(tree: Tree, owner: TreeOwner, node: str | None) -> str:
    mine = "" if node is None else f" (node {node})"
    return (
        f"the files in {tree.name}{mine} belong to the journal in {owner.path} on {owner.host}, and this is "
        "a different journal. Set journal.path to that journal; or give this service a server.node_id or a "
        "sink path of its own; or, if that journal is lost, make this one the owner of the files: run "
        "parquet-sink adopt"
    )
