"""Usage and quotas with a Kafka journal: each process knows only its own part."""

from collections.abc import Callable, Sequence

from app.commit.quota import Quotas
from app.commit.usage import UsageByDay
from app.parquet.data_file import DataFile
from app.run.usage_files import usage_of_files


class KafkaAccounts:
    """quotas: for batches taken by this process. files: all published files."""

    def __init__(self, quotas: Quotas, files: Callable[[], Sequence[DataFile]]) -> None:
        self.quotas = quotas
        self._files = files

    def of_days(self, days: Sequence[str]) -> UsageByDay:
        """Rows in files, by day; rows that are only in Kafka are not counted yet."""
        published = usage_of_files(self._files())
        return {day: published[day] for day in days if day in published}
