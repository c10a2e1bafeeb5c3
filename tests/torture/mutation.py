"""A copy of the sources without one protection, and the part of the suite that is to fail there."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from tests.support.service import REPOSITORY

SECONDS_MAX: Final = 300
COPIED: Final = ("app", "tests", "pyproject.toml", "docs", "openapi")


class Mutant(msgspec.Struct, frozen=True):
    """In `file`, the first `text` becomes `replacement`; `catcher` must fail then."""

    name: str
    file: str
    text: str
    replacement: str
    catcher: str


class Outcome(msgspec.Struct):
    """failed: the catcher has run, and has found something. said: the end of what it printed."""

    failed: bool
    passed: bool
    seconds: float
    said: str


def attempt(mutant: Mutant) -> Outcome:
    """Runs the catcher on sources without this protection. Raises ValueError where the text is not there."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "copy"
        _copy_sources(copy)
        changed = copy / mutant.file
        source = changed.read_text("utf-8")
        if mutant.text not in source:
            raise ValueError(f"{mutant.name}: {mutant.file} does not hold {mutant.text!r} any more")
        changed.write_text(source.replace(mutant.text, mutant.replacement, 1), "utf-8")
        return _run(mutant.catcher, copy)


def control(catcher: str) -> Outcome:
    """Runs a catcher on a copy with everything in it: it must pass there, or its failures say nothing."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "copy"
        _copy_sources(copy)
        return _run(catcher, copy)


def _run(catcher: str, copy: Path) -> Outcome:
    began = time.monotonic()
    module, *arguments = catcher.split()
    # Where CI is set, pytest takes minutes to lay out in full how two large values differ.
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "BUILD_NUMBER")}
    quick = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not heavy"] if module == "pytest" else []
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments, *quick],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(True, False, time.monotonic() - began, "does not come to an end")
    said = done.stdout + done.stderr
    failed = done.returncode == 1 and _has_run(said)
    return Outcome(failed, done.returncode == 0, time.monotonic() - began, said[-1500:])


def _has_run(said: str) -> bool:
    """Whether a failure is one of what the catcher looks at, and not that it could not begin."""
    if any(word in said for word in ("SyntaxError", "ImportError", "ModuleNotFoundError", "NameError")):
        return False
    return re.search(r"violations[ =][1-9]|[0-9]+ failed|[0-9]+ error|Traceback", said) is not None


def _copy_sources(target: Path) -> None:
    target.mkdir()
    for name in COPIED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, target / name)
        else:
            shutil.copy(source, target / name)


def table(mutants: Sequence[Mutant]) -> str:
    """Markdown, as it stands in docs/durability.md."""
    lines = ["| protection removed | in | caught by |", "|---|---|---|"]
    lines += [f"| {m.name} | `{m.file}` | `{m.catcher}` |" for m in mutants]
    return "\n".join(lines)
