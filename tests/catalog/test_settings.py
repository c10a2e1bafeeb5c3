"""What a catalog refuses at the start, and what it changes where nobody says anything."""

from pathlib import Path

import pytest

from app.errors import ConfigurationError
from app.settings.settings import Settings, load

REFUSED = [
    (
        '[catalog]\ntype = "iceberg"\n[sinks.parquet]\npath = "p"\npayload_type = "json"',
        'Iceberg has no type for payload_type = "json"',
    ),
    (
        '[catalog]\ntype = "iceberg"\n[sinks.parquet]\npath = "p"\nannotate = ["timestamps"]',
        "leave out annotate and ids_as",
    ),
    (
        '[catalog]\ntype = "iceberg"\n[sinks.parquet]\npath = "p"\nids_as = "binary"',
        "leave out annotate and ids_as",
    ),
    (
        '[catalog]\ntype = "iceberg"\n[sinks.parquet]\npath = "p"\nrotation = "monthly"',
        "tables are partitioned by day",
    ),
    (
        '[catalog]\ntype = "iceberg"\n[sinks.parquet]\npath = "p"\npartition_by = "happened"',
        "tables are partitioned by the day of receipt",
    ),
    ('[catalog]\ntype = "iceberg"\npath = "p/c"\n[sinks.parquet]\npath = "p"', "overlap; use two"),
    ('[catalog]\ntype = "iceberg"\n[sinks.parquet]\npath = "s3://lake/raw"', "catalog.warehouse is required"),
    (
        '[catalog]\ntype = "iceberg"\nwarehouse = "az://lake/w"\n[sinks.parquet]\npath = "az://lake/raw"',
        "az:// are not supported",
    ),
    ('[catalog]\ntype = "hive"', 'catalog.type: "hive" is not allowed; allowed: "none" or "iceberg"'),
    (
        '[catalog]\ntype = "iceberg"\n[journal]\ntype = "kafka"\nbrokers = "a:1"\ntopic = "t"\n'
        '[sinks.parquet]\npath = "p"',
        "not supported together with journal.type",
    ),
]


def settings(directory: Path, text: str) -> Settings:
    file = directory / "parquet-sink.toml"
    file.write_text(text)
    return load(file, {})


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_what_cannot_be_in_tables_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings(tmp_path, text)

    assert message in " ".join(caught.value.messages)


def test_files_are_made_less_often_with_a_catalog(tmp_path: Path) -> None:
    sink = '[sinks.parquet]\npath = "p"\n'
    catalog = '[catalog]\ntype = "iceberg"\n'

    assert settings(tmp_path, sink).sink.flush_interval == 60
    assert settings(tmp_path, catalog + sink).sink.flush_interval == 600
    assert settings(tmp_path, catalog).sink.flush_interval == 600
    assert settings(tmp_path, catalog).sink.path == settings(tmp_path, "").sink.path
    assert settings(tmp_path, catalog + sink + 'flush_interval = "5s"').sink.flush_interval == 5


def test_secrets_of_a_catalog_are_not_shown(tmp_path: Path) -> None:
    text = '[catalog]\ntype = "iceberg"\n[catalog.properties]\nuri = "https://c"\ncredential = "id:secret"\n'
    found = settings(tmp_path, text)

    assert "secret" not in repr(found)
    policy = found.catalog.policy(tmp_path, None)
    assert (policy.properties["uri"], policy.properties["credential"]) == ("https://c", "id:secret")
    assert found.catalog.embedded is None
