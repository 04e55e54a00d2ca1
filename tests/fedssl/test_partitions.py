"""How examples are shared out: laws by hypothesis, statistics against flwr-datasets."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fedssl.data import Dataset
from fedssl.partitions import (
    PARTITIONS,
    Counts,
    Partition,
)
from tests.tools.partitions import BALANCED, SECTION, dataset, share_out


def entropy(counts: np.ndarray) -> float:
    """The clients' mean label entropy, in nats."""
    shares = counts / counts.sum(1, keepdims=True).clip(1)
    return float(-(shares * np.log(np.where(shares > 0, shares, 1))).sum(1).mean())


NEEDS: dict[str, dict[str, Any]] = {
    "dirichlet": {"alpha": 0.5},
    "shards": {"shards_per_client": 2},
    "classes": {"classes_per_client": 2},
    "quantity": {"alpha": 1.0},
    "natural": {"field": "writer"},
}
"""What a partition cannot do without."""
EXTRA = {name: NEEDS.get(name, {}) for name in PARTITIONS}


@pytest.mark.parametrize("name", EXTRA)
@settings(deadline=None, max_examples=40)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=80),
    clients=st.integers(1, 12),
    minimum=st.integers(1, 3),
    seed=st.integers(0, 2**40),
)
def test_each_example_goes_to_one_client_or_the_field_at_fault_is_named(
    name: str, labels: list[int], clients: int, minimum: int, seed: int
) -> None:
    data = dataset(labels, writer=np.arange(len(labels)) % 15)
    section = {"name": name, "clients": clients, "minimum": minimum, **EXTRA[name]}
    refusal = ""
    try:
        parts = share_out(data, seed, **section)
    except ValueError as error:
        refusal = str(error)
    if refusal:
        assert refusal.startswith("partition.")
        return
    held = [parts.indices(client) for client in range(clients)]
    assert parts.clients == clients
    assert sorted(np.concatenate(held)) == list(range(len(labels)))
    assert all((np.diff(own) > 0).all() for own in held)
    assert parts.sizes().tolist() == [len(own) for own in held]
    assert parts.sizes().min() >= minimum
    for client, row in enumerate(parts.counts(np.array(labels), 5).dense()):
        assert row.tolist() == [sum(labels[i] == c for i in held[client]) for c in range(5)]
    again = share_out(data, seed, **section)
    assert np.array_equal(parts.order, again.order)
    assert np.array_equal(parts.offsets, again.offsets)


@pytest.mark.parametrize("name", ["iid", *NEEDS])
def test_the_seed_decides(name: str) -> None:
    data = dataset(BALANCED, writer=np.arange(600) % 40)
    section = {"name": name, "clients": 10, **EXTRA[name]}
    one, other = (share_out(data, seed, **section).order for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_unlabelled_examples_are_not_counted() -> None:
    labels = np.array([0, -1, 1, 0, -1])
    parts = Partition.of(np.array([0, 0, 0, 2, 2]), 3)
    assert parts.counts(labels, 2).dense().tolist() == [[1, 1], [0, 0], [1, 0]]


def test_counts_keep_only_cells_with_examples() -> None:
    table = np.random.default_rng(0).integers(0, 3, (50_000, 4))
    table[7] = 0
    client, label = table.nonzero()
    counts = Counts((50_000, 4), client, label, table[client, label])
    assert len(list(counts)) == len(client) > 100_000
    assert list(counts)[100_000] == (client[100_000], label[100_000], counts.examples[100_000])
    assert np.array_equal(counts.dense(), table)
    assert np.array_equal(counts.dense(30), table[:30])
    assert np.array_equal(counts.sizes(), table.sum(1))


def test_the_mixture_is_the_effective_number_of_classes() -> None:
    counts = Counts((4, 3), np.array([0, 0, 1, 3, 3, 3]), np.arange(6) % 3, np.array([2] * 6))
    assert counts.mixture() == pytest.approx([2, 1, 1, 3])


def test_counts_of_a_million_classes_take_the_memory_of_the_examples() -> None:
    labels = np.array([999_999, 3, 999_999])
    counts = Partition.of(np.array([1, 0, 1]), 1_000_000).counts(labels, 1_000_000)
    assert list(counts) == [(0, 3, 1), (1, 999_999, 2)]


def test_only_existing_clients_have_indices() -> None:
    parts = Partition.of(np.array([0, 1]), 2)
    for client in (-1, 2):
        with pytest.raises(ValueError, match="clients 0 to 1"):
            parts.indices(client)


def test_shards_are_equal_and_of_neighbouring_labels() -> None:
    parts = share_out(dataset(BALANCED), name="shards", clients=15, shards_per_client=2)
    counts = parts.counts(BALANCED, 10).dense()
    assert (parts.sizes() == 40).all()
    assert (counts % 20 == 0).all()  # 30 shards of 20, 3 to each class of 60
    assert ((counts > 0).sum(1) <= 2).all()


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(30, 40), min_size=1, max_size=7),
    clients=st.integers(1, 12),
    each=st.integers(1, 7),
    seed=st.integers(0, 2**40),
)
def test_classes_gives_exactly_so_many_and_covers_all(
    sizes: list[int], clients: int, each: int, seed: int
) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    section = {"name": "classes", "clients": clients, "classes_per_client": each, "minimum": 1}
    if each > len(sizes) or clients * each < len(sizes):
        with pytest.raises(ValueError, match=r"partition\.classes_per_client"):
            share_out(dataset(labels), seed, **section)
        return
    counts = share_out(dataset(labels), seed, **section).counts(labels, len(sizes)).dense()
    holders = (counts > 0).sum(0)
    assert ((counts > 0).sum(1) == each).all()
    assert np.ptp(holders) <= 1
    for column in counts.T:
        assert np.ptp(column[column > 0]) <= 1


