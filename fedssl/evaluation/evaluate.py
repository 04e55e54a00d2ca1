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
from fedssl.evaluation.subject import EvaluationExamples, MeasureResult, NotFiniteError, Subject

RECALIBRATION_EXAMPLES = 2048
"""The number of training examples on which BatchNorm statistics are re-estimated."""


DEFAULT = (RankMe(RankMe.Config()), Linear(Linear.Config()), KNN(KNN.Config()))
"""The measures of every evaluated round; without labels only those that need none."""
RECALIBRATED = Recalibrated(Recalibrated.Config())
"""The measure that ``recalibrate_bn`` adds."""


def gather(splits: Splits, config: EvaluationConfig) -> EvaluationExamples:
    """Choose the examples of the central evaluation, the same for every round, and fetch them.

    Examples
    --------
    >>> import torch
    >>> dataset = Dataset(torch.zeros(4, 1), torch.tensor([0, 0, 1, -1]), ("cat", "dog"))
    >>> examples = gather(Splits(dataset, dataset), EvaluationConfig(limit={"test": 2}))
    >>> len(examples.train), len(examples.test)  # probes are fitted on labelled examples
    (3, 2)
    """
    train, labels = splits.train, splits.train.labels.numpy()
    labelled = np.flatnonzero(labels >= 0)
    none = np.full(len(train) if config.recalibrate_bn else 0, -1)
    recalibration = train.fetch(balanced(none, RECALIBRATION_EXAMPLES))
    scored, among = splits.test, np.arange(len(splits.test))
    if config.split == "validation":
        kept, held = hold_out(labels[labelled])
        scored, among, labelled = train, labelled[held], labelled[kept]
    rows = labelled[balanced(labels[labelled], config.limit.train)]
    return EvaluationExamples(
        _take(train, rows),
        _take(scored, among[balanced(scored.labels.numpy()[among], config.limit.test)]),
        rows,
        recalibration,
    )


def _take(dataset: Dataset, index: np.ndarray) -> Dataset:
    """Take the examples at ``index``, ascending; without a copy if these are all, in memory."""
    takes_all = len(index) == len(dataset) and isinstance(dataset.examples, Tensor)
    return dataset if takes_all else dataset.take(index)


def evaluate(subject: Subject, further: Sequence[MeasureConfig] = ()) -> MeasureResult:
    """Measure a frozen encoder as each evaluated round does: by the default measures and others.

    Features are extracted once. The result does not depend on the number of cores.

    Parameters
    ----------
    subject : Subject
        The encoder, and examples chosen by the same settings.
    further : Sequence[MeasureConfig] (default: ())
        The measures of ``evaluation.measures``.

    Returns
    -------
    MeasureResult
        ``rankme`` of the features of all test examples (after the limit, so of a fixed number);
        where both parts have labels also ``linear_accuracy`` and ``knn_accuracy``, in [0, 1], with
        ``recalibrate_bn`` ``linear_accuracy_recalibrated``, and the linear probe's predictions;
        then the figures of the further measures.

    Raises
    ------
    ValueError
        Features are infinite or NaN, a measure cannot be taken, or two of the further ones give
        different figures of one name.

    Examples
    --------
    For a `Subject`::

        result = evaluate(subject, [MEASURES["lidar"].Config()])
        print(f"{result.figures['linear_accuracy']:.1%}, {result.figures['lidar']:.1f} dimensions")
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
    default_figures = {
        name: value for _, measured in default for name, value in measured.figures.items()
    }
    predictions = (measured.predictions for _, measured in default)
    return MeasureResult(
        default_figures | figures, predictions=next((p for p in predictions if p is not None), None)
    )


def _extract(subject: Subject) -> None:
    """Extract the test examples' features; a ValueError if training has diverged."""
    try:
        _ = subject.test_features
    except NotFiniteError as error:
        raise ValueError(
            "the encoder's features became infinite or NaN: try a lower client.lr or set "
            "client.clip_norm"
        ) from error
