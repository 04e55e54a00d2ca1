"""The measures by name: what ``fedssl probe`` computes, and a round where the config asks."""

from typing import cast

from fedssl.base.registry import Registry
from fedssl.evaluation.alignment import Alignment
from fedssl.evaluation.augmented import Augmented
from fedssl.evaluation.base import CustomMeasureConfig, Measure, MeasureConfig
from fedssl.evaluation.cka import CKA
from fedssl.evaluation.embedding_maps import PCAMap, TSNEMap, UMAPMap
from fedssl.evaluation.finetune import FineTune, FineTuneHead
from fedssl.evaluation.harm import Harm
from fedssl.evaluation.knn import KNN
from fedssl.evaluation.ldawa_paper_probe import Paper
from fedssl.evaluation.lidar import LiDAR
from fedssl.evaluation.linear import Linear
from fedssl.evaluation.parallel import one_thread
from fedssl.evaluation.rankme import RankMe
from fedssl.evaluation.retrieval import Retrieval
from fedssl.evaluation.risk_decomposition import Risk
from fedssl.evaluation.selection import Selection
from fedssl.evaluation.sslmem import SSLMem
from fedssl.evaluation.subject import MeasureResult, Subject

MEASURES = Registry(
    "measure",
    "fedssl.measures",
    Measure,
    Linear,
    KNN,
    RankMe,
    Retrieval,
    Augmented,
    Paper,
    FineTune,
    FineTuneHead,
    LiDAR,
    Alignment,
    CKA,
    Risk,
    Harm,
    PCAMap,
    TSNEMap,
    UMAPMap,
    SSLMem,
    Selection,
    custom=CustomMeasureConfig,
)
"""The measures by name."""


def measure(section: MeasureConfig, subject: Subject) -> MeasureResult:
    """Compute one of `MEASURES`; the result does not depend on the number of cores.

    Raises
    ------
    ValueError
        The measure cannot be computed; the message starts with its name.

    Examples
    --------
    For a `Subject`::

        measured = measure(MEASURES["knn"].Config(), subject)
        print(measured.figures["knn_accuracy"])
    """
    try:
        chosen, config = MEASURES.resolve(section, "evaluation.measures")
    except ValueError as error:
        raise ValueError(f"{section.name}: {error}") from error
    return compute(chosen(cast(MeasureConfig, config)), subject)


def compute(chosen: Measure, subject: Subject) -> MeasureResult:
    """Compute a measure; see `measure`."""
    try:
        with one_thread():
            measured = chosen.measure(subject)
        _check(measured)
    except ValueError as error:
        raise ValueError(f"{chosen.config.name}: {error}") from error
    return measured


def _check(measured: object) -> None:
    """Raise a ValueError if a result of custom code cannot be a row of metrics."""
    if not isinstance(measured, MeasureResult):
        raise ValueError(f"gave a {type(measured).__name__}: it must be a MeasureResult")
    for name, value in measured.figures.items():
        if not name.isidentifier() or type(value) is not float:
            raise ValueError(
                f"gave the figure {name!r} = {value!r}: it must be a float with a name such as "
                "linear_accuracy"
            )


def check_of_a_round(chosen: type[Measure]) -> None:
    """Raise a ValueError if a measure needs whole runs."""
    if not chosen.of_a_round:
        raise ValueError("is of whole runs, not of a round: use `fedssl probe` once it is finished")
