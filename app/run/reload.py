"""The configuration, read again while the service runs: what counts at once, and what from the next start.

On SIGHUP, and within a second of a change of the file. What cannot be read, or is wrong, changes nothing.
"""

import logging
from collections.abc import Callable, Sequence

from app.errors import ConfigurationError
from app.run.watched_files import WatchedFiles
from app.settings.plan import Configuration, Plan

log = logging.getLogger(__name__)

Apply = Callable[[Plan], None]


class Reload:
    """apply: called with all that is written now when something of it has changed that counts at once.

    says: whether this process tells what changed; one of several does.
    """

    def __init__(self, configuration: Configuration, apply: Sequence[Apply], *, says: bool = True) -> None:
        self._configuration = configuration
        self._apply = apply
        self._says = says
        self._waiting: Sequence[str] = ()
        self._file = WatchedFiles([configuration.file()])

    def if_changed(self) -> None:
        """To be called now and then. Blocks on the disk."""
        if self._file.changed():
            self.now()

    def now(self) -> None:
        try:
            reread = self._configuration.read_again()
        except ConfigurationError as error:
            if self._says:
                log.error(
                    "the configuration is not reloaded, what was read before stays in force: %s",
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
                "changed in the configuration, and in force from the next start: %s",
                ", ".join(reread.waiting),
            )
