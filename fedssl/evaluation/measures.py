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
from fedssl.evaluation.subject import Measured, Subject

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


def measure(section: MeasureConfig, subject: Subject) -> Measured:
    """Compute one of `MEASURES`, the same bits whatever the number of cores.

    Raises
    ------
    ValueError
        It cannot be done; the message starts with the name.
    """
    try:
        chosen, config = MEASURES.resolve(section, "evaluation.measures")
    except ValueError as error:
        raise ValueError(f"{section.name}: {error}") from error
    return compute(chosen(cast(MeasureConfig, config)), subject)


def compute(chosen: Measure, subject: Subject) -> Measured:
    """Compute a measure; see `measure`."""
    try:
        with one_thread():
            measured = chosen.measure(subject)
        _check(measured)
    except ValueError as error:
        raise ValueError(f"{chosen.config.name}: {error}") from error
    return measured


def _check(measured: object) -> None:
    """Refuse what the code of a person's own gives that no row of figures can hold."""
    if not isinstance(measured, Measured):
        raise ValueError(f"gave a {type(measured).__name__}: it must be a Measured")
    for name, value in measured.figures.items():
        if not name.isidentifier() or type(value) is not float:
            raise ValueError(
                f"gave the figure {name!r} = {value!r}: it must be a float with a name such as "
                "linear_accuracy"
            )


def check_of_a_round(chosen: type[Measure]) -> None:
    """Raise a ValueError where a measure wants whole runs."""
    if not chosen.of_a_round:
        raise ValueError("is of whole runs, not of a round: use `fedssl probe` once it is finished")