def test_classes_are_dealt_anew_by_each_seed() -> None:
    """No pair of classes is favoured: over the seeds each pair meets about equally often."""
    labels = np.arange(400) % 4
    together = np.zeros((4, 4))
    for seed in range(300):
        parts = share_out(dataset(labels), seed, name="classes", clients=4, classes_per_client=2)
        held = (parts.counts(labels, 4).dense() > 0).astype(float)
        together += held.T @ held
    pairs = together[np.triu_indices(4, 1)]
    assert pairs.sum() == 1200
    assert pairs == pytest.approx(200, abs=60)


def test_natural_keeps_each_value_together() -> None:
    writer = np.random.default_rng(0).integers(0, 25, 500) * 7 + 3
    data = dataset(np.zeros(500), writer=writer)
    alone = share_out(data, name="natural", field="writer")
    values = np.unique(writer)
    assert alone.clients == len(values)
    for client, value in enumerate(values):
        assert alone.indices(client).tolist() == np.flatnonzero(writer == value).tolist()
    grouped = share_out(data, name="natural", field="writer", clients=10)
    held = [set(writer[grouped.indices(client)]) for client in range(10)]
    assert sum(map(len, held)) == len(set().union(*held)) == len(values)
    assert {len(own) for own in held} <= {2, 3}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            {"name": "iid", "clients": 9000},
            r"partition\.clients = 9000: more than the 600 .* at most 300 ",
        ),
        ({"name": "iid", "clients": 301}, r"partition\.clients = 301: .* at most 300 "),
        (
            {"name": "dirichlet", "clients": 20, "alpha": 0.01},
            r"partition\.minimum = 2: .* more than [01] examples.* larger alpha",
        ),
        (
            {"name": "quantity", "clients": 300, "alpha": 0.01},
            r"partition\.minimum = 2: .* more than 0 examples, and 2\d\d of 300 clients",
        ),
        (
            {"name": "shards", "clients": 10, "shards_per_client": 61},
            r"partition\.shards_per_client = 61: 610 shards of 600 examples; use at most 60",
        ),
        (
            {"name": "classes", "clients": 10, "classes_per_client": 11},
            r"partition\.classes_per_client = 11: .* only 10 classes",
        ),
        (
            {"name": "classes", "clients": 4, "classes_per_client": 2},
            r"partition\.classes_per_client = 2: .* all 10 classes; use at least 3",
        ),
        (
            {"name": "classes", "clients": 70, "classes_per_client": 10},
            r"partition\.classes_per_client = 10: class 0 has 60 examples for 70 clients",
        ),
        ({"name": "natural"}, r"partition\.field is missing: the data set has writer"),
        ({"name": "natural", "field": "hospital"}, r"partition\.field = hospital: .* has writer"),
        (
            {"name": "natural", "field": "writer", "clients": 41},
            r"partition\.clients = 41: writer has only 40 values",
        ),
        (
            {"name": "natural", "field": "writer", "minimum": 16},
            r"partition\.minimum = 16: .* only 15",
        ),
    ],
)
def test_what_cannot_be_done_names_the_field_and_the_fix(
    section: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        share_out(dataset(BALANCED, writer=np.arange(600) % 40), **section)


def test_natural_needs_a_column() -> None:
    with pytest.raises(ValueError, match="has no such columns"):
        share_out(dataset(BALANCED), name="natural", field="writer")


@pytest.mark.parametrize("name", ["dirichlet", "shards", "classes"])
def test_partitions_by_label_refuse_unlabelled_examples(name: str) -> None:
    data = dataset(np.where(np.arange(600) < 100, -1, BALANCED))
    with pytest.raises(ValueError, match=r"100 of the 600 .* use iid, quantity"):
        share_out(data, name=name, clients=10, **EXTRA[name])


@pytest.mark.parametrize("name", ["iid", "quantity"])
def test_other_partitions_take_unlabelled_examples(name: str) -> None:
    parts = share_out(dataset(np.full(600, -1)), name=name, clients=10, **EXTRA[name])
    assert parts.sizes().sum() == 600


@pytest.mark.parametrize(
    "section",
    [
        {"name": "iid"},
        {"name": "iid", "clients": 0},
        {"name": "iid", "clients": 3, "minimum": 0},
        {"name": "iid", "clients": 3, "alpha": 1.0},
        {"name": "dirichlet", "clients": 3},
        {"name": "dirichlet", "clients": 3, "alpha": 0.0},
        {"name": "dirichlet", "clients": 3, "alpha": float("inf")},
        {"name": "quantity", "clients": 3, "alpha": -1.0},
        {"name": "shards", "clients": 3, "shards_per_client": 0},
        {"name": "classes", "clients": 3, "classes_per_client": 0},
        {"name": "natural", "clients": 0, "field": "writer"},
        {"name": "zipf", "clients": 3},
    ],
)
def test_sections_that_make_no_sense_are_refused(section: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SECTION.validate_python(section)


def test_a_hundred_thousand_clients() -> None:
    labels = np.arange(2_000_000) % 10
    data = Dataset(torch.empty(len(labels), 0), torch.from_numpy(labels), tuple("0123456789"))
    parts = share_out(data, name="dirichlet", clients=100_000, alpha=10.0)
    assert parts.clients == 100_000
    assert parts.sizes().min() >= 2
    assert np.array_equal(parts.counts(labels, 10).dense().sum(0), np.full(10, 200_000))


# What follows compares with flwr-datasets, where it has the same rule.


@pytest.fixture(scope="module")
def flower() -> Callable[..., np.ndarray]:
    """Return a function that gives the counts [K, 10] of one of flwr-datasets' partitioners."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import datasets
        from flwr_datasets import partitioner

    def counts(kind: str, clients: int, labels: np.ndarray, **settings: Any) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = getattr(partitioner, kind)(num_partitions=clients, **settings)
            made.dataset = datasets.Dataset.from_dict({"label": labels})
            return np.stack(
                [
                    np.bincount(made.load_partition(client)["label"], minlength=10)
                    for client in range(clients)
                ]
            )

    return counts


def test_iid_has_the_sizes_of_flower(flower: Callable[..., np.ndarray]) -> None:
    labels = np.arange(607) % 10
    theirs = flower("IidPartitioner", 13, labels).sum(1)
    ours = share_out(dataset(labels), name="iid", clients=13).sizes()
    assert sorted(ours) == sorted(theirs)


def test_classes_has_the_shape_of_flower(flower: Callable[..., np.ndarray]) -> None:
    theirs = flower(
        "PathologicalPartitioner",
        20,
        BALANCED,
        partition_by="label",
        num_classes_per_partition=3,
        class_assignment_mode="deterministic",
    )
    ours = share_out(dataset(BALANCED), name="classes", clients=20, classes_per_client=3)
    counts = ours.counts(BALANCED, 10).dense()
    assert sorted(counts.ravel()) == sorted(theirs.ravel())
    assert sorted((counts > 0).sum(0)) == sorted((theirs > 0).sum(0))


def test_shards_has_the_shape_of_flower(flower: Callable[..., np.ndarray]) -> None:
    theirs, ours = [], []
    for seed in range(6):
        theirs.append(
            flower(
                "ShardPartitioner",
                15,
                BALANCED,
                partition_by="label",
                num_shards_per_partition=2,
                seed=seed,
            )
        )
        parts = share_out(dataset(BALANCED), seed, name="shards", clients=15, shards_per_client=2)
        ours.append(parts.counts(BALANCED, 10).dense())
    assert set(np.unique(ours)) == set(np.unique(theirs)) == {0, 20, 40}
    assert np.mean([entropy(c) for c in ours]) == pytest.approx(
        np.mean([entropy(c) for c in theirs]), abs=0.08
    )


@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_dirichlet_is_as_skewed_as_flower(flower: Callable[..., np.ndarray], alpha: float) -> None:
    labels = np.arange(1000) % 10
    theirs, ours = [], []
    for seed in range(10):
        theirs.append(
            flower(
                "DirichletPartitioner",
                8,
                labels,
                partition_by="label",
                alpha=alpha,
                min_partition_size=1,
                self_balancing=False,
                seed=seed,
            )
        )
        section = {"name": "dirichlet", "clients": 8, "alpha": alpha, "minimum": 1}
        ours.append(share_out(dataset(labels), seed, **section).counts(labels, 10).dense())
    for statistic in (entropy, lambda counts: counts.sum(1).std()):
        a, b = (np.array([statistic(counts) for counts in side]) for side in (ours, theirs))
        error = np.sqrt(a.var() / len(a) + b.var() / len(b))
        assert abs(a.mean() - b.mean()) < 4 * error
