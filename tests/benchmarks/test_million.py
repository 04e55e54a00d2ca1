import pytest

from tests.benchmarks import million


@pytest.mark.slow
def test_a_million_clients_are_measured() -> None:
    assert all(
        measurement.value is not None and measurement.value > 0 for measurement in million.start()
    )
