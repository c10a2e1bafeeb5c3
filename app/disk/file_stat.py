"""What the file system says about a file, and about itself."""

import msgspec


class FileStat(msgspec.Struct, frozen=True):
    """size: bytes. modified_ns: ns since the epoch. device: the file system it is on."""

    size: int
    modified_ns: int
    device: int
    is_directory: bool


class Space(msgspec.Struct, frozen=True):
    """What an unprivileged process may still use of a file system. Inodes: 0 of 0 where it has no limit."""

    free_bytes: int
    total_bytes: int
    free_inodes: int
    total_inodes: int
