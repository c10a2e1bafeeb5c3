"""Front ends, writers and brokers killed under load; `make torture-kafka` kills many more."""

from pathlib import Path

import pytest

from tests.torture.kafka_campaign import campaign


@pytest.mark.heavy
@pytest.mark.timeout(300)
def test_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    result = campaign(8, 20261122, tmp_path)

    assert result.passed, f"{result}\n" + "\n".join(result.violations[:10])
    assert result.fired.keys() == {"front", "writer", "broker"}
    assert result.accepted_rows > 1000
