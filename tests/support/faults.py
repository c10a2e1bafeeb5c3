"""What goes wrong with a call on a simulated disk, and when."""

from dataclasses import dataclass


class Crash(BaseException):
    """The process is gone. Not an Exception, so that no handler of the product survives it."""


@dataclass
class Fault:
    """What goes wrong at call number `at` of a mount, and with `forever` at every later one of its kind.

    kind: crash_before, crash_after, crash_within (a write, half done), short (a write), or an errno's name.
    A write that fails with ENOSPC has written a half before.
    """

    at: int
    kind: str
    forever: bool = False
    fired: int = 0

    def hits(self, step: int, operation: str) -> bool:
        if step != self.at and not (self.forever and step > self.at and self.kind in faults_of(operation)):
            return False
        self.fired += 1
        return True


_OPENS = ("EMFILE",)
_FAULTS = {
    "write": ("EIO", "ENOSPC", "short", "crash_within"),
    "create": ("EIO", "ENOSPC", *_OPENS),
    "clone": ("EIO", "ENOSPC", *_OPENS),
    "punch": ("EIO", "EOPNOTSUPP", *_OPENS),
    "mkdir": ("EIO", "ENOSPC"),
    "rename": ("EIO", "ENOSPC"),
    "open_append": ("EIO", *_OPENS),
    "read": ("EIO", *_OPENS),
    "list": ("EIO", *_OPENS),
    "sync_file": ("EIO", "ENOSPC", *_OPENS),
    "sync_directory": ("EIO", *_OPENS),
    "datasync": ("EIO", "ENOSPC"),
    "sync": ("EIO", "ENOSPC"),
}


def faults_of(operation: str) -> tuple[str, ...]:
    """The kinds of fault that a call of this name can meet."""
    return ("crash_before", "crash_after", *_FAULTS.get(operation, ("EIO",)))
