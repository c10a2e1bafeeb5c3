"""`[[ingest.map]]`: which key of custom JSON becomes which column."""

import re
from typing import Final, Self

from pydantic import Field, model_validator

from app.clients.json_map import KEY_OF, JsonMap
from app.kinds import Kind
from app.settings.fields import Section

_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_SERVED: Final = ("/files", "/flush", "/status", "/health", "/ready", "/metrics", "/docs", "/openapi.json")


class MapSettings(Section):
    """`[[ingest.map]]`: JSON posted to `path` becomes rows; keys that are not mapped go into the payload."""

    path: str = Field(
        description="path that the JSON is posted to, for example /in/nginx; or a native path, together "
        "with `has`"
    )
    kind: Kind = Field(default=Kind.LOGS, description="what the rows become: logs, events or snapshots")
    has: str | None = Field(
        default=None,
        min_length=1,
        description="a key that distinguishes these bodies from others on the same path",
    )
    time: str | None = Field(
        default=None, min_length=1, description="key of the timestamp, such as `ts` or `meta.at`"
    )
    level: str | None = Field(default=None, min_length=1, description="logs: key of the level")
    message: str | None = Field(default=None, min_length=1, description="logs: key of the message")
    source: str | None = Field(default=None, min_length=1, description="logs, snapshots: key of the source")
    service: str | None = Field(default=None, min_length=1, description="logs: key of the service")
    session: str | None = Field(default=None, min_length=1, description="logs, events: key of the session id")
    event: str | None = Field(default=None, min_length=1, description="events: key of the event's name")
    device: str | None = Field(default=None, min_length=1, description="events: key of the device id")
    user: str | None = Field(default=None, min_length=1, description="events: key of the user id")
    type: str | None = Field(default=None, min_length=1, description="events: key of the event's type")
    entity: str | None = Field(default=None, min_length=1, description="snapshots: key of the entity")
    set: dict[str, str] = Field(
        default={}, max_length=20, description="default values for rows that lack a key, by the same names"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        # Not above: commands that read settings alone do without the decoders.
        from app.clients.table import NATIVE, Table

        known = KEY_OF[self.kind]
        for name in (*self._keys(), *self.set):
            if name not in known:
                raise ValueError(f"{self.kind.value} have no {name}; choose from: {', '.join(known)}")
        if not _PATH.fullmatch(self.path):
            raise ValueError(f'path is "{self.path}"; write it like /in/nginx')
        if self.path in NATIVE - {"/v1/ingest"} and self.has:
            return self
        if self.path in NATIVE or Table().serves(self.path) or self.path.startswith(_SERVED):
            raise ValueError(f"{self.path} is taken; use another path, or a native JSON path with `has`")
        return self

    def _keys(self) -> dict[str, str]:
        found = {name: getattr(self, name) for names in KEY_OF.values() for name in names}
        return {name: key for name, key in found.items() if key is not None}

    @property
    def mapping(self) -> JsonMap:
        return JsonMap(self.path, self.kind, self._keys(), self.set, self.has or "")
