"""The HTTP metrics of prometheus-fastapi-instrumentator, counted for the ASGI route and for the fast lane.

Names and labels are the instrumentator's defaults. The fast lane counts in plain numbers, which are added
here from time to time: five observations per request would cost more than reading the request.
"""

import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, Counter, Histogram, Summary
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_fastapi_instrumentator.metrics import Info

HIGH_RESOLUTION_S: Final = (
    *(
        0.001,
        0.0025,
        0.005,
        0.01,
        0.025,
        0.05,
        0.075,
        0.1,
        0.25,
        0.5,
        0.75,
        1,
        1.5,
        2,
        2.5,
        3,
        3.5,
        4,
        4.5,
        5,
        7.5,
        10,
        30,
        60,
    ),
    float("inf"),
)
LOW_RESOLUTION_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, float("inf"))
"""A batch is durable within milliseconds, so a slow disk shows above 5 ms first."""


class RequestTally(msgspec.Struct):
    """Requests of one path and status since the last `HttpMetrics.flush`."""

    handler: str
    status: str
    request_bytes: int = 0
    response_bytes: int = 0
    seconds: list[float] = []

    def note(self, request_bytes: int, response_bytes: int, seconds: float) -> None:
        self.request_bytes += request_bytes
        self.response_bytes += response_bytes
        self.seconds.append(seconds)


class HttpMetrics(Collector):
    """`count` is an instrumentation for the instrumentator, `note` is for the fast lane. May be used from any
    thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lock = threading.Lock()
        self._tallies: dict[tuple[str, int], RequestTally] = {}
        registry.register(self)  # before the metrics, so that a scrape finds them up to date
        self._requests = Counter(
            "http_requests_total",
            "Requests by method, class of status and handler. 5xx rising: check the log; 4xx: a client is "
            "broken.",
            ("method", "status", "handler"),
            registry=registry,
        )
        self._request_bytes = Summary(
            "http_request_size_bytes",
            "Bytes of request bodies by handler, by their Content-Length.",
            ("handler",),
            registry=registry,
        )
        self._response_bytes = Summary(
            "http_response_size_bytes",
            "Bytes of response bodies by handler, by their Content-Length.",
            ("handler",),
            registry=registry,
        )
        self._latency = Histogram(
            "http_request_duration_highr_seconds",
            "Seconds from a request's head to its answer, of all handlers together, in many buckets.",
            buckets=HIGH_RESOLUTION_S,
            registry=registry,
        )
        self._latency_by_handler = Histogram(
            "http_request_duration_seconds",
            "Seconds from a request's head to its answer, by handler. Rising: the disk's sync is slow.",
            ("method", "handler"),
            buckets=LOW_RESOLUTION_S,
            registry=registry,
        )

    def count(self, info: Info) -> None:
        """One request of the ASGI application."""
        handler, seconds = info.modified_handler, info.modified_duration
        length = info.response.headers.get("Content-Length", 0) if info.response else 0
        self._requests.labels(info.method, info.modified_status, handler).inc()
        self._request_bytes.labels(handler).observe(_number(info.request.headers.get("Content-Length", 0)))
        self._response_bytes.labels(handler).observe(_number(length))
        self._latency.observe(seconds)
        self._latency_by_handler.labels(info.method, handler).observe(seconds)

    def note(
        self, handler: str, status: int, request_bytes: int, response_bytes: int, seconds: float
    ) -> None:
        """One request of the fast lane, to be added to the metrics later."""
        with self._lock:
            tally = self._tallies.get((handler, status))
            if tally is None:
                tally = self._tallies[handler, status] = RequestTally(handler, str(status))
            tally.note(request_bytes, response_bytes, seconds)

    def flush(self) -> None:
        """Adds what was noted; must be called from time to time, so that little accumulates."""
        with self._lock:
            tallies, self._tallies = self._tallies, {}
        for tally in tallies.values():
            self._add(tally)

    def collect(self) -> Iterator[Metric]:
        """Has no metrics of its own; it updates the metrics that are collected after it."""
        self.flush()
        return iter(())

    def _add(self, tally: RequestTally) -> None:
        """Observes many requests at once. The client library has no call for that, so its internal values are
        used."""
        count, total = len(tally.seconds), sum(tally.seconds)
        self._requests.labels("POST", f"{tally.status[0]}xx", tally.handler).inc(count)
        for summary, size in (
            (self._request_bytes.labels(tally.handler), tally.request_bytes),
            (self._response_bytes.labels(tally.handler), tally.response_bytes),
        ):
            summary._count.inc(count)
            summary._sum.inc(size)
        seconds = sorted(tally.seconds)
        by_handler = self._latency_by_handler.labels("POST", tally.handler)
        for histogram, bounds in ((self._latency, HIGH_RESOLUTION_S), (by_handler, LOW_RESOLUTION_S)):
            histogram._sum.inc(total)
            for bucket, inside in zip(histogram._buckets, _counts(seconds, bounds), strict=True):
                if inside:
                    bucket.inc(inside)


def _counts(ordered: Sequence[float], bounds: Sequence[float]) -> list[int]:
    """How many of the sorted values are in each bucket: above the previous bound, up to its own."""
    below = [0, *(bisect_right(ordered, bound) for bound in bounds)]
    return [upper - lower for lower, upper in pairwise(below)]


def _number(text: str | int) -> int:
    return int(text) if str(text).isdecimal() else 0
