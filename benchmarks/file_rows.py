"""A day of events of many workspaces as web analytics has them, made by numpy and Arrow, hour by hour.

20 workspaces by Zipf, more traffic by day than by night, sessions of about eleven events within half an hour,
devices that come back, fifty event names by Zipf, a JSON payload of about 200 bytes. The same for one seed.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from app.kinds import Kind
from app.schema import SCHEMAS

DAY_START_MS: Final = 1_767_225_600_000
"""2026-01-01T00:00:00Z"""

HOURS: Final = 24
HOUR_MS: Final = 3_600_000
WORKSPACES: Final = 20
EVENTS_PER_SESSION: Final = 11
SESSIONS_PER_DEVICE: Final = 2
SESSION_SPREAD_MS: Final = 30 * 60_000
LATE_MS: Final = 4_000
"""How far the client's clock and the network spread `timestamp` before `batch_timestamp`."""

NAMES: Final = [
    "page_view", "button_click", "scroll", "search", "add_to_cart", "purchase", "signup", "login", "logout",
    "video_play", *(f"feature_{number}_used" for number in range(40)),
]  # fmt: skip
PAGES: Final = [f"/{part}/{number}" for part in ("product", "blog", "docs", "help") for number in range(250)]
COUNTRIES: Final = ["DE", "FR", "US", "JP", "BR", "IN", "GB", "ES", "IT", "PL"]
TYPES: Final = ["track", "identify", "group", "context"]


def hours(rows: int, seed: int = 1) -> Iterator[pa.RecordBatch]:
    """About `rows` events (columns as SCHEMAS) in 24 record batches, by time of receipt."""
    rng = np.random.default_rng(seed)
    weights = 1.2 + np.sin((np.arange(HOURS) - 8) / HOURS * 2 * np.pi)
    for hour, share in enumerate(weights / weights.sum()):
        yield _hour(
            rng, hour, round(rows * share), max(rows // (EVENTS_PER_SESSION * SESSIONS_PER_DEVICE), 1)
        )


def _hour(rng: np.random.Generator, hour: int, count: int, devices: int) -> pa.RecordBatch:
    sessions = max(count // EVENTS_PER_SESSION, 1)
    device_of = (
        np.minimum(rng.zipf(1.3, sessions) * rng.integers(1, devices, sessions), devices * 9) % devices
    )
    began = rng.integers(0, HOUR_MS - 1, sessions)
    session = rng.integers(0, sessions, count)
    offset = (began[session] + rng.exponential(SESSION_SPREAD_MS / 4, count).astype("i8")) % HOUR_MS
    order = np.argsort(offset, kind="stable")
    session, offset = session[order], offset[order]
    device = device_of[session]
    received = DAY_START_MS + hour * HOUR_MS + offset
    workspace = _workspace_of(device)
    columns = [
        received - rng.integers(50, LATE_MS, count),
        received,
        workspace,
        _chosen(rng, TYPES, count, 2.0),
        _chosen(rng, NAMES, count, 1.2),
        _ids(device, 1),
        _ids(session + hour * 10_000_000, 2),
        _addresses(device),
        _payloads(rng, count, device),
    ]
    return pa.record_batch(columns, schema=SCHEMAS[Kind.EVENTS])


def _workspace_of(device: np.ndarray) -> np.ndarray:
    """1 … 20; the first has about a quarter of the devices."""
    shares = 1 / np.arange(1, WORKSPACES + 1)
    edges = np.cumsum(shares / shares.sum())
    return np.searchsorted(edges, _mixed(device, 7) / 2.0**64).clip(0, WORKSPACES - 1).astype(
        "u8"
    ) + np.uint64(1)


def _mixed(numbers: np.ndarray, salt: int) -> np.ndarray:
    """splitmix64: what looks random and is the same for the same number."""
    z = numbers.astype("u8") + np.uint64(salt * 0x9E3779B97F4A7C15 % 2**64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _ids(numbers: np.ndarray, salt: int) -> pa.Array:
    halves = np.stack([_mixed(numbers, salt), _mixed(numbers, salt + 100)], axis=1)
    return _fixed(np.ascontiguousarray(halves).view("u1").reshape(-1, 16))


def device_id(number: int) -> bytes:
    """The id of the device with this number."""
    return bytes(_ids(np.array([number]), 1)[0].as_py())


def _addresses(device: np.ndarray) -> pa.Array:
    raw = np.zeros((len(device), 16), "u1")
    raw[:, 10:12] = 255
    raw[:, 12:] = _mixed(device, 5).view("u1").reshape(-1, 8)[:, :4]
    return _fixed(raw)


def _fixed(raw: np.ndarray) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(raw), [None, pa.py_buffer(raw.tobytes())])


def _chosen(rng: np.random.Generator, values: list[str], count: int, exponent: float) -> pa.Array:
    weights = np.arange(1, len(values) + 1) ** -exponent
    return pa.array(values).take(pa.array(rng.choice(len(values), count, p=weights / weights.sum())))


def _payloads(rng: np.random.Generator, count: int, device: np.ndarray) -> pa.Array:
    numbers = pa.array(rng.integers(0, 60_000, count)).cast(pa.string())
    ratio = pa.array(rng.integers(100_000, 1_000_000, count)).cast(pa.string())
    trace = pa.array(rng.integers(10**17, 10**18, count)).cast(pa.string())
    campaign = pa.array(rng.integers(0, 10_000, count)).cast(pa.string())
    parts: list[object] = [
        '{"page":"', _chosen(rng, PAGES, count, 0.9),
        '","referrer":"https://www.example.com/campaign/', campaign,
        '","country":"', pa.array(COUNTRIES).take(pa.array(device % len(COUNTRIES))),
        '","duration_ms":', numbers, ',"ratio":0.', ratio, ',"logged_in":',
        pa.array(["true", "false"]).take(pa.array(device % 2)),
        ',"trace":"', trace, '","tags":["mobile","new"],"version":"2026.1.7"}',
    ]  # fmt: skip
    return pc.binary_join_element_wise(*parts, "").cast(pa.binary())
