"""What the running service is told: the plan that is made of settings, and the one that is read again."""

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from pydantic import ByteSize

from app.errors import ConfigurationError
from app.settings.configuration import ReadConfiguration
from app.settings.plan import Plan
from app.settings.planning import plan_of
from app.settings.settings import Settings, load

BUCKET: Final = {"sinks": {"lake": {"path": "s3://bucket/prefix"}}}
KAFKA: Final = {"journal": {"type": "kafka", "brokers": "a:1", "topic": "t"}}
CATALOG: Final = {"catalog": {"type": "iceberg"}}
FULL: Final = {
    "server": {"trusted_proxies": ["10.0.0.0/8"], "workers": 2},
    "auth": {"admin_token": "a-token-of-operators"},
    "ingest": {"map": [{"path": "/in/nginx", "message": "request"}]},
    "quota": [{"workspace": 1, "rows_per_second": 5, "bytes_per_day": "1GB"}],
    "retention": [{"workspace": "*", "older_than": "90d"}],
    "sinks": {"parquet": {"path": "p", "annotate": "ids", "final": {"compression": "zstd"}}},
}
"""What holds values of every type."""

ONLY_CONFIGURED: Final = {"writer_version", "final", "early_flush_bytes", "flush_interval_ms"}
"""What depends on more than one setting; tests and benchmarks need one of the values that users have."""


@pytest.fixture(autouse=True)
def _empty_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def plan(values: Mapping[str, Any]) -> Plan:
    return plan_of(Settings.model_validate(values))


def within(value: object) -> Iterator[object]:
    """A value, and all that it is made of."""
    yield value
    if isinstance(value, msgspec.Struct):
        for field in msgspec.structs.fields(type(value)):
            yield from within(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for item in value.items():
            yield from within(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from within(each)


@pytest.mark.parametrize("values", [{}, FULL, BUCKET, KAFKA, CATALOG], ids=str)
def test_a_plan_goes_to_other_processes_as_it_is(values: Mapping[str, Any]) -> None:
    made = plan(values)

    assert pickle.loads(pickle.dumps(made)) == made
    assert not any(isinstance(each, ByteSize) for each in within(made)), "no message can hold one"
    assert "a-token-of-operators" not in repr(made)


@pytest.mark.parametrize("values", [{}, BUCKET, KAFKA], ids=str)
def test_no_policy_has_a_default_that_nobody_runs(values: Mapping[str, Any]) -> None:
    others = [
        f"{type(each).__name__}.{field.name}"
        for each in within(plan(values))
        if isinstance(each, msgspec.Struct) and type(each).__name__.endswith("Policy")
        for field in msgspec.structs.fields(type(each))
        if field.default is not msgspec.NODEFAULT and field.name not in ONLY_CONFIGURED
        if getattr(each, field.name) != field.default
    ]

    assert others == []


def test_early_flushes_of_a_directory_are_the_default() -> None:
    writer = plan({}).policies.writer

    assert writer.early_flush_bytes == type(writer)().early_flush_bytes
    assert writer.flush_interval_ms == type(writer)().flush_interval_ms


def test_a_properties_file_that_cannot_be_read_is_the_configurations_mistake() -> None:
    values = {"journal": {**KAFKA["journal"], "properties_file": "missing.properties"}}
    with pytest.raises(ConfigurationError, match=r"journal: .*missing\.properties"):
        plan(values)


def test_what_counts_at_once_is_in_force_and_what_does_not_waits() -> None:
    file = Path("parquet-sink.toml")
    file.write_text('[log]\nlevel = "info"\nformat = "json"\n')
    configuration = ReadConfiguration()
    file.write_text(
        '[log]\nlevel = "debug"\n[server]\nport = 1\n[[quota]]\nworkspace = 7\nrows_per_second = 1\n'
    )
    moved = pickle.loads(pickle.dumps(configuration))
    read = configuration.read_again()

    assert (read.at_once, read.waiting) == (["log.level", "quota"], ["log.format", "server.port"])
    assert read.plan == plan_of(load(file, {}))
    in_force = configuration.plan
    assert (in_force.log.level, in_force.log.format, in_force.listening.port) == ("debug", "json", 8080)
    assert list(in_force.policies.quotas) == [7]
    assert configuration.read_again().at_once == []
    assert moved.read_again().at_once == ["log.level", "quota"], "another process goes on from what it knew"


def test_what_is_wrong_changes_nothing() -> None:
    file = Path("parquet-sink.toml")
    file.write_text("")
    configuration = ReadConfiguration()
    before = configuration.plan
    file.write_text("[server]\nprot = 1\n")
    with pytest.raises(ConfigurationError, match="did you mean port"):
        configuration.read_again()

    assert configuration.plan is before
