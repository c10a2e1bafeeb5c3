"""Keeps pandas out of a process of the service."""

import sys


class _NoPandas:
    """An import hook that reports pandas as not installed."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError("the service does not use pandas", name=name)


def do_without_pandas() -> None:
    """pyarrow imports pandas if it is installed: 37 MB and half a second, although no DataFrame is used."""
    sys.meta_path.insert(0, _NoPandas())
