"""What an operator writes is taken as meant, or refused with the key, the place and what is allowed."""

import json
import re
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

import pytest

from app.errors import ConfigurationError
from app.settings.planning import plan_of
from app.settings.settings import Settings, load
from app.settings.sources import unmatched_variables
from app.settings.toml_text import to_toml

REPOSITORY: Final = Path(__file__).resolve().parents[1]
EXAMPLE: Final = REPOSITORY / "docs" / "parquet-sink.example.toml"


@pytest.fixture(autouse=True)
def _empty_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def file(text: str, name: str = "parquet-sink.toml") -> Path:
    path = Path(name)
    path.write_text(text, "utf-8")
    return path


def messages(text: str = "", environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(file(text), environ or {})
    return caught.value.messages


# --- sources ------------------------------------------------------------------------------------------------


def test_no_file_is_needed() -> None:
    settings = load(None, {})

    assert settings == Settings()
    assert settings.server.host == "127.0.0.1"
    assert settings.server.port == 8080
    assert settings.sink.path == Path("parquet")


def test_the_file_of_the_working_directory_is_found() -> None:
    file("[server]\nport = 9000\n")

    assert load(None, {}).server.port == 9000


def test_a_named_file_counts_before_the_one_of_the_working_directory() -> None:
    file("[server]\nport = 9000\n")
    other = file("[server]\nport = 9001\n", "other.toml")
    third = file("[server]\nport = 9002\n", "third.toml")

    assert load(None, {"PARQUET_SINK_CONFIG": str(other)}).server.port == 9001
    assert load(third, {"PARQUET_SINK_CONFIG": str(other)}).server.port == 9002


def test_a_named_file_must_exist() -> None:
    with pytest.raises(ConfigurationError, match=r"missing\.toml: cannot be read: No such file"):
        load(None, {"PARQUET_SINK_CONFIG": "missing.toml"})


def test_flags_count_before_the_environment_and_that_before_the_file() -> None:
    text = file("[server]\nport = 1\nbacklog = 1\nmax_connections = 1\n")
    environ = {"PARQUET_SINK__SERVER__PORT": "2", "PARQUET_SINK__SERVER__BACKLOG": "2"}

    server = load(text, environ, {"server.port": "3"}).server

    assert (server.port, server.backlog, server.max_connections) == (3, 2, 1)


def test_every_key_can_be_an_environment_variable() -> None:
    """Each key of the example goes in as a variable alone and comes out with the same value."""
    for section, keys in _leaf_sections(tomllib.loads(EXAMPLE.read_text("utf-8"))):
        for key, value in keys.items():
            variable = "PARQUET_SINK__" + "__".join((*section, key)).upper()
            text = value if isinstance(value, str) else json.dumps(value)
            assert load(None, {variable: text}) == Settings(), variable


@pytest.mark.parametrize("text", ["10.0.0.0/8,::1", ' ["10.0.0.0/8", "::1"]', "10.0.0.0/8, ::1,"])
def test_a_list_in_the_environment_is_json_or_has_commas(text: str) -> None:
    settings = load(None, {"PARQUET_SINK__SERVER__TRUSTED_PROXIES": text})

    assert settings.server.trusted_proxies == [ip_network("10.0.0.0/8"), ip_network("::1")]


def test_variables_that_kubernetes_makes_for_a_service_are_left_alone() -> None:
    environ = {"PARQUET_SINK_PORT": "tcp://10.0.0.1:8080", "PARQUET_SINK_SERVICE_HOST": "10.0.0.1"}

    assert load(None, environ) == Settings()


def test_a_sink_may_have_another_name() -> None:
    settings = load(
        file('[sinks.archive]\npath = "cold"\n'), {"PARQUET_SINK__SINKS__ARCHIVE__ROTATION": "hourly"}
    )

    assert settings.sink.path == Path("cold")
    assert settings.sink.rotation == "hourly"


# --- refusals -----------------------------------------------------------------------------------------------

REFUSED: Final = [
    ("[sever]", "sever: unknown key; did you mean server? (in parquet-sink.toml)"),
    ("[server]\nprot = 1", "server.prot: unknown key; did you mean port? (in parquet-sink.toml)"),
    (
        '[server]\nrotation = "daily"',
        "server.rotation: unknown key; it belongs at sinks.<name>.rotation (in parquet-sink.toml)",
    ),
    (
        "[auth]\nzzz = 1",
        "auth.zzz: unknown key; allowed here: api_keys_file, admin_token, wrong_key_delay_max "
        "(in parquet-sink.toml)",
    ),
    (
        '[sinks.parquet]\npath = "p"\nrotation = "weekly"',
        'sinks.parquet.rotation: "weekly" is not allowed; '
        'allowed: "hourly", "daily" or "monthly" (in parquet-sink.toml)',
    ),
    (
        '[sinks.parquet]\npath = "p"\nflush_intervall = "1s"',
        "sinks.parquet.flush_intervall: unknown key; did you mean flush_interval? (in parquet-sink.toml)",
    ),
    ("[sinks.parquet]", "sinks.parquet.path: is required (in parquet-sink.toml)"),
    (
        '[sinks.kafka]\npath = "p"\ntype = "kafka"',
        'sinks.kafka.type: "kafka" is not allowed; allowed: "parquet" (in parquet-sink.toml)',
    ),
    (
        '[sinks.a]\npath = "a"\n[sinks.b]\npath = "b"',
        "sinks: exactly one [sinks.<name>] is supported, not 2 (in parquet-sink.toml)",
    ),
    ("server = 5", "server: is a table of keys, not a value (in parquet-sink.toml)"),
    (
        "[server]\nport = 65536",
        "server.port: should be less than or equal to 65535, not 65536 (in parquet-sink.toml)",
    ),
    (
        '[journal]\nsegment_size = "1B"',
        'journal.segment_size: "1B" is too small; the least is "4KiB" (in parquet-sink.toml)',
    ),
    (
        '[server]\ntrusted_proxies = ["::1", "10.0.0.1/8"]',
        'server.trusted_proxies[2]: 10.0.0.1/8 has host bits set; write a network such as "10.0.0.0/8", or '
        "one address (in parquet-sink.toml)",
    ),
    (
        '[server]\ntls_key = "k"',
        "server: tls_certificate and tls_key belong together; set both or neither (in parquet-sink.toml)",
    ),
    (
        "[server]\nworkers = 3\nmax_body_size = '10MB'\nmax_inflight_size = '29MB'",
        "server: max_inflight_size must be at least workers x max_body_size, otherwise a worker could not "
        "take a single body (in parquet-sink.toml)",
    ),
    (
        '[sinks.parquet]\npath = "p"\ncompression_level = 3',
        'sinks.parquet: compression_level is for "zstd" and "gzip", not "snappy" (in parquet-sink.toml)',
    ),
    (
        '[sinks.parquet]\npath = "p"\ncompression = "gzip"\ncompression_level = 10',
        "sinks.parquet: compression_level of gzip must be at most 9 (in parquet-sink.toml)",
    ),
    (
        '[sinks.parquet]\npath = "p"\ndata_format = "binary"\npayload_type = "json"',
        'sinks.parquet: payload_type = "json" and promote need data_format = "json" (in parquet-sink.toml)',
    ),
    (
        '[sinks.parquet]\npath = "p"\ndata_format = "binary"\nannotate = ["payload"]',
        'sinks.parquet: annotate = ["payload"] needs data_format = "json" (in parquet-sink.toml)',
    ),
    (
        '[sinks.parquet]\npath = "p"\npayload_type = "binary"\nannotate = ["payload"]',
        'sinks.parquet: annotate contains "payload", and payload_type = "binary" contradicts it; leave out '
        "payload_type (in parquet-sink.toml)",
    ),
    (
        '[sinks.parquet]\npath = "p"\nids_as = "binary"\nannotate = ["ids"]',
        'sinks.parquet: annotate contains "ids", and a UUID column needs fixed 16-byte values: leave out '
        'either ids_as = "binary" or "ids" (in parquet-sink.toml)',
    ),
    (
        '[sinks.parquet]\npath = "p"\nlate_window = "32d"',
        "sinks.parquet: late_window must be at most 31d: each day's files stay open for this long (in "
        "parquet-sink.toml)",
    ),
    (
        '[journal]\ntype = "kafka"\nbrokers = "a:1"\ntopic = "t"\n[sinks.parquet]\npath = "p"\n'
        'partition_by = "happened"',
        'partition_by: with journal.type = "kafka" rows are partitioned by their time of receipt; use '
        'partition_by = "received" (in parquet-sink.toml)',
    ),
    (
        '[sinks.parquet]\npath = "p"\nannotate = ["times"]',
        'sinks.parquet.annotate[1]: "times" is not allowed; allowed: "ids", "payload" or "timestamps" '
        "(in parquet-sink.toml)",
    ),
    (
        '[sinks.parquet]\npath = "p"\n[[sinks.parquet.promote]]\nkind = "events"\npath = "$.a"\nname = "a"\n'
        'type = "text"',
        'sinks.parquet.promote[1].type: "text" is not allowed; '
        'allowed: "string", "integer", "double" or "boolean" (in parquet-sink.toml)',
    ),
    (
        '[sinks.parquet]\npath = "p"\n[[sinks.parquet.promote]]\nkind = "logs"\npath = "a"\nname = "a"\n'
        'type = "string"',
        "sinks.parquet.promote[1].path: 'a' is not a path to a field; "
        'write it like $.page, $.cart.total or $."a name" (in parquet-sink.toml)',
    ),
    (
        '[sinks.parquet]\npath = "p"\n[[sinks.parquet.promote]]\nkind = "logs"\npath = "$.a"\n'
        'name = "level"\ntype = "string"',
        'sinks.parquet: logs have a column "level" already; rename the promoted one (in parquet-sink.toml)',
    ),
    (
        '[sinks.parquet]\npath = "p"\n[[sinks.parquet.promote]]\nkind = "logs"\npath = "$.a"\nnaem = "a"\n'
        'name = "b"\ntype = "string"',
        "sinks.parquet.promote[1].naem: unknown key; did you mean name? (in parquet-sink.toml)",
    ),
    ('[journal]\npath = " "', "journal.path: the path is empty (in parquet-sink.toml)"),
    (
        '[server]\nhost = "0.0.0.0"',
        'server.host "0.0.0.0" can be reached from other machines, and there are no API keys: '
        'set auth.api_keys_file, or listen on "127.0.0.1" (in parquet-sink.toml)',
    ),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_a_mistake_is_named_with_its_place_and_the_remedy(text: str, message: str) -> None:
    assert messages(text) == (message,)


def test_all_mistakes_are_listed_each_with_its_source() -> None:
    found = messages(
        '[server]\nport = "x"\n[journal]\nacknowledge = "never"\n',
        {"PARQUET_SINK__SERVER__PRT": "1", "PARQUET_SINK__JOURNAL__MAX_SIZE": "much"},
    )

    assert [message.partition(":")[0] for message in found] == [
        "journal.acknowledge",
        "journal.max_size",
        "server.port",
        "server.prt",
    ]
    assert [re.findall(r"\(in (.*)\)$", message) for message in found] == [
        ["parquet-sink.toml"],
        ["PARQUET_SINK__JOURNAL__MAX_SIZE"],
        ["parquet-sink.toml"],
        ["PARQUET_SINK__SERVER__PRT"],
    ]


def test_text_that_is_not_toml_is_named_with_its_line() -> None:
    (message,) = messages("[server\n")

    assert message.startswith("parquet-sink.toml: not valid TOML: ")
    assert "line 1" in message


@pytest.mark.parametrize(
    ("journal", "data"),
    [("data", "data"), ("data/journal", "data"), ("data", "data/x"), ("x/../data", "data")],
)
def test_journal_and_files_may_not_lie_inside_each_other(journal: str, data: str) -> None:
    (message,) = messages(f'[journal]\npath = "{journal}"\n[sinks.parquet]\npath = "{data}"\n')

    assert "overlap; use two separate directories" in message


def test_a_link_does_not_hide_that_they_overlap() -> None:
    Path("data").mkdir()
    Path("elsewhere").symlink_to("data")

    (message,) = messages('[journal]\npath = "elsewhere/journal"\n[sinks.parquet]\npath = "data"\n')

    assert "overlap" in message


def test_other_machines_are_let_in_only_with_a_key_file() -> None:
    text = '[server]\nhost = "0.0.0.0"\n[auth]\napi_keys_file = "keys"\n'

    assert load(file(text), {}).auth.api_keys_file == Path("keys")
    for host in ("127.0.0.1", "127.8.0.1", "::1", "localhost"):
        assert load(None, {"PARQUET_SINK__SERVER__HOST": host}).server.on_loopback
    for host in ("::", "10.0.0.1", "example.org"):
        assert messages("", {"PARQUET_SINK__SERVER__HOST": host})


@pytest.mark.parametrize(
    "token", ["REPLACE-ME-replace-me", "changemechangeme", "short", "with space in the middle"]
)
def test_a_weak_or_placeholder_token_is_refused_and_not_shown(token: str) -> None:
    (message,) = messages(f'[auth]\nadmin_token = "{token}"\n')

    assert message.startswith("auth.admin_token: ")
    assert token not in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[sinks.p]\npath = "s3://bucket/x"\n[sinks.p.final]\nenabled = true',
            "objects in a bucket never change",
        ),
        (
            '[catalog]\ntype = "iceberg"\n[sinks.p]\npath = "p"\n[sinks.p.final]\nenabled = true',
            "with a catalog",
        ),
        (
            '[journal]\ntype = "kafka"\n[sinks.p]\npath = "p"\n[sinks.p.final]\nenabled = true',
            'type = "kafka"',
        ),
        ('[sinks.p]\npath = "p"\n[sinks.p.final]\nsort = ["payload"]', '"payload" is not a column'),
        ('[sinks.p]\npath = "p"\n[sinks.p.final]\nsort = ["level", "level"]', "named twice"),
        ('[sinks.p]\npath = "p"\n[sinks.p.final]\ncompression_level = 3', 'needs final.compression = "zstd"'),
        (
            '[sinks.p]\npath = "p"\n[sinks.p.final]\ncompression = "gzip"\ncompression_level = 12',
            "of gzip must be at most 9",
        ),
    ],
)
def test_a_final_form_that_cannot_be_is_refused(text: str, message: str) -> None:
    (said,) = messages(text)
    assert message in said


