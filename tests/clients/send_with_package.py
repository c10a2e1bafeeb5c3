"""Sends records with a real client package: run by .venv-clients, which has them.

    python -m tests.clients.send_with_package PACKAGE BASE_URL KEY COUNT

Record i is the event or line `record i`, with odd characters, null and nesting where the package has
properties; after them comes, where a package can say such a thing, an event without a name, to be refused.
"""

import logging
import sys
import threading
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

ODD: Final[dict[str, Any]] = {
    "text": 'Zürich ✓ 🎉 "q" \\ \n שלום',
    "none": None,
    "deep": {"a": [1, {"b": None}]},
    "nan": float("nan"),
}


def segment(url: str, key: str, count: int) -> None:
    import segment.analytics as analytics

    client = analytics.Client(key, host=url, max_retries=20, upload_interval=0.1, upload_size=50)
    for number in range(count):
        client.track(f"user-{number}", f"record {number}", {**ODD, "number": number})
    client.track("user-x", "")
    client.shutdown()


def rudder(url: str, key: str, count: int) -> None:
    import rudderstack.analytics as analytics

    client = analytics.Client(key, host=url, max_retries=20, upload_interval=0.1, upload_size=50)
    for number in range(count):
        client.track(f"user-{number}", f"record {number}", {**ODD, "number": number})
    client.track("user-x", "")
    client.shutdown()


def posthog(url: str, key: str, count: int) -> None:
    from posthog import Posthog

    client = Posthog(key, host=url, flush_at=50, max_retries=8)
    for number in range(count):
        client.capture(f"record {number}", distinct_id=f"user-{number}", properties={**ODD, "number": number})
    client.capture("", distinct_id="user-x")
    client.shutdown()


def opentelemetry(url: str, key: str, count: int) -> None:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.resources import Resource

    provider = LoggerProvider(Resource.create({"service.name": "checkout", "host.name": "web-1"}))
    exporter = OTLPLogExporter(f"{url}/v1/logs", headers={"authorization": f"Bearer {key}"})
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter, max_export_batch_size=50))
    logger = _logger(LoggingHandler(logger_provider=provider))
    for number in range(count):
        logger.warning("record %d", number, extra={"text": ODD["text"]})
    provider.shutdown()


def elasticsearch(url: str, key: str, count: int) -> None:
    from elasticsearch import Elasticsearch, helpers

    client = Elasticsearch(url, basic_auth=(key, "any"), max_retries=5, retry_on_status=(502, 503, 504))
    documents: list[dict[str, Any]] = [
        {"_index": "app", "_id": str(number), "message": f"record {number}", **ODD} for number in range(count)
    ]
    documents.append({"_op_type": "delete", "_index": "app", "_id": "0"})
    stored, errors = helpers.bulk(client, documents, chunk_size=50, raise_on_error=False)
    assert (stored, len(errors)) == (count, 1), errors  # type: ignore[arg-type]  # a list, with that option


def loki(url: str, key: str, count: int) -> None:
    import logging_loki

    handler = logging_loki.LokiHandler(
        f"{url}/loki/api/v1/push", tags={"service": "checkout"}, auth=(key, ""), version="1"
    )
    logger = _logger(handler)
    for number in range(count):
        logger.warning("record %d", number, extra={"tags": {"odd": ODD["text"]}})


def splunk(url: str, key: str, count: int) -> None:
    from splunk_handler import SplunkHandler

    parts = urlsplit(url)
    handler = SplunkHandler(
        host=parts.hostname,
        port=parts.port,
        protocol="http",
        token=key,
        index="main",
        hostname="web-1",
        flush_interval=0.2,
        retry_count=10,
        retry_backoff=0.5,
    )
    logger = _logger(handler)
    for number in range(count):
        logger.warning("record %d", number)
    logging.shutdown()


def amplitude(url: str, key: str, count: int) -> None:
    from amplitude import Amplitude, BaseEvent

    client = Amplitude(key)
    client.configuration.server_url = f"{url}/2/httpapi"
    client.configuration.flush_queue_size = 50
    acknowledged = threading.Semaphore(0)
    client.configuration.callback = lambda event, code, message: acknowledged.release()
    for number in range(count):
        properties = {"text": ODD["text"], "deep": ODD["deep"], "nan": ODD["nan"], "number": number}
        client.track(BaseEvent(f"record {number}", user_id=f"user-{number}", event_properties=properties))
    client.flush()
    for _ in range(count):
        assert acknowledged.acquire(timeout=120), "not acknowledged"
    client.shutdown()


def mixpanel(url: str, key: str, count: int) -> None:
    from mixpanel import BufferedConsumer, Mixpanel

    consumer = BufferedConsumer(
        max_size=50,
        events_url=f"{url}/track",
        people_url=f"{url}/engage",
        import_url=f"{url}/import",
        retry_limit=8,
        retry_backoff_factor=0.3,
    )
    client = Mixpanel(key, consumer=consumer)
    client.track("user-x", "")
    for number in range(count):
        client.track(f"user-{number}", f"record {number}", {**ODD, "nan": None, "number": number})
    consumer.flush()


def _logger(handler: logging.Handler) -> logging.Logger:
    logger = logging.getLogger("records")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(handler)
    return logger


PACKAGES: Final[dict[str, Callable[[str, str, int], None]]] = {
    "segment": segment,
    "rudder": rudder,
    "posthog": posthog,
    "opentelemetry": opentelemetry,
    "elasticsearch": elasticsearch,
    "loki": loki,
    "splunk": splunk,
    "amplitude": amplitude,
    "mixpanel": mixpanel,
}

if __name__ == "__main__":
    PACKAGES[sys.argv[1]](sys.argv[2], sys.argv[3], int(sys.argv[4]))
