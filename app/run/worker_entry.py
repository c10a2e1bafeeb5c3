"""The entry point of a worker process. Imports little, so that setup code runs first."""

import os
from typing import Any

from app.run.without_pandas import do_without_pandas


def run_worker(*arguments: Any) -> None:
    """Arguments of `app.run.worker_process.serve_worker`."""
    os.setpgrp()  # a terminal's Ctrl-C is for the main process, which stops the workers in their turn
    do_without_pandas()
    from app.run.worker_process import serve_worker

    serve_worker(*arguments)
