"""The metrics of several processes as those of one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.workers.messages import Family

GAUGE: Final = "gauge"

CREATED: Final = "_created"
"""The suffix of samples that say when counting began: the earliest is kept."""


def families_of(registry: Collector) -> list[Family]:
    """What a registry holds now, to be sent."""
    return [
        (
            metric.name,
            metric.documentation,
            metric.type,
            [(sample.name, dict(sample.labels), sample.value) for sample in metric.samples],
        )
        for metric in registry.collect()
    ]


def counted(families: Sequence[Family]) -> list[Family]:
    """Without gauges: what stays true of a process that has ended."""
    return [family for family in families if family[2] != GAUGE]


def added(families: Iterable[Sequence[Family]]) -> list[Family]:
    """The sum of each sample, in the order in which the first has them."""
    sums: dict[str, tuple[str, str, dict[tuple[str, tuple[tuple[str, str], ...]], float]]] = {}
    for some in families:
        for name, documentation, type_, samples in some:
            _, _, values = sums.setdefault(name, (documentation, type_, {}))
            for sample, labels, value in samples:
                key = (sample, tuple(sorted(labels.items())))
                if key not in values:
                    values[key] = value
                elif sample.endswith(CREATED):
                    values[key] = min(values[key], value)
                else:
                    values[key] += value
    return [
        (
            name,
            documentation,
            type_,
            [(sample, dict(labels), value) for (sample, labels), value in values.items()],
        )
        for name, (documentation, type_, values) in sums.items()
    ]


class MergedMetrics(Collector):
    """This process's registry and what others report."""

    def __init__(self, registry: CollectorRegistry, others: Callable[[], list[Sequence[Family]]]) -> None:
        self._registry = registry
        self._others = others

    def collect(self) -> Iterator[Metric]:
        for name, documentation, type_, samples in added([families_of(self._registry), *self._others()]):
            metric = Metric(name, documentation, type_)
            for sample, labels, value in samples:
                metric.add_sample(sample, labels, value)
            yield metric
