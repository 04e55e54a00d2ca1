"""A map: features in two dimensions, to look at."""

import importlib
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from fedssl.base.seeding import derive_seed
from fedssl.data.select import balanced
from fedssl.evaluation.base import Measure, MeasureConfig
from fedssl.evaluation.features import extract
from fedssl.evaluation.metrics import MetricDescription
from fedssl.evaluation.subject import MeasureResult, Subject

EXAMPLES = 2_000
"""At most so many training examples, as even over the classes as they allow."""


def pca(features: Tensor, width: int = 2) -> tuple[Tensor, Tensor]:
    """Return the first principal components, and the share of the variance in each.

    Parameters
    ----------
    features : Tensor
        float [N, D], N and D at least ``width``.
    width : int
        How many components.

    Returns
    -------
    tuple[Tensor, Tensor]
        float64 [N, width]: the centred features along the directions of most variance, each
        mirrored so that its largest weight is positive; float64 [width], 0 where all features are
        one.

    Examples
    --------
    >>> places, share = pca(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [3.0, 0.0]]), width=1)
    >>> places.flatten().tolist(), share.tolist()
    ([0.0, -2.0, 2.0], [1.0])
    """
    x = features.double()
    x = x - x.mean(0)
    _, sigma, directions = torch.linalg.svd(x, full_matrices=False)
    chosen = directions[:width]
    largest = chosen.gather(1, chosen.abs().argmax(1, keepdim=True))
    share = sigma.square() / sigma.square().sum().clamp(min=torch.finfo(x.dtype).tiny)
    return x @ (chosen * torch.where(largest < 0, -1.0, 1.0)).T, share[:width]


class PCAMap(Measure):
    """To look at: features in two dimensions, by PCA."""

    class Config(MeasureConfig):
        """One of ``evaluation.measures``: a map by PCA."""

        name: Literal["map"] = "map"
        """The name of this measure."""

    labels = False
    reports: ClassVar = {"pca_variance": MetricDescription(unit="share")}

    def measure(self, subject: Subject) -> MeasureResult:
        """Map training examples by PCA: linear, so distances mean what they seem to."""
        features, details = _chosen(subject)
        places, share = pca(features)
        figures = {"pca_variance": share.sum().item()}
        return MeasureResult(figures, {**details, "places": places.tolist()})


class TSNEMap(Measure):
    """The same by t-SNE (needs pip install 'fedssl[maps]')."""

    class Config(MeasureConfig):
        """One of ``evaluation.measures``: a map by t-SNE."""

        name: Literal["map-tsne"] = "map-tsne"
        """The name of this measure."""

    labels = False

    def measure(self, subject: Subject) -> MeasureResult:
        """Map by t-SNE, which keeps neighbours together; distances between groups mean nothing.

        Source: van der Maaten and Hinton, "Visualizing Data using t-SNE", JMLR 2008;
        scikit-learn's.
        """
        manifold = _installed("sklearn.manifold", "scikit-learn")
        return _mapped(
            subject,
            lambda count, seed: manifold.TSNE(
                perplexity=min(30, (count - 1) / 3), init="pca", random_state=seed
            ),
        )


class UMAPMap(Measure):
    """The same by UMAP (needs pip install 'fedssl[maps]')."""

    class Config(MeasureConfig):
        """One of ``evaluation.measures``: a map by UMAP."""

        name: Literal["map-umap"] = "map-umap"
        """The name of this measure."""

    labels = False

    def measure(self, subject: Subject) -> MeasureResult:
        """Map by UMAP, which keeps neighbours together; distances between groups mean little.

        Source: McInnes, Healy and Melville, "UMAP: Uniform Manifold Approximation and Projection
        for Dimension Reduction", 2018; umap-learn's.
        """
        umap = _installed("umap", "umap-learn")
        return _mapped(
            subject,
            lambda count, seed: umap.UMAP(
                n_neighbors=min(15, count - 1), random_state=seed, n_jobs=1
            ),
        )


def _mapped(subject: Subject, reducer: Callable[[int, int], Any]) -> MeasureResult:
    features, details = _chosen(subject)
    # Both take seeds of 32 bits.
    seed = derive_seed(subject.seed, "measure map") % 2**32
    places = reducer(len(features), seed).fit_transform(features.cpu().numpy())
    return MeasureResult({}, {**details, "places": np.asarray(places, float).tolist()})


def _installed(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ValueError(
            f"needs {package}, which is not installed: pip install 'fedssl[maps]'"
        ) from error


def _chosen(subject: Subject) -> tuple[Tensor, dict[str, Any]]:
    """Return the features of the examples to map, and each one's class and client, −1 for none."""
    rows = balanced(subject.train.labels.numpy(), EXAMPLES)
    if len(rows) < 3:
        raise ValueError(
            f"needs at least three training examples to map, and there are {len(rows)}"
        )
    shown = subject.train.take(rows)
    features = extract(subject.encoder, shown.fetch(), subject.preparation)
    clients = np.full(len(rows), -1) if subject.owner is None else subject.owner[rows]
    names = {"client_names": list(subject.client_names)} if subject.client_names else {}
    return features, {
        **names,
        "labels": shown.labels.tolist(),
        "classes": list(shown.class_names),
        "clients": clients.tolist(),
    }
