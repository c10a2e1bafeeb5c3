"""The current configuration, and reading it again: what takes effect at once, and what at the next start."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec
from pydantic import BaseModel

from app.settings.plan import Plan, Reread
from app.settings.planning import plan_of
from app.settings.settings import Settings, load
from app.settings.sources import file_in_use

RELOADED: Final = ("quota", "log.level", "log.levels")
"""Keys, with everything below them, that take effect without a restart."""

_ABSENT: Final = object()


class ReadConfiguration:
    """The `Configuration` of the running service. config: the named file. flags: in the form of `load`.

    Raises ConfigurationError.
    """

    def __init__(self, config: Path | None = None, flags: Mapping[str, str] = MappingProxyType({})) -> None:
        self._config = config
        self._flags = dict(flags)
        self._settings = self._load()
        self._plan = plan_of(self._settings)

    @property
    def plan(self) -> Plan:
        return self._plan

    def file(self) -> Path | None:
        return file_in_use(self._config, os.environ)

    def read_again(self) -> Reread:
        """Raises ConfigurationError. Blocks on the disk."""
        written = self._load()
        plan = plan_of(written)
        changed = list(differences(self._settings, written))
        at_once = sorted({_reloaded(key) for key in changed if is_reloaded(key)})
        if at_once:
            # The plan first: a process that is given this meanwhile then applies the changes once more.
            self._plan = _plan_with_reloaded(self._plan, plan)
            self._settings = _with_reloaded(self._settings, written)
        return Reread(plan, at_once, sorted(key for key in changed if not is_reloaded(key)))

    def _load(self) -> Settings:
        return load(self._config, os.environ, self._flags)


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


def _reloaded(key: str) -> str:
    """The key in RELOADED that it equals or is below."""
    return next(each for each in RELOADED if key == each or key.startswith((f"{each}.", f"{each}[")))


def _with_reloaded(settings: Settings, written: Settings) -> Settings:
    """The settings with the changes that take effect at once. The format of the log stays unchanged."""
    log = written.log.model_copy(update={"format": settings.log.format})
    return settings.model_copy(update={"quota": written.quota, "log": log})


def _plan_with_reloaded(plan: Plan, written: Plan) -> Plan:
    """The same for plans."""
    replace = msgspec.structs.replace
    return replace(
        plan,
        log=replace(plan.log, level=written.log.level, levels=written.log.levels),
        policies=replace(plan.policies, quotas=written.policies.quotas),
    )
