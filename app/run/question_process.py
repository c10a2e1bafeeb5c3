"""The process of one query: see app.query.answer_process."""

import os
import sys

from app.query.answer_process import main
from app.run.without_pandas import do_without_pandas

if __name__ == "__main__":
    do_without_pandas()
    code = main()
    sys.stderr.flush()
    os._exit(code)  # without waiting for DuckDB and Arrow to clean up
