"""Builds what is published of a version: archives of the service and its client, an SBOM, checksums, notes.

    python deploy/release.py dist

From what is committed and nothing else, with the time of the commit in all archives: whoever builds the same
commit with the pinned flit-core gets the same bytes.
"""

import argparse
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
BUILD = (
    "import sys; from flit_core import buildapi as b; "
    "print(b.build_wheel(sys.argv[1])); print(b.build_sdist(sys.argv[1]))"
)


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=REPOSITORY, check=True, capture_output=True).stdout


def environment(commit: str) -> dict[str, str]:
    """Fixed, so that zone and locale of whoever builds are not to be seen in what is built."""
    time = git("show", "--no-patch", "--format=%ct", commit).decode().strip()
    fixed = {"SOURCE_DATE_EPOCH": time, "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    return {**os.environ, **fixed}


def build(commit: str, into: Path) -> list[Path]:
    """The archives of a commit, in `into`."""
    into.mkdir(parents=True, exist_ok=True)
    built = []
    with tempfile.TemporaryDirectory() as directory:
        with tarfile.open(fileobj=io.BytesIO(git("archive", commit))) as archive:
            archive.extractall(directory, filter="data")
        for source in (Path(directory), Path(directory) / "client"):
            done = subprocess.run(
                [sys.executable, "-c", BUILD, str(into.resolve())],
                cwd=source,
                env=environment(commit),
                check=True,
                stdout=subprocess.PIPE,
                text=True,
            )
            built += [into / name for name in done.stdout.split()]
    return built


def sbom(commit: str, into: Path) -> Path:
    """What the service depends on, from its lock, as CycloneDX JSON."""
    written = into / "parquet-sink.cdx.json"
    with tempfile.TemporaryDirectory() as directory:
        for name in ("requirements.lock", "pyproject.toml"):
            (Path(directory) / name).write_bytes(git("show", f"{commit}:{name}"))
        options = ["--pyproject", "pyproject.toml", "--output-reproducible", "--short-PURLs", "--of", "JSON"]
        subprocess.run(
            [
                *(sys.executable, "-W", "ignore", "-m", "cyclonedx_py", "requirements", *options),
                *("--output-file", str(written.resolve()), "requirements.lock"),
            ],
            cwd=directory,
            env=environment(commit),
            check=True,
        )
    return written


def changes(commit: str) -> str:
    """The section of CHANGELOG.md of the version that is built."""
    project = tomllib.loads(git("show", f"{commit}:pyproject.toml").decode())["project"]
    text = git("show", f"{commit}:CHANGELOG.md").decode()
    found = re.search(rf"^## {re.escape(project['version'])}\b.*?\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    if found is None:
        raise SystemExit(f"CHANGELOG.md has no section for version {project['version']}")
    return found[1].strip() + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("into", type=Path, help="directory of the archives")
    parser.add_argument("--commit", default="HEAD", help="default: HEAD")
    options = parser.parse_args(arguments)
    if options.commit == "HEAD" and git("status", "--porcelain", "--untracked-files=no"):
        print("what is not committed is not built", file=sys.stderr)
    built = sorted([*build(options.commit, options.into), sbom(options.commit, options.into)])
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in built)
    (options.into / "SHA256SUMS").write_text(sums)
    (options.into / "CHANGES.md").write_text(changes(options.commit))
    print(sums, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
