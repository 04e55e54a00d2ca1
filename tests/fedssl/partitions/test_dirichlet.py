import numpy as np
import pytest

from tests.tools.partitions import BALANCED, dataset, share_out


def test_dirichlet_follows_its_rule_literally() -> None:
    """The cut of one class is at the floors of the cumulative shares, for shares that we know."""
    from fedssl.partitions import dirichlet

    class Known:
        def standard_gamma(self, shape: float, size: int) -> np.ndarray:
            return np.array([1.0, 2.0, 4.0, 3.0])

        def standard_exponential(self, size: int) -> np.ndarray:
            return np.zeros(size)

        def permutation(self, values: np.ndarray) -> np.ndarray:
            return values

    owner = dirichlet._cut_by_dirichlet([np.arange(37)], 4, 0.5, 1, Known())  # type: ignore[arg-type]
    ends = np.floor(np.cumsum([0.1, 0.2, 0.4, 0.3]) * 37).astype(int)
    assert owner.tolist() == [sum(place >= end for end in ends[:-1]) for place in range(37)]


@pytest.mark.parametrize("alpha", [0.05, 1.0, 30.0])
def test_dirichlet_shares_have_the_moments_of_the_law(alpha: float) -> None:
    from fedssl.partitions.dirichlet import _dirichlet

    random = np.random.default_rng(0)
    clients = 5
    shares = np.stack([_dirichlet(clients, alpha, random) for _ in range(4000)])
    mean = 1 / clients
    variance = mean * (1 - mean) / (clients * alpha + 1)
    assert shares.sum(1) == pytest.approx(np.ones(4000))
    assert shares.mean(0) == pytest.approx(mean, abs=5 * np.sqrt(variance / 4000))
    assert shares.var(0) == pytest.approx(variance, rel=0.15)


def test_a_tiny_alpha_gives_each_class_to_one_client() -> None:
    parts = share_out(dataset(np.arange(4000) % 40), name="dirichlet", clients=2, alpha=1e-6)
    counts = parts.counts(np.arange(4000) % 40, 40).dense()
    assert np.isin(counts, [0, 100]).all()


def test_a_huge_alpha_gives_each_client_the_same() -> None:
    parts = share_out(dataset(BALANCED), name="dirichlet", clients=6, alpha=1e9)
    assert np.ptp(parts.counts(BALANCED, 10).dense()) <= 2
    sizes = share_out(dataset(BALANCED), name="quantity", clients=6, alpha=1e9).sizes()
    assert np.ptp(sizes) <= 2


def test_quantity_skews_sizes_but_not_labels() -> None:
    labels = np.arange(20000) % 4
    parts = share_out(dataset(labels), name="quantity", clients=10, alpha=0.5, minimum=20)
    sizes = parts.sizes()
    assert sizes.max() > 3 * sizes.min()
    largest = parts.counts(labels, 4).dense()[sizes.argmax()]
    # Chi-square with 3 degrees of freedom: above 16.3 once in a thousand.
    assert ((largest - largest.mean()) ** 2 / largest.mean()).sum() < 16.3