@pytest.mark.parametrize(
    ("text", "is_on"),
    [
        ("", True),
        ("[sinks.p]\npath = 'p'\n[sinks.p.final]\nenabled = false", False),
        ("[sinks.p]\npath = 's3://bucket/x'", False),
        ("[catalog]\ntype = 'iceberg'", False),
    ],
)
def test_files_are_laid_again_where_they_may_change(text: str, is_on: bool) -> None:
    settings = load(file(text), {})
    assert (plan_of(settings).policies.writer.final is not None) is is_on
    assert load(file(to_toml(settings), "printed.toml"), {}) == settings


# --- documents ----------------------------------------------------------------------------------------------


def test_the_example_holds_every_key_with_its_default() -> None:
    text = EXAMPLE.read_text("utf-8")
    keys = set(re.findall(r"^(?:# )?(\w+) = ", text, re.MULTILINE))
    known = {key for _, section in _leaf_sections(Settings().model_dump(mode="json")) for key in section}

    assert load(EXAMPLE, {}) == Settings()
    assert keys == known


def test_what_check_config_prints_is_read_back_to_the_same_settings() -> None:
    settings = load(
        file('[server]\nport = 1\ncors_origins = ["https://ä.example"]\nmax_body_size = "7KiB"\n'), {}
    )

    assert load(file(to_toml(settings), "printed.toml"), {}) == settings


