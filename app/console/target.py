"""Which service a command talks to, and with which credentials."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from app.load.connection import Connection

URL_VARIABLE: Final = "PARQUET_SINK_URL"
KEY_VARIABLE: Final = "PARQUET_SINK_KEY"
TOKEN_VARIABLE: Final = "PARQUET_SINK_TOKEN"

DEFAULT_URL: Final = "http://127.0.0.1:8080"
DEVELOPMENT_KEYS: Final = "api-keys.txt"

TIMEOUT_S: Final = 120.0


class CommandFailed(Exception):
    """A command failed. The message says what to do; code: the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def target_arguments(*, key_only: bool = False) -> argparse.ArgumentParser:
    """A parent parser with the options that name a service. key_only: the command has no use for the admin
    token."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--url", help=f"address of the service; default: {URL_VARIABLE}, else {DEFAULT_URL}")
    parser.add_argument(
        "--key",
        help=f"a workspace's API key; default: {KEY_VARIABLE}, else the key in {DEVELOPMENT_KEYS} in the "
        "working directory, if its keys are for one workspace",
    )
    if not key_only:
        parser.add_argument("--token", help=f"the admin token, for all workspaces; default: {TOKEN_VARIABLE}")
    return parser


def connection(
    options: argparse.Namespace, environ: Mapping[str, str], timeout_s: float = TIMEOUT_S
) -> Connection:
    """A connection to the service that the options name. Raises CommandFailed."""
    credential = credential_of(options, environ)
    try:
        return Connection(options.url or environ.get(URL_VARIABLE) or DEFAULT_URL, credential, timeout_s)
    except ValueError as error:
        raise CommandFailed(f"--url: {error}") from None


def credential_of(options: argparse.Namespace, environ: Mapping[str, str]) -> str:
    """A token, else a key, else nothing; the command line overrides the environment."""
    given = getattr(options, "token", None) or options.key
    if given:
        return str(given)
    if hasattr(options, "token") and environ.get(TOKEN_VARIABLE):
        return environ[TOKEN_VARIABLE]
    return environ.get(KEY_VARIABLE) or _development_key(Path(DEVELOPMENT_KEYS))


def _development_key(path: Path) -> str:
    from app.api.api_keys import KeyFileError
    from app.api.key_file import list_keys

    try:
        lines = list_keys(path) if path.is_file() else []
    except KeyFileError:
        return ""
    return lines[-1].key if len({line.workspace_id for line in lines}) == 1 else ""
