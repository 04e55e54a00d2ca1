"""Retrieval: do the examples nearest to a query show the same class?"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from fedssl.evaluation.base import Measure, MeasureConfig
from fedssl.evaluation.metrics import MetricDescription
from fedssl.evaluation.parallel import map_chunks
from fedssl.evaluation.subject import MeasureResult, Subject

RECALLS = (1, 5, 10)
"""The k of recall@k."""
CHUNK = 256
"""Queries that are compared with the whole gallery at a time."""


def retrieval(
    gallery: Tensor,
    labels: Tensor,
    queries: Tensor,
    query_labels: Tensor,
    recalls: Sequence[int] = RECALLS,
) -> Tensor:
    """Return mean average precision and recall@k of finding a query's class in a gallery.

    The gallery is ranked by cosine similarity, ties in the gallery's order. A query's average
    precision is the mean, over the places r of the examples of its class, of the share of its class
    among the first r; its recall@k is 1 where there is one among the first k, else 0 (as in metric
    learning; not the share of all that there are).

    Parameters
    ----------
    gallery : Tensor
        float [N, D].
    labels : Tensor
        int64 [N], −1 where unlabelled: never of a query's class.
    queries : Tensor
        float [M, D].
    query_labels : Tensor
        int64 [M]; queries without a label, or whose class is not in the gallery, are left out.
    recalls : Sequence[int]
        The k.

    Returns
    -------
    Tensor
        float64 [1 + len(recalls)]: mAP and each recall@k, in [0, 1].

    Raises
    ------
    ValueError
        No query is left.

    Source: Musgrave, Belongie and Lim, "A Metric Learning Reality Check", ECCV 2020, for the two
    measures; mAP here goes over the whole ranking, not their MAP@R.

    Examples
    --------
    >>> gallery, labels = torch.eye(2), torch.tensor([0, 1])
    >>> retrieval(gallery, labels, gallery, labels, recalls=[1]).tolist()
    [1.0, 1.0]
    """
    has_class = torch.isin(query_labels, labels[labels >= 0])
    if not has_class.any():
        raise ValueError("no test example has a class that a training example has, too")
    bank, queries, wanted_labels = (
        F.normalize(gallery).T,
        queries[has_class],
        query_labels[has_class],
    )
    places = torch.arange(1, len(labels) + 1, device=labels.device, dtype=torch.float64)

    def work(rows: slice) -> Tensor:
        order = (F.normalize(queries[rows]) @ bank).argsort(dim=1, descending=True, stable=True)
        hits = (labels[order] == wanted_labels[rows, None]).double()
        precision = hits.cumsum(1) / places
        average = (precision * hits).sum(1) / hits.sum(1)
        recall_hits = [hits[:, :k].amax(1) for k in recalls]
        return torch.stack([average, *recall_hits], 1)

    return map_chunks(work, len(queries), CHUNK, gallery.device).mean(0)


class Retrieval(Measure):
    """As a search sees it: mAP and recall@1, 5, 10."""

    class Config(MeasureConfig):
        """One of ``evaluation.measures``: retrieval."""

        name: Literal["retrieval"] = "retrieval"
        """The name of this measure."""

    reports: ClassVar = {
        name: MetricDescription(unit="share", better="higher")
        for name in ("retrieval_map", *(f"recall_at_{k}" for k in RECALLS))
    }

    def measure(self, subject: Subject) -> MeasureResult:
        """Search each test example's class among the labelled training examples."""
        subject.need_labels()
        average, *recalls = retrieval(
            subject.train_features, subject.train_labels, subject.test_features, subject.test_labels
        ).tolist()
        return MeasureResult(
            {
                "retrieval_map": average,
                **{f"recall_at_{k}": value for k, value in zip(RECALLS, recalls, strict=True)},
            }
        )
