import pytest

from tests.benchmarks import million


@pytest.mark.slow
def test_a_million_clients_are_measured() -> None:
    assert all(figure.value is not None and figure.value > 0 for figure in million.start())
