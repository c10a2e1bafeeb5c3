"""`check-config --connect` tries what the service would use, and says what does not work."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.s3_server import BUCKET, CREDENTIALS, S3Server

COMMAND = [sys.executable, "-m", "app.cli", "check-config", "--connect", "--config"]


def check(directory: Path, text: str) -> "subprocess.CompletedProcess[str]":
    (directory / "sink.toml").write_text(text)
    return subprocess.run(
        [*COMMAND, str(directory / "sink.toml")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **CREDENTIALS},
    )


def configuration(journal: Path, path: str, more: str = "") -> str:
    return f'[journal]\npath = "{journal}"\n[sinks.p]\ntype = "parquet"\npath = "{path}"\n{more}'


def test_directories_that_can_be_written_work_and_nothing_is_left(tmp_path: Path) -> None:
    done = check(tmp_path, configuration(tmp_path / "journal", str(tmp_path / "lake")))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(": works") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sink.toml"]


def test_a_directory_that_cannot_be_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = check(tmp_path, configuration(tmp_path / "journal", str(tmp_path / "file" / "lake")))
    assert done.returncode == 1
    assert f"the directory {tmp_path}/file/lake: NotADirectoryError" in done.stderr
    assert "the journal's directory: works" in done.stderr


def test_a_bucket_is_written_read_and_left_as_it_was(tmp_path: Path, s3_server: S3Server) -> None:
    store = f'[sinks.p.store]\nendpoint = "{s3_server.endpoint}"\nregion = "us-east-1"\n'
    good = check(tmp_path, configuration(tmp_path / "journal", f"s3://{BUCKET}/probe", store))
    assert good.returncode == 0, good.stderr
    assert f"the bucket s3://{BUCKET}/probe: works" in good.stderr
    bad = check(tmp_path, configuration(tmp_path / "journal", "s3://no-such-bucket/x", store))
    assert bad.returncode == 1
    assert "the bucket s3://no-such-bucket/x: " in bad.stderr


def test_brokers_and_catalogs_that_do_not_answer_are_named(tmp_path: Path) -> None:
    kafka = f'[journal]\ntype = "kafka"\nbrokers = "127.0.0.1:9"\ntopic = "rows"\npath = "{tmp_path}/j"\n'
    done = check(tmp_path, f'{kafka}[sinks.p]\ntype = "parquet"\npath = "{tmp_path}/lake"\n')
    assert done.returncode == 1
    assert "the topic rows at 127.0.0.1:9: " in done.stderr
    catalog = '[catalog]\ntype = "iceberg"\nproperties = {type = "rest", uri = "http://127.0.0.1:9"}\n'
    done = check(tmp_path, configuration(tmp_path / "journal", str(tmp_path / "lake"), catalog))
    assert done.returncode == 1
    assert "the iceberg catalog: " in done.stderr