def test_promotions_are_printed_as_they_are_read() -> None:
    text = (
        '[sinks.parquet]\npath = "p"\n[[sinks.parquet.promote]]\nkind = "events"\npath = \'$."a b".c\'\n'
        'name = "c"\ntype = "double"\n'
    )
    settings = load(file(text), {})

    assert [each.promotion.path for each in settings.sink.promote] == [("a b", "c")]
    assert load(file(to_toml(settings), "printed.toml"), {}) == settings


def test_a_secret_is_never_printed() -> None:
    settings = load(None, {"PARQUET_SINK__AUTH__ADMIN_TOKEN": "hunter2hunter2hunter2"})

    assert "hunter2" not in to_toml(settings)
    assert "hunter2" not in repr(settings)
    assert "admin_token is set" in to_toml(settings)


def test_the_readme_table_tells_the_true_defaults() -> None:
    rows = re.findall(
        r"^\| `([a-z_.<>]+)` \| `([^`]*)` \|", (REPOSITORY / "README.md").read_text("utf-8"), re.MULTILINE
    )
    example_values = tomllib.loads(EXAMPLE.read_text("utf-8"))
    assert len(rows) >= 15
    for dotted, shown in rows:
        value: Any = example_values
        for part in dotted.replace("<name>", "parquet").split("."):
            value = value.get(part, {})
        assert (json.dumps(value) if value != {} else "not set") == shown, dotted


