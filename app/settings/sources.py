"""Where configuration values come from, and what to tell an operator about a wrong one."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from app.errors import ConfigurationError

DEFAULT_FILE: Final = "parquet-sink.toml"
FILE_VARIABLE: Final = "PARQUET_SINK_CONFIG"
VARIABLE_PREFIX: Final = "PARQUET_SINK__"

FILE_SUFFIX: Final = "file"
"""The last part of a variable that names a file holding the value: PARQUET_SINK__AUTH__ADMIN_TOKEN__FILE."""

SECRET_BYTES_MAX: Final = 64 << 10

_OF_KUBERNETES: Final = re.compile(r"PARQUET_SINK(_\w+)?_(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_\w+)?)")
"""Variables that Kubernetes sets for each Service whose name begins with parquet-sink."""

Key = tuple[str | int, ...]


@dataclass(frozen=True)
class Sources:
    """The merged values of file, environment and flags, and which of them came from a variable or flag.

    file: None when there is none. values: as Settings takes them.
    variables: name of the variable or flag by full key.
    """

    file: Path | None
    file_values: Mapping[str, Any]
    values: dict[str, Any]
    variables: Mapping[Key, str] = field(default_factory=dict)

    def file_has(self, section: str) -> bool:
        return section in self.file_values

    def of(self, key: Key) -> str:
        """Names the source of a value: its variable, else the file."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.variables:
                return self.variables[key[:length]]
        below = sorted(name for other, name in self.variables.items() if other[: len(key)] == key)
        named = ([str(self.file)] if self.file else []) + below
        return ", ".join(named) or "defaults"


def read_sources(config: Path | None, environ: Mapping[str, str], flags: Mapping[str, str]) -> Sources:
    """Finds and reads the file; variables override it, and flags override both. Raises ConfigurationError."""
    file = _find(config, environ)
    file_values = _read(file) if file else {}
    values = _copy(file_values)
    variables: dict[Key, str] = {}
    problems = []
    for key, variable, text in (*_variables(environ), *_flags(flags)):
        try:
            _set(values, key, _variable_value(text))
        except ValueError as error:
            problems.append(f"{'.'.join(key)}: {error} (in {variable})")
        variables[key] = variable
    if problems:
        raise ConfigurationError(problems)
    return Sources(file, file_values, values, variables)


def _variables(environ: Mapping[str, str]) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Key, name and text of each environment variable that is meant for the service.

    Others that begin with PARQUET_SINK_ are not: Kubernetes sets such variables for a Service called
    parquet-sink.
    """
    for variable in sorted(environ):
        if variable.startswith(VARIABLE_PREFIX):
            key = tuple(variable.removeprefix(VARIABLE_PREFIX).lower().split("__"))
            if key[-1] == FILE_SUFFIX:
                if "__".join([VARIABLE_PREFIX[:-2], *key[:-1]]).upper() in environ:
                    raise ConfigurationError(
                        [f"{variable}: {variable.rpartition('__')[0]} is set, too; set only one of them"]
                    )
                yield key[:-1], variable, _secret(Path(environ[variable]), variable)
            else:
                yield key, variable, environ[variable]


def _secret(path: Path, variable: str) -> str:
    """The text of a mounted secret, without the line feed that editors put behind it."""
    try:
        with path.open("rb") as file:
            raw = file.read(SECRET_BYTES_MAX + 1)
        if len(raw) > SECRET_BYTES_MAX:
            raise ConfigurationError([f"{variable}: {path} is larger than {SECRET_BYTES_MAX} bytes"])
        return raw.decode().rstrip("\r\n")
    except OSError as error:
        raise ConfigurationError([f"{variable}: {path} cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([f"{variable}: {path} is not UTF-8 text"]) from None


def unmatched_variables(environ: Mapping[str, str]) -> list[str]:
    """Variables that look as if they were meant for the service, but are not read."""
    return [
        name
        for name in sorted(environ)
        if name.startswith("PARQUET_SINK_")
        and not name.startswith(VARIABLE_PREFIX)
        and name != FILE_VARIABLE
        and not _OF_KUBERNETES.fullmatch(name)
    ]


def _flags(flags: Mapping[str, str]) -> Iterator[tuple[tuple[str, ...], str, str]]:
    for dotted, text in flags.items():
        key = tuple(dotted.split("."))
        yield key, f"--{key[-1]}", text


def file_in_use(config: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file that counts, whether or not it can be read."""
    return _find(config, environ)


def _find(config: Path | None, environ: Mapping[str, str]) -> Path | None:
    if config is not None:
        return config
    if environ.get(FILE_VARIABLE):
        return Path(environ[FILE_VARIABLE])
    default = Path(DEFAULT_FILE)
    return default if default.exists() else None


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigurationError([f"{file}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([f"{file}: not UTF-8 text"]) from None
    except (ValueError, RecursionError) as error:  # also numbers and nesting beyond Python's own limits
        raise ConfigurationError([f"{file}: not valid TOML: {error}"]) from None


def _copy(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, dict) else value for key, value in values.items()}


def _set(values: dict[str, Any], key: Sequence[str], value: Any) -> None:
    for part in key[:-1]:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise ValueError(f"{part} has a value of its own, so it cannot contain {key[-1]}")
    values[key[-1]] = value


def _variable_value(text: str) -> Any:
    if not text.lstrip().startswith("["):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"begins like a JSON list, but is not valid JSON: {error}") from None
