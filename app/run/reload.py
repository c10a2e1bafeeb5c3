"""Reloads the configuration while the service runs: some keys take effect immediately, others at the next
start.

It reloads on SIGHUP, and within a second of a change of the file. A file that is unreadable or invalid
changes nothing.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec
from pydantic import BaseModel

from app.run.watched_files import WatchedFiles
from app.settings.settings import ConfigurationError, Settings, load
from app.settings.sources import file_in_use

RELOADED: Final = ("quota", "log.level", "log.levels")
"""Keys, with everything below them, that take effect without a restart."""

_ABSENT: Final = object()

log = logging.getLogger(__name__)

Apply = Callable[[Settings], None]


class Source(msgspec.Struct, frozen=True):
    """The source of the settings. config: the named file. flags: in the form of `load`."""

    config: Path | None = None
    flags: Mapping[str, str] = MappingProxyType({})

    def load(self) -> Settings:
        """Raises ConfigurationError."""
        return load(self.config, os.environ, self.flags)

    def file(self) -> Path | None:
        return file_in_use(self.config, os.environ)


class Reload:
    """settings: the current ones. apply: called with the new ones when any key in RELOADED has changed.

    says: whether this process logs the changes; one of several does.
    """

    def __init__(
        self, source: Source, settings: Settings, apply: Sequence[Apply], *, says: bool = True
    ) -> None:
        self._source = source
        self._settings = settings
        self._apply = apply
        self._says = says
        self._waiting: list[str] = []
        self._file = WatchedFiles([source.file()])

    def if_changed(self) -> None:
        """Must be called periodically. Blocks on the disk."""
        if self._file.changed():
            self.now()

    def now(self) -> None:
        try:
            new = self._source.load()
        except ConfigurationError as error:
            if self._says:
                log.error(
                    "the configuration was not reloaded, the previous one stays in effect: %s",
                    "; ".join(error.messages),
                )
            return
        changed = list(differences(self._settings, new))
        reloaded = [key for key in changed if is_reloaded(key)]
        if reloaded:
            for apply in self._apply:
                apply(new)
            self._settings = self._settings.model_copy(update={"quota": new.quota, "log": _log(self, new)})
        if not self._says:
            return
        if reloaded:
            log.info("the configuration was reloaded: %s", ", ".join(sorted({_top(key) for key in reloaded})))
        waiting = sorted(key for key in changed if not is_reloaded(key))
        said, self._waiting = self._waiting, waiting
        if waiting and waiting != said:
            log.warning(
                "changed in the configuration, takes effect at the next start: %s", ", ".join(waiting)
            )

    @property
    def settings(self) -> Settings:
        return self._settings


def is_reloaded(key: str) -> bool:
    return any(key == each or key.startswith((f"{each}.", f"{each}[")) for each in RELOADED)


def differences(one: BaseModel, other: BaseModel, prefix: str = "") -> Iterator[str]:
    """Dotted keys whose values differ."""
    for name in type(one).model_fields:
        yield from _different(getattr(one, name), getattr(other, name), prefix + name)


def _different(one: object, other: object, key: str) -> Iterator[str]:
    if isinstance(one, BaseModel) and type(one) is type(other):
        assert isinstance(other, BaseModel)
        yield from differences(one, other, f"{key}.")
    elif isinstance(one, dict) and isinstance(other, dict):
        for name in sorted({*one, *other}):
            yield from _different(one.get(name, _ABSENT), other.get(name, _ABSENT), f"{key}.{name}")
    elif one != other:
        yield key


def _log(reload: Reload, new: Settings) -> BaseModel:
    """The levels of the new settings; the format stays what it is."""
    return new.log.model_copy(update={"format": reload.settings.log.format})


def _top(key: str) -> str:
    return next(each for each in RELOADED if key == each or key.startswith(f"{each}."))
