"""The measures by name: what ``fedssl probe`` computes, and a round where the config asks."""

from collections.abc import Callable
from dataclasses import dataclass

from fedssl.evaluation import (
    alignment,
    augmented,
    cka,
    finetune,
    harm,
    lidar,
    maps,
    paper,
    retrieval,
    risk,
    selection,
    sslmem,
    usual,
)
from fedssl.evaluation.parallel import one_thread
from fedssl.evaluation.subject import Measured, Subject


@dataclass(frozen=True)
class Measure:
    """A measure, and what it is for."""

    when: str
    """When to use it, in a line."""
    measure: Callable[[Subject], Measured]
    """Raises a ValueError, which says why, where it cannot be done."""
    labels: bool = True
    """Whether it needs labelled training and test examples."""
    of_a_round: bool = True
    """Whether a round can be measured so; else it wants whole runs."""


MEASURES: dict[str, Measure] = {
    "linear": Measure("The main figure: a linear classifier on frozen features.", usual.linear),
    "knn": Measure("Without any fit: do neighbours share a class?", usual.knn),
    "rankme": Measure("No labels: how many dimensions the features use.", usual.rank, labels=False),
    "retrieval": Measure("As a search sees it: mAP and recall@1, 5, 10.", retrieval.measure),
    "augmented": Measure("The linear probe, fitted on weak views, too.", augmented.measure),
    "paper": Measure(
        "The L-DAWA paper's probe: features before pooling, SGD, 100 epochs.", paper.measure
    ),
    "finetune": Measure("Few labels: the whole network tuned on 1 % and 10 %.", finetune.measure),
    "finetune-head": Measure("Few labels: the head alone, on the same.", finetune.measure_head),
    "lidar": Measure(
        "No labels: dimensions that tell examples apart, not their views.",
        lidar.measure,
        labels=False,
    ),
    "alignment": Measure(
        "No labels: alignment and uniformity, which contrastive losses trade.",
        alignment.measure,
        labels=False,
    ),
    "cka": Measure(
        "How far clients' data pull their encoders apart in a round.", cka.measure, labels=False
    ),
    "risk": Measure("Where the probe's error comes from, in three parts.", risk.measure),
    "harm": Measure("Who is served worst: accuracy by class and by client.", harm.measure),
    "map": Measure("To look at: features in two dimensions, by PCA.", maps.measure, labels=False),
    "map-tsne": Measure(
        "The same by t-SNE (needs pip install 'fedssl[maps]').", maps.measure_tsne, labels=False
    ),
    "map-umap": Measure(
        "The same by UMAP (needs pip install 'fedssl[maps]').", maps.measure_umap, labels=False
    ),
    "sslmem": Measure(
        "What is remembered of single examples; needs a run without them, --against.",
        sslmem.measure,
        labels=False,
        of_a_round=False,
    ),
    "selection": Measure(
        "Which round, or run of --against, RankMe or LiDAR would pick.",
        selection.measure,
        labels=False,
        of_a_round=False,
    ),
}
"""The measures by name."""


def measure(name: str, subject: Subject) -> Measured:
    """Compute a measure of `MEASURES`, the same bits whatever the number of cores.

    Raises
    ------
    ValueError
        It cannot be done; the message starts with the name.
    """
    try:
        with one_thread():
            return MEASURES[name].measure(subject)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
