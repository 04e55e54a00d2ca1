"""Maps: PCA against scikit-learn's, and what a map tells of each example."""

import importlib.util

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from fedssl.evaluation.embedding_maps import PCAMap, TSNEMap, UMAPMap, pca
from tests.tools.evaluation import Noisy, a_subject, color_splits, rng


def test_pca_is_scikit_learns() -> None:
    x = torch.randn(50, 6, generator=rng()) * torch.tensor([5.0, 3, 2, 1, 1, 1]) + 4
    places, share = pca(x)
    oracle = PCA(2).fit(x.double().numpy())
    expected = oracle.transform(x.double().numpy())
    signs = np.sign((places.numpy() * expected).sum(0))
    np.testing.assert_allclose(places.numpy(), signs * expected, atol=1e-8)
    np.testing.assert_allclose(share.numpy(), oracle.explained_variance_ratio_)


def test_features_along_one_line_lie_on_one() -> None:
    x = torch.linspace(-1, 1, 9)[:, None] * torch.tensor([3.0, -4.0])
    places, share = pca(x)
    # Mirrored so that the larger weight, that of the second feature, is positive.
    torch.testing.assert_close(places[:, 0], -5 * torch.linspace(-1, 1, 9, dtype=torch.float64))
    torch.testing.assert_close(share, torch.tensor([1.0, 0.0], dtype=torch.float64))
    assert pca(torch.ones(4, 3))[1].tolist() == [0, 0]


def test_a_map_names_class_and_client_of_each_example() -> None:
    found = PCAMap(PCAMap.Config()).measure(a_subject(Noisy(), owner=np.arange(90) % 4))
    assert np.shape(found.details["places"]) == (90, 2)
    assert found.details["clients"] == (np.arange(90) % 4).tolist()
    assert found.details["labels"] == (np.arange(90) % 3).tolist()
    unlabelled = PCAMap(PCAMap.Config()).measure(a_subject(Noisy(), color_splits(labelled=False)))
    assert set(unlabelled.details["labels"]) == set(unlabelled.details["clients"]) == {-1}


def test_tsne_is_the_same_each_time_and_umap_says_what_it_lacks() -> None:
    subject = a_subject(Noisy())
    first, second = (
        np.array(TSNEMap(TSNEMap.Config()).measure(subject).details["places"]) for _ in range(2)
    )
    assert first.shape == (90, 2)
    np.testing.assert_array_equal(first, second)
    if importlib.util.find_spec("umap") is None:
        with pytest.raises(ValueError, match="umap-learn"):
            UMAPMap(UMAPMap.Config()).measure(subject)
    else:
        assert np.shape(UMAPMap(UMAPMap.Config()).measure(subject).details["places"]) == (90, 2)
