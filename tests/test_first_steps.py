"""`init`, `sql` and `completion`: what they print and write works as it stands."""

import contextlib
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import chdb.session
import duckdb
import polars as pl
import pytest

from app.cli import ENGINE_NAMES, main
from app.console.completion import SHELLS
from app.console.engines import ENGINES
from app.console.init import CONFIGURATION, KEYS, PURPOSES
from app.settings.settings import load
from tests.support.payloads import event, log_line
from tests.support.service import Service


def run(*arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize("purpose", PURPOSES)
def test_init_writes_what_can_be_used_and_leaves_what_is_there(tmp_path: Path, purpose: str) -> None:
    directory = tmp_path / "new"
    code, said, _ = run("init", "--for", purpose, "--directory", str(directory))
    assert code == 0
    text = (directory / CONFIGURATION).read_text()
    settings = load(directory / CONFIGURATION, {})
    assert settings.auth.api_keys_file is not None
    assert "{" not in text
    (line,) = (directory / KEYS).read_text().splitlines()
    key, workspace, _ = line.split(":")
    assert (len(key), workspace, key in said) == (32, "1", True)
    assert (directory / CONFIGURATION).stat().st_mode & 0o077 == 0

    assert run("init", "--for", "laptop", "--directory", str(directory))[0] == 1
    (directory / CONFIGURATION).unlink()
    code, said, _ = run("init", "--for", purpose, "--directory", str(directory))
    assert (code, "already exists" in said) == (0, True)
    assert (directory / KEYS).read_text() == f"{line}\n"


@pytest.fixture(scope="module")
def filled(service: Service) -> Service:
    """Has events in two days' worth of files, logs, and no snapshot."""
    for workspace in (1, 2):
        service.post_json(
            "events", [event(n, properties={"plan": "pro"}) for n in range(3)], workspace=workspace
        )
    service.post_json("logs", [log_line(1)])
    service.flush()
    return service


def printed(filled: Service, engine: str) -> str:
    code, text, _ = run("sql", engine, "--config", str(filled.directory / "parquet-sink.toml"))
    assert code == 0
    assert "no files of snapshots yet" in text
    return text


def test_the_views_of_duckdb(filled: Service) -> None:
    with duckdb.connect() as connection:
        connection.execute(printed(filled, "duckdb"))
        sql = "SELECT workspace, payload->>'plan', count(*) FROM events GROUP BY ALL ORDER BY ALL"
        assert connection.execute(sql).fetchall() == [(1, "pro", 3), (2, "pro", 3)]
        assert connection.execute("SELECT level FROM logs").fetchall() == [("error",)]


def test_the_lines_of_polars(filled: Service) -> None:
    names: dict[str, Any] = {}
    exec(printed(filled, "polars"), names)
    plans = names["events"].select(pl.col("payload").str.json_path_match("$.plan"), "timestamp").collect()
    assert plans["payload"].to_list() == ["pro"] * 6
    assert plans["timestamp"][0].year == 2023
    assert names["logs"].collect()["level"].to_list() == ["error"]


def test_the_lines_of_pyarrow(filled: Service) -> None:
    names: dict[str, Any] = {}
    exec(printed(filled, "pyarrow"), names)
    assert names["events"].count_rows() == 6
    assert names["logs"].to_table(columns=["level"]).to_pylist() == [{"level": "error"}]


def test_the_views_of_clickhouse(filled: Service) -> None:
    with contextlib.closing(chdb.session.Session()) as session:
        for statement in printed(filled, "clickhouse").split(";"):
            if "CREATE" in statement:
                session.query(statement)
        sql = "SELECT JSONExtractString(payload, 'plan'), toYear(timestamp), count() FROM events GROUP BY ALL"
        assert str(session.query(sql, "CSV")).strip() == '"pro",2023,6'


def test_the_lines_of_spark_are_python(filled: Service) -> None:
    compile(printed(filled, "spark"), "spark", "exec")
    assert set(ENGINE_NAMES) == set(ENGINES)


def test_bash_completes_commands_options_and_actions() -> None:
    script = run("completion", "bash")[1]

    def completed(*words: str) -> set[str]:
        line = " ".join(f"'{word}'" for word in words)
        shell = f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _parquet_sink; "
        shell += "printf '%s\\n' ${COMPREPLY[@]}"
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
        return set(done.stdout.split())

    assert completed("parquet-sink", "q") == {"query"}
    assert {"serve", "load", "keys", "--version"} <= completed("parquet-sink", "")
    assert completed("parquet-sink", "load", "--dea") == {"--dead-letter"}
    assert completed("parquet-sink", "keys", "ro") == {"rotate"}
    assert completed("parquet-sink", "sql", "du") == {"duckdb"}


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_gets_a_script(shell: str) -> None:
    code, text, _ = run("completion", shell)
    assert code == 0
    assert "dead-letter" in text
    with pytest.raises(SystemExit):
        run("completion", "cmd")


def test_help_is_quick_since_it_loads_neither_pyarrow_nor_numpy() -> None:
    """Nor what draws tables."""
    for arguments in (["--help"], ["load", "--help"], ["completion", "bash"]):
        code = (
            "import sys\nfrom app.cli import main\n"
            "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
            "heavy = {'pyarrow', 'numpy', 'rich', 'duckdb', 'fastapi'} & sys.modules.keys()\n"
            "sys.exit(str(heavy) if heavy else 0)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
