"""The weighted nearest-neighbour classifier."""

from typing import ClassVar, Literal

from torch import Tensor
from torch.nn import functional as F

from fedssl.evaluation.base import Measure, MeasureConfig
from fedssl.evaluation.linear import accuracy
from fedssl.evaluation.metrics import ACCURACY
from fedssl.evaluation.parallel import map_chunks
from fedssl.evaluation.subject import MeasureResult, Subject

CHUNK = 512
"""The number of queries compared with all neighbours at a time."""


def predict_knn(
    features: Tensor, labels: Tensor, queries: Tensor, k: int, temperature: float
) -> Tensor:
    """Let the k nearest labelled features vote on each query's label.

    Near means a high cosine similarity s; a vote weighs e^{s/T}. Where there are fewer than k
    labelled features, all of them vote. The lowest of the labels with most votes is returned.

    Parameters
    ----------
    features : Tensor
        float32 [N, D].
    labels : Tensor
        int64 [N], not all of them -1; rows with label -1 are left out.
    queries : Tensor
        float32 [M, D], on the device of the features.
    k : int
        How many neighbours vote.
    temperature : float
        T > 0.

    Returns
    -------
    Tensor
        int64 [M].

    Source: Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination",
    CVPR 2018, section 3.4.

    Examples
    --------
    >>> import torch
    >>> features, labels = torch.eye(2), torch.tensor([0, 1])
    >>> predict_knn(features, labels, torch.tensor([[0.1, 0.9]]), k=1, temperature=0.07)
    tensor([1])
    """
    labelled = labels >= 0
    bank, votes_for = F.normalize(features[labelled]).T, labels[labelled]
    k, classes = min(k, len(votes_for)), int(votes_for.max()) + 1

    def work(rows: slice) -> Tensor:
        similarity, nearest = (F.normalize(queries[rows]) @ bank).topk(k, dim=1)
        # Weights relative to the nearest's: the same winner, and no overflow at a small T.
        weights = ((similarity - similarity[:, :1]) / temperature).exp()
        votes = weights.new_zeros(len(weights), classes)
        return votes.scatter_add_(1, votes_for[nearest], weights).argmax(1)

    return map_chunks(work, len(queries), CHUNK, features.device)


class KNN(Measure):
    """Without any fit: do neighbours share a class?"""

    class Config(MeasureConfig):
        """One of ``evaluation.measures``: kNN."""

        name: Literal["knn"] = "knn"
        """The name of this measure."""

    reports: ClassVar = {"knn_accuracy": ACCURACY}

    def measure(self, subject: Subject) -> MeasureResult:
        """Let the nearest labelled training examples vote; see `predict_knn`."""
        subject.need_labels()
        config = subject.config
        votes = predict_knn(
            subject.train_features,
            subject.train_labels,
            subject.test_features,
            k=config.knn_k,
            temperature=config.knn_temperature,
        )
        return MeasureResult({"knn_accuracy": accuracy(votes, subject.test_labels)})
