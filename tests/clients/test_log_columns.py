"""What fills the columns of logs that agents send. They set several keys that could, so the order counts."""

import json
import time

import pytest

from tests.support.service import KEYS, Service

ROWS = {
    "Docker's driver": ({"source": "stdout", "host": "h1", "container_name": "c"}, "h1", None, "info"),
    "two hosts": ({"hostname": "h1", "host": "h2", "instance": "h3:9100"}, "h2", None, "info"),
    "Promtail in Kubernetes": (
        {"job": "shop/cart", "app": "cart", "instance": "cart-0"}, "cart-0", "shop/cart", "info",
    ),
    "Alloy": ({"service_name": "cart", "job": "j", "detected_level": "warn"}, None, "cart", "warning"),
    "names of other loggers": (
        {"_HOSTNAME": "h1", "SYSLOG_IDENTIFIER": "sshd", "PRIORITY": "3"}, "h1", "sshd", "error",
    ),
    "no other source": ({"source": "stdout", "application": "cart"}, "stdout", "cart", "info"),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_labels_fill_columns_and_stay_labels(service: Service, workspace: int, name: str) -> None:
    labels, source, its_service, level = ROWS[name]
    body = {"streams": [{"stream": labels, "values": [[str(time.time_ns()), "line"]]}]}
    answer = service.http.post("/loki/api/v1/push", json=body, auth=(KEYS[workspace], ""))
    assert answer.status_code == 204, answer.text
    service.flush()
    (row,) = service.table(workspace=workspace, kind="logs").to_pylist()
    assert (row["source"], row["service"], row["level"]) == (source, its_service, level)
    assert json.loads(row["payload"]) == {"message": "line", "labels": labels}


@pytest.mark.parametrize("path", ["/_bulk", "/services/collector/event"])
def test_a_duration_is_no_time(service: Service, workspace: int, path: str) -> None:
    record = b'{"message":"GET /","time":0.003}'
    body = b'{"create":{}}\n' + record + b"\n" if path == "/_bulk" else b'{"event":' + record + b"}"
    answer = service.http.post(path, content=body, auth=(KEYS[workspace], ""))
    assert answer.status_code == 200, answer.text
    service.flush()
    (row,) = service.table(workspace=workspace, kind="logs").to_pylist()
    assert row["timestamp"] == row["batch_timestamp"]
    assert json.loads(row["payload"])["time"] == 0.003