def _leaf_sections(
    values: Mapping[str, Any], name: tuple[str, ...] = ()
) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    leaves = {key: value for key, value in values.items() if not isinstance(value, dict)}
    found = [(name, leaves)] if leaves else []
    for key, value in values.items():
        if isinstance(value, dict):
            found += _leaf_sections(value, (*name, key))
    return found


@pytest.mark.parametrize("folder", ["source=web", "Workspace_ID=7"])
def test_a_folder_that_engines_take_for_a_column_is_refused(folder: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="would read the folder"):
        load(environ={"PARQUET_SINK__SINKS__PARQUET__PATH": str(tmp_path / folder / "files")})


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_bytes(b"\xef\xbb\xbf[server]\nport = 9000\n")
    assert load(file, {}).server.port == 9000


def test_variables_that_match_no_key_are_named() -> None:
    environ = {
        "PARQUET_SINK_PATH": "x",
        "PARQUET_SINK_CONFIG": "x",
        "PARQUET_SINK__SERVER__PORT": "1",
        "PARQUET_SINK_SERVICE_HOST": "10.0.0.1",
        "PARQUET_SINK_PORT_8080_TCP": "tcp://10.0.0.1:8080",
    }
    assert unmatched_variables(environ) == ["PARQUET_SINK_PATH"]
