"""Reloads the configuration while the service runs: some keys take effect immediately, others at the next
start.

It reloads on SIGHUP, and within a second of a change of the file. A file that is unreadable or invalid
changes nothing.
"""

import logging
from collections.abc import Callable, Sequence

from app.errors import ConfigurationError
from app.run.watched_files import WatchedFiles
from app.settings.plan import Configuration, Plan

log = logging.getLogger(__name__)

Apply = Callable[[Plan], None]


class Reload:
    """apply: called with the new plan when any key has changed that takes effect without a restart.

    says: whether this process logs the changes; one of several does.
    """

    def __init__(self, configuration: Configuration, apply: Sequence[Apply], *, says: bool = True) -> None:
        self._configuration = configuration
        self._apply = apply
        self._says = says
        self._waiting: Sequence[str] = ()
        self._file = WatchedFiles([configuration.file()])

    def if_changed(self) -> None:
        """Must be called periodically. Blocks on the disk."""
        if self._file.changed():
            self.now()

    def now(self) -> None:
        try:
            reread = self._configuration.read_again()
        except ConfigurationError as error:
            if self._says:
                log.error(
                    "the configuration was not reloaded, the previous one stays in effect: %s",
                    "; ".join(error.messages),
                )
            return
        if reread.at_once:
            for apply in self._apply:
                apply(reread.plan)
        if not self._says:
            return
        if reread.at_once:
            log.info("the configuration was reloaded: %s", ", ".join(reread.at_once))
        said, self._waiting = self._waiting, reread.waiting
        if reread.waiting and reread.waiting != said:
            log.warning(
                "changed in the configuration, takes effect at the next start: %s",
                ", ".join(reread.waiting),
            )
