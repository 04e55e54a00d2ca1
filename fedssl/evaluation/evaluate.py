"""The central evaluation: its examples, and all its measures."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from fedssl.data.dataset import Dataset, Splits
from fedssl.data.select import balanced, hold_out
from fedssl.evaluation.base import MeasureConfig
from fedssl.evaluation.config import EvaluationConfig
from fedssl.evaluation.knn import KNN
from fedssl.evaluation.linear import Linear
from fedssl.evaluation.measures import compute, measure
from fedssl.evaluation.parallel import one_thread
from fedssl.evaluation.rankme import RankMe
from fedssl.evaluation.recalibrate import Recalibrated
from fedssl.evaluation.subject import Gathered, Measured, NotFiniteError, Subject

RECALIBRATION_EXAMPLES = 2048
"""How many training examples BatchNorm statistics are measured on."""


DEFAULT = (RankMe(RankMe.Config()), Linear(Linear.Config()), KNN(KNN.Config()))
"""The measures of every evaluated round; without labels those that need none."""
RECALIBRATED = Recalibrated(Recalibrated.Config())
"""One more, where the settings ask for it."""


def gather(splits: Splits, config: EvaluationConfig) -> Gathered:
    """Choose the examples of the central evaluation, the same for every round, and fetch them."""
    train, labels = splits.train, splits.train.labels.numpy()
    labelled = np.flatnonzero(labels >= 0)
    none = np.full(len(train) if config.recalibrate_bn else 0, -1)
    recalibration = train.fetch(balanced(none, RECALIBRATION_EXAMPLES))
    scored, among = splits.test, np.arange(len(splits.test))
    if config.split == "validation":
        kept, held = hold_out(labels[labelled])
        scored, among, labelled = train, labelled[held], labelled[kept]
    rows = labelled[balanced(labels[labelled], config.limit.train)]
    return Gathered(
        _take(train, rows),
        _take(scored, among[balanced(scored.labels.numpy()[among], config.limit.test)]),
        rows,
        recalibration,
    )


def _take(dataset: Dataset, index: np.ndarray) -> Dataset:
    """Take the examples at ``index``, ascending, but copy nothing where all are in memory."""
    whole = len(index) == len(dataset) and isinstance(dataset.examples, Tensor)
    return dataset if whole else dataset.take(index)


def evaluate(subject: Subject, further: Sequence[MeasureConfig] = ()) -> Measured:
    """Measure a frozen encoder as each evaluated round does: by the default measures and others.

    All look at one subject, whose features are extracted once. The bits are the same whatever the
    number of cores.

    Parameters
    ----------
    subject : Subject
        The encoder, and the examples by the same settings.
    further : Sequence[MeasureConfig] (default: ())
        Those of ``evaluation.measures``.

    Returns
    -------
    Measured
        ``rankme`` of the features of all test examples (after the limit, so of a fixed number);
        where both parts have labels also ``linear_accuracy`` and ``knn_accuracy``, in [0, 1], with
        ``recalibrate_bn`` ``linear_accuracy_recalibrated``, and the linear probe's predictions;
        then the figures of the further measures.

    Raises
    ------
    ValueError
        Features are infinite or NaN, a measure cannot be taken, or two of the further ones give
        different figures of one name.
    """
    with one_thread():
        _extract(subject)
        default = [
            (chosen.config, compute(chosen, subject))
            for chosen in (*DEFAULT, *([RECALIBRATED] if subject.config.recalibrate_bn else []))
            if subject.is_labelled or not chosen.labels
        ]
        figures: dict[str, float] = {}
        for section in further:
            known = (measured for config, measured in default if config == section)
            measured = next(known, None) or measure(section, subject)
            for name, value in measured.figures.items():
                if figures.setdefault(name, value) != value:
                    raise ValueError(
                        f"evaluation.measures: {section.name} gives another {name} than one before "
                        "it; leave one out"
                    )
    usual = {name: value for _, measured in default for name, value in measured.figures.items()}
    predictions = (measured.predictions for _, measured in default)
    return Measured(
        usual | figures, predictions=next((p for p in predictions if p is not None), None)
    )


def _extract(subject: Subject) -> None:
    """Extract the test examples' features, which says whether the training has diverged."""
    try:
        _ = subject.test_features
    except NotFiniteError as error:
        raise ValueError(
            "the encoder's features became infinite or NaN: try a lower client.lr or set "
            "client.clip_norm"
        ) from error
