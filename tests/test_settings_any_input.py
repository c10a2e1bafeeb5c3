"""Whatever stands in the file or the environment: settings, or ConfigurationError with messages."""

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import ConfigurationError
from app.settings.settings import load

_PART: Final = st.sampled_from(["SERVER", "SINKS", "PARQUET", "PORT", "PATH", "CORS_ORIGINS", "0"]) | st.text(
    st.characters(categories=("L", "N", "P")), max_size=4
)
_NAME: Final = st.lists(_PART, max_size=4).map("__".join)
_TEXT: Final = st.sampled_from(["1", "[1]", "[[]]", "[{}]", "[", "10MB", "daily", "\0"]) | st.text(max_size=9)


@given(st.dictionaries(_NAME, _TEXT, max_size=5))
@example({"SINKS": "5"})
@example({"SINKS__PARQUET": "5"})
@example({"SINKS__PARQUET": "5", "SINKS__PARQUET__PATH": "p"})
@example({"SINKS__PARQUET__PATH__X": "p"})
@example({"": ""})
@example({"SERVER__PORT": "9" * 5000})
def test_any_environment(variables: dict[str, str]) -> None:
    _taken_or_refused(b"", {f"PARQUET_SINK__{name}": text for name, text in variables.items()})


@given(st.binary(max_size=60))
@example(b"sinks = 5")
@example(b"[sinks]\nparquet = 5")
@example(b"[sinks]")
@example(b"[sinks.parquet]\npath = {}")
@example(b"[server]\ncors_origins = [[1]]")
@example(b"[server]\nhost = [1]")
@example(b"[[server]]")
@example(b"server.port = nan")
@example(b"journal.path = 1979-05-27")
@example(b'journal.path = "\\u0000"')
@example(b"a = " + b"[" * 5000)
@example(b"a = " + b"9" * 5000)
def test_any_file(raw: bytes) -> None:
    _taken_or_refused(raw, {})


def _taken_or_refused(raw: bytes, environ: Mapping[str, str]) -> None:
    with tempfile.TemporaryDirectory() as directory, contextlib.suppress(ConfigurationError):
        file = Path(directory, "parquet-sink.toml")
        file.write_bytes(raw)
        load(file, environ)
