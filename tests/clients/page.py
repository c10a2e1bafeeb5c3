"""Writes docs/clients.md from the routing table: `make clients-page`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from app.clients.call import Family
from app.clients.table import CALLS, Table

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "clients.md"

HEAD: Final = """# Clients of other services

Point a client at this service and give it an API key: it works unmodified. What it sends is durable before
it is answered, and goes into the same Parquet files as rows sent by the native calls. In the examples KEY is
an API key (32 hex characters) and sink.example.com is the service. This page is generated from the routing
table (`make clients-page`).

- **Key**: each protocol has its own place for it, named below. `Authorization: Bearer`, `X-API-Key`, the user
  name of HTTP Basic and `?token=` work for all of them.
- **Refused messages**: a message that cannot be stored is refused by itself, and identified by its number in
  the answer if the protocol has a place for that. NaN and infinities become null, half a surrogate pair
  becomes U+FFFD.
- **Retries**: if a client gives its messages ids, each is stored once, however batches are put together
  (`journal.deduplication_messages`, `docs/durability.md`).
- **Clocks**: if a client says when it sent a batch, its times are corrected by the difference to the time of
  receipt, unless it says that it sent them before they happened, or more than a year after.
- **Compression**: gzip, zstd, deflate, br and snappy; gzip and zstd are recognised by their bytes, whatever
  the headers say.

| client | paths | key | stored once by |
|---|---|---|---|
"""

NATIVE: Final = """
## Agents that send custom JSON

Fluent Bit `http`, Vector `http`, syslog-ng `http`, rsyslog `omhttp`, winston and pino send JSON arrays or
lines to `/v1/logs` and `/v1/events` unchanged. With `?status=200` success is answered 200 and never 202 or
207, which some of them treat as an error; `HEAD` is answered 200.

```
[OUTPUT]
    name   http
    host   sink.example.com
    uri    /v1/logs?status=200&token=KEY
    format json_lines
```

tell-js sends no ids. A batch that it sends again within `ingest.repeat_window` is recognised by its bytes and
stored once.
"""


def families() -> list[Family]:
    return list(dict.fromkeys(call.family for call in CALLS))


def page() -> str:
    return HEAD + "\n".join(_row(family) for family in families()) + "\n" + "".join(_sections()) + NATIVE


def _row(family: Family) -> str:
    paths = [path.path for path in Table() if any(call.family is family for call in path.calls)]
    listed = " ".join(f"`{path}`" for path in paths)
    return f"| {family.title} | {listed} | {family.guide.key} | {family.guide.deduplication} |"


def _sections() -> Iterator[str]:
    for family in families():
        guide = family.guide
        yield f"\n## {family.title}\n\nTested with: {guide.clients}.\n\n```\n{guide.example}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
