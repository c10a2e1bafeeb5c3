"""A real Prometheus takes what /metrics answers, and every query of the dashboard and the alerts is one."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support.payloads import ROW_OF, event
from tests.support.service import ADMIN_TOKEN, Service, free_port
from tests.test_operations import MONITORING, base_names, rules

CONFIG = {
    "sinks.parquet": {"flush_interval": "3600s", "metrics_workspaces": 3},
    "quota": [{"workspace": 1_002, "rows_per_second": 0.01, "burst": 1}],
}
BACKENDS = ["directory", "workers"]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text("utf-8"))
SECONDS = 60.0


def queries() -> list[str]:
    """Of all panels, with the variables filled in as Grafana does."""
    return [
        target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    ]


@pytest.fixture(scope="module")
def busy(service: Service) -> Service:
    """A service of which there is something to say in every metric."""
    for kind in ROW_OF:
        for workspace in (1, 2, 3, 1_000, 1_001):
            service.post_json(kind, [ROW_OF[kind](number) for number in range(3)], workspace=workspace)
    service.post("events", json.dumps([event(1), {"type": "x"}, event(2, device_id="no uuid")]))
    service.post("ingest", b"\xff" * 64)
    one = json.dumps([event(1), event(2)])
    service.wait_until(lambda: service.post("events", one, workspace=1_002).status_code == 429, SECONDS)
    service.flush()
    return service


def exposed(service: Service) -> str:
    response = service.admin("GET", "/metrics")
    assert response.status_code == 200
    return response.text


def test_prometheus_own_parser_reads_it(busy: Service) -> None:
    families = {family.name: family for family in text_string_to_metric_families(exposed(busy))}

    assert len(families) > 40
    assert all(family.documentation.strip() for family in families.values())
    assert {name for name in families if name.endswith("_created")} == {"parquet_sink_files_created"}
    assert "_created{" not in exposed(busy)


def test_series_by_workspace_are_bounded(busy: Service) -> None:
    labels = set(
        re.findall(r'parquet_sink_workspace_rows_accepted_total\{workspace="(\w+)"\}', exposed(busy))
    )

    assert len(labels) == 4
    assert "other" in labels
    rows = sum(
        value
        for name, value in busy.metrics().items()
        if name.startswith("parquet_sink_workspace_rows_accepted_total")
    )
    assert rows == sum(
        value for name, value in busy.metrics().items() if name.startswith("parquet_sink_rows_accepted_total")
    )


def test_levels_stand_beside_their_limits(busy: Service) -> None:
    samples = busy.metrics()

    for level in ("journal", "buffered", "inflight"):
        assert 0 <= samples[f"parquet_sink_{level}_bytes"] < samples[f"parquet_sink_{level}_limit_bytes"]
    assert samples["parquet_sink_free_bytes"] > samples["parquet_sink_free_limit_bytes"] > 0
    assert samples["parquet_sink_ready"] == 1
    assert any(name.startswith("parquet_sink_build_info{") and value == 1 for name, value in samples.items())
    assert any(
        name.startswith("http_request_duration_seconds_bucket") and 'le="0.005"' in name for name in samples
    )


@pytest.mark.parametrize("backend", ["directory"], scope="module")
def test_the_dashboard_names_metrics_that_there_are(busy: Service) -> None:
    names = {re.sub(r"_(bucket|sum|count)$", "", name.partition("{")[0]) for name in busy.metrics()}

    assert len(queries()) > 30
    assert {name for query in queries() for name in base_names(query)} - names == set()


class Prometheus:
    """A running one that scrapes a service."""

    def __init__(self, service: Service, directory: Path) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        config = directory / "prometheus.yml"
        shutil.copy(MONITORING / "rules.yaml", directory)
        config.write_text(
            yaml.safe_dump(
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": ["rules.yaml"],
                    "scrape_configs": [
                        {
                            "job_name": "parquet-sink",
                            "authorization": {"credentials": ADMIN_TOKEN},
                            "static_configs": [{"targets": [f"127.0.0.1:{service.port}"]}],
                        }
                    ],
                }
            )
        )
        self.log = directory / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *("prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}"),
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                ],
                stdout=log,
                stderr=log,
            )

    def get(self, path: str, **params: str) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=params, timeout=30).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def result(self, query: str) -> list[Any]:
        return list(self.get("query", query=query)["result"])

    def wait_for(self, query: str) -> None:
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                if self.result(query):
                    return
            except (httpx.TransportError, ValueError):  # it starts
                pass
            assert time.monotonic() < deadline, self.log.read_text()
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)


@pytest.fixture(scope="module")
def prometheus(busy: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    assert shutil.which("prometheus"), "this test needs Debian's package prometheus"
    running = Prometheus(busy, tmp_path_factory.mktemp("prometheus"))
    try:
        running.wait_for('count_over_time(up{job="parquet-sink"}[1m]) > 2')
        yield running
    finally:
        running.process.terminate()
        running.process.wait(30)


@pytest.mark.heavy
@pytest.mark.parametrize("backend", ["directory"], scope="module")
def test_every_query_of_the_dashboard_has_an_answer(prometheus: Prometheus) -> None:
    assert [query for query in queries() if not prometheus.result(query)] == []


@pytest.mark.heavy
@pytest.mark.parametrize("backend", ["directory"], scope="module")
def test_alerts_load_and_none_fires_for_a_service_that_is_well(prometheus: Prometheus) -> None:
    (group,) = prometheus.get("rules")["groups"]

    assert [rule["name"] for rule in group["rules"]] == [rule["alert"] for rule in rules()]
    assert {rule["health"] for rule in group["rules"]} <= {"ok", "unknown"}
    assert {alert["labels"]["alertname"] for alert in prometheus.get("alerts")["alerts"]} <= {
        "ParquetSinkDiskFills"  # the machine of the test may be full
    }


@pytest.mark.heavy
@pytest.mark.parametrize("backend", ["directory"], scope="module")
def test_promtool_finds_nothing_to_say(busy: Service) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=exposed(busy), capture_output=True, text=True, check=False
    )
    # The names of prometheus-fastapi-instrumentator and of Prometheus's own client are theirs.
    own = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("parquet_sink_")]

    assert own == []


@pytest.mark.heavy
def test_each_alert_fires_and_is_silent_as_its_cases_say() -> None:
    cases = sorted(str(path) for path in (MONITORING / "tests").glob("*.yaml"))
    subprocess.run(["promtool", "check", "rules", str(MONITORING / "rules.yaml")], check=True)
    done = subprocess.run(["promtool", "test", "rules", *cases], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("SUCCESS") == len(cases) > 15
