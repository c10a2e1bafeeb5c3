"""Writes the man page of the command line, from its own help.

python deploy/man_page.py [FILE]
"""

import os
import sys
from pathlib import Path

from argparse_manpage.manpage import Manpage

from app.cli import command_line

PAGE = Path(__file__).resolve().parent / "data" / "share" / "man" / "man1" / "parquet-sink.1"


def man_page() -> str:
    """The page, as wide as it is on every terminal, and without the day on which it was made."""
    os.environ["COLUMNS"] = "80"
    made = command_line()
    made.man_short_description = "receives batches over HTTP and writes them as Parquet files"  # type: ignore[attr-defined]
    page = Manpage(made)
    page.date = ""
    page.manual = "User Commands"
    return f"{page}\n"


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(man_page(), "utf-8")
