"""Which status each family is answered with, in each situation: what its clients act upon."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from app.run.application import create_app
from app.settings.planning import plan_of
from app.settings.settings import Settings
from tests.clients.bodies import FAMILIES, Family
from tests.support.service import KEYS, START_SECONDS_MAX, Service, running_service

CONFIG = {"server": {"max_body_size": "64KB"}}
UNKNOWN_KEY: Final = "0123456789abcdef" * 2

SITUATIONS: Final = (
    *("accepted", "partly", "all refused", "wrong key", "too large", "over share", "disk full", "starting"),
)
USUAL: Final = dict(zip(SITUATIONS, (200, 200, 400, 401, 413, 429, 503, 503), strict=True))
OTHERS: Final[dict[str, dict[str, int]]] = {
    # Some of its clients end their user's process at 400 and 413.
    "segment": {"all refused": 200, "too large": 200},
    "jitsu": {"all refused": 200, "too large": 200},
    "amplitude": {"wrong key": 400},
    "otlp": {"all refused": 200},
    "loki": {"accepted": 204, "partly": 204},
    # Its Python handler sends 503 again, and drops what is answered 429.
    "splunk": {"wrong key": 403, "over share": 503},
    "elasticsearch": {"all refused": 200},
}


def expected(family: Family, situation: str) -> int:
    return OTHERS.get(family.name, {}).get(situation, USUAL[situation])


def send(http: httpx.Client, family: Family, body: bytes, key: str = KEYS[1]) -> httpx.Response:
    return http.request(family.method, family.path, content=body, headers=family.head(key))


@pytest.fixture(params=FAMILIES, ids=lambda family: family.name)
def family(request: pytest.FixtureRequest) -> Family:
    found: Family = request.param
    return found


@pytest.fixture(scope="module")
def full_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A disk of which more must stay free than there is."""
    limits = {"journal": {"min_free_space": "900000TB", "resume_free_space": "900000TB"}}
    service = Service(tmp_path_factory.mktemp("full"), limits)
    with service:
        service.launch()
        service.wait_until(lambda: is_short_of_disk(service), START_SECONDS_MAX)
        yield service


def is_short_of_disk(service: Service) -> bool:
    """Whether it has started, and is not ready for that reason alone."""
    try:
        return "disk" in service.http.get("/ready").text
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service in which workspace 1 has more than its share of the journal."""
    limits: dict[str, dict[str, Any]] = {
        "server": {"workspace_share": 0.0001},
        "journal": {"segment_size": "1MB", "max_size": "10MB"},
        "sinks.parquet": {"flush_interval": "1h"},
    }
    with running_service(tmp_path_factory.mktemp("crowded"), limits) as service:
        rows = [{"message": f"line {number}"} for number in range(100)]
        service.post_json("logs", rows)
        one = json.dumps(rows[:1])
        service.wait_until(lambda: service.post("events", one).status_code == 429, 30)
        yield service


def test_accepted(service: Service, family: Family) -> None:
    response = send(service.http, family, family.body([1, 2], KEYS[1]))

    assert response.status_code == expected(family, "accepted"), response.text


def test_partly_refused(service: Service, family: Family, workspace: int) -> None:
    if family.bad is None:
        return
    key = KEYS[workspace]
    response = send(service.http, family, family.body([1, 2], key, bad=1), key)

    assert response.status_code == expected(family, "partly"), response.text
    service.flush()
    assert service.table(family.kind, workspace).num_rows == 2
    if family.name != "loki":
        assert "3" in response.text or family.name == "firehose", "the refused message is named"


def test_all_refused(service: Service, family: Family) -> None:
    if family.bad is None:
        return
    response = send(service.http, family, family.body([], KEYS[1], bad=2))

    assert response.status_code == expected(family, "all refused"), response.text
    assert response.text


@pytest.mark.parametrize("key", [UNKNOWN_KEY, "no key at all"])
def test_wrong_key(service: Service, family: Family, key: str) -> None:
    response = send(service.http, family, family.body([1], key), key)

    assert response.status_code == expected(family, "wrong key"), response.text


def test_too_large(service: Service, family: Family) -> None:
    response = send(service.http, family, family.body([1], KEYS[1], padding="x" * 70_000))

    assert response.status_code == expected(family, "too large"), response.text


def test_over_share(crowded: Service, family: Family) -> None:
    response = send(crowded.http, family, family.body([1], KEYS[1]))

    assert response.status_code == expected(family, "over share"), response.text
    assert int(response.headers["retry-after"]) >= 1


def test_disk_full(full_disk: Service, family: Family) -> None:
    response = send(full_disk.http, family, family.body([1], KEYS[1]))

    assert response.status_code == expected(family, "disk full"), response.text
    assert int(response.headers["retry-after"]) >= 1


def test_starting_and_stopping(tmp_path: Path, family: Family) -> None:
    """The application before its life begins takes nothing, as after its end."""
    keys = tmp_path / "keys.txt"
    keys.write_text(f"{KEYS[1]}:1\n")
    app = create_app(plan_of(Settings.model_validate({"auth": {"api_keys_file": str(keys)}})))

    async def sent() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sink") as http:
            return await http.request(
                family.method, family.path, content=family.body([1], KEYS[1]), headers=family.head(KEYS[1])
            )

    response = asyncio.run(sent())
    assert response.status_code == expected(family, "starting"), response.text
    assert int(response.headers["retry-after"]) >= 1


def test_errors_read_as_the_family_words_them(service: Service, family: Family) -> None:
    response = send(service.http, family, family.body([1], UNKNOWN_KEY), UNKNOWN_KEY)

    wanted = {
        "segment": {"code", "message"},
        "jitsu": {"code", "message"},
        "posthog": {"type", "code", "detail", "status"},
        "amplitude": {"code", "error"},
        "mixpanel": {"status", "error"},
        "otlp": {"error", "message"},  # the key is judged before the body is read: the native answer
        "vercel": {"error", "message"},
        "pino": {"error", "message"},
        "splunk": {"text", "code"},
        "elasticsearch": {"error", "status"},
        "firehose": {"requestId", "timestamp", "errorMessage"},
    }
    if family.name in wanted:
        assert set(json.loads(response.content)) >= wanted[family.name]
