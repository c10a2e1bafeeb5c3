"""The service for a test module, and what a failed test shows of it."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.bucket_service import BucketService
from tests.support.catalog_service import CatalogService
from tests.support.happened_service import HappenedService
from tests.support.kafka_cluster import KafkaCluster, running_kafka
from tests.support.kafka_service import KafkaService
from tests.support.s3_server import CREDENTIALS, S3Server, running_s3_server
from tests.support.service import FRESH_WORKSPACES, NewService, Service, running
from tests.support.workers_service import WorkersService


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One S3 server for all tests of this process; each takes a prefix of its own."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in CREDENTIALS.items():
            environment.setenv(name, value)
        with running_s3_server(tmp_path_factory.mktemp("s3")) as server:
            yield server


@pytest.fixture(scope="session")
def kafka_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """One broker for all tests of this process; each service takes a topic of its own."""
    with running_kafka(tmp_path_factory.mktemp("kafka")) as cluster:
        yield cluster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with heavy tests first: a long one that comes last is waited for by all other cores."""
    heavy = {item.path for item in items if item.get_closest_marker("heavy")}
    items.sort(key=lambda item: item.path not in heavy)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A module says in BACKENDS over which of them its tests run, a test may say otherwise."""
    own = any("backend" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "backend" in metafunc.fixturenames and hasattr(metafunc.module, "BACKENDS") and not own:
        metafunc.parametrize("backend", metafunc.module.BACKENDS, scope="module")


@pytest.fixture(scope="module")
def backend() -> str:
    """Files in a directory or a bucket; "kafka": with a journal of Kafka's; "tables": with a catalog;
    "workers": several processes; "happened": with rows in the files of their own days."""
    return "directory"


@pytest.fixture(scope="module")
def new_service(backend: str, request: pytest.FixtureRequest) -> NewService:
    """Makes a service, not started, whose files go there."""
    if backend == "directory":
        return Service
    if backend == "tables":
        return CatalogService
    if backend == "kafka":
        return partial(KafkaService, cluster=request.getfixturevalue("kafka_cluster"))
    if backend == "happened":
        return HappenedService
    if backend == "workers":
        return WorkersService
    return partial(BucketService, endpoint=request.getfixturevalue("s3_server").endpoint)


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest, new_service: NewService
) -> Iterator[Service]:
    """One running service for the whole module; a module's own CONFIG changes its settings."""
    config = getattr(request.module, "CONFIG", None)
    with running(new_service(tmp_path_factory.mktemp("service"), config)) as service:
        yield service


@pytest.fixture(scope="module")
def unused_workspaces(backend: str) -> Iterator[int]:
    """From the first on for every service."""
    return iter(FRESH_WORKSPACES)


@pytest.fixture
def workspace(unused_workspaces: Iterator[int]) -> int:
    """A workspace of the module's service that no other test has used."""
    return next(unused_workspaces)


@pytest.fixture
def own_service(tmp_path: Path, request: pytest.FixtureRequest, new_service: NewService) -> Iterator[Service]:
    """A service for one test, which may stop, kill and start it."""
    config = getattr(request.module, "CONFIG", None)
    with running(new_service(tmp_path, config)) as service:
        yield service
