"""Where a worker process begins. Imports little, so that what must come first does."""

import os
from typing import Any

from app.run.without_pandas import do_without_pandas


def run_worker(*arguments: Any) -> None:
    """Arguments of `app.run.worker_process.serve_worker`."""
    os.setpgrp()  # a terminal's Ctrl-C is for the main process, which stops the workers in their turn
    do_without_pandas()
    from app.run.worker_process import serve_worker

    serve_worker(*arguments)
