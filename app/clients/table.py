"""Every call of every family, by path, method, content type and first bytes: routes, OpenAPI and
docs/clients.md are generated from this. A new family needs a module, captures and a line here."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from app.clients import (
    amplitude,
    drains,
    elasticsearch,
    firehose,
    loki,
    mixpanel,
    otlp,
    posthog,
    segment,
    splunk,
)
from app.clients.call import Call, FixedCall

CALLS: Final[tuple[Call, ...]] = (
    *segment.CALLS,
    *otlp.CALLS,
    *loki.CALLS,
    *splunk.CALLS,
    *elasticsearch.CALLS,
    *amplitude.CALLS,  # before PostHog's, which take what else comes to the paths that both have
    *posthog.CALLS,
    *mixpanel.CALLS,
    *firehose.CALLS,
    *drains.CALLS,
)
FIXED: Final[tuple[FixedCall, ...]] = (
    *segment.FIXED,
    *loki.FIXED,
    *splunk.FIXED,
    *elasticsearch.FIXED,
    *posthog.FIXED,
    *drains.FIXED,
)


NATIVE: Final = frozenset({"/v1/ingest", "/v1/events", "/v1/logs", "/v1/snapshots"})
"""Paths of the native calls, which take every body that no other family accepts."""


class Path(msgspec.Struct, frozen=True):
    """All calls served at one path, in order of precedence. shared: with a native call."""

    path: str
    calls: tuple[Call, ...]
    fixed: tuple[FixedCall, ...]

    @property
    def shared(self) -> bool:
        return self.path in NATIVE

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, each with HEAD, since agents probe with it."""
        named = [method for call in self.calls for method in call.methods]
        named += [method for each in self.fixed for method in each.methods]
        return tuple(dict.fromkeys([*named, "HEAD"]))

    def call_of(self, method: str, content_type: str, body: bytes) -> Call | None:
        """The call for such a body: the last one of a path takes bodies that no other accepts, unless the
        path is also a native one."""
        last = None
        for call in self.calls:
            if method in call.methods:
                if call.accepts is None or call.accepts(content_type, body):
                    return call
                last = call
        return None if self.shared else last

    def fixed_of(self, method: str) -> FixedCall | None:
        return next((each for each in self.fixed if method in each.methods), None)


class Table:
    """Finds the calls that are served at a path."""

    def __init__(self, calls: Sequence[Call] = CALLS, fixed: Sequence[FixedCall] = FIXED) -> None:
        paths = dict.fromkeys([*(call.path for call in calls), *(each.path for each in fixed)])
        # Paths without a {name} first: what is said in full goes before what may be anything.
        self.paths: Final = tuple(
            Path(
                path,
                tuple(call for call in calls if call.path == path),
                tuple(each for each in fixed if each.path == path),
            )
            for path in sorted(paths, key=lambda path: "{" in path)
        )
        self._exact = {path.path: path for path in self.paths if "{" not in path.path}
        self._patterns = [(_pattern(path.path), path) for path in self.paths if "{" in path.path]

    def serves(self, path: str) -> bool:
        """Whether something is served at a path."""
        return path in self._exact or any(pattern.fullmatch(path) for pattern, _ in self._patterns)

    def __contains__(self, path: object) -> bool:
        """Whether a path takes calls of this table or native ones."""
        return isinstance(path, str) and (path in NATIVE or self.serves(path))

    def at(self, path: str) -> Path | None:
        """The calls served at exactly this path."""
        return self._exact.get(path)

    def __iter__(self) -> Iterator[Path]:
        return iter(self.paths)


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile("[^/]+".join(map(re.escape, re.split(r"\{\w+\}", path))))
