"""Does a measure keep its contract?"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn

from fedssl.base.config_file import validate
from fedssl.base.seeding import seeded_initialisation
from fedssl.data import Dataset, Splits
from fedssl.evaluation import (
    MEASURES,
    EvaluationConfig,
    Measure,
    MeasureConfig,
    MeasureResult,
    Subject,
    gather,
    measure,
)
from fedssl.model_state import clone
from fedssl.testing.setting import CLASSES, IMAGES, labels
from fedssl.testing.shared import (
    check_documented,
    check_section,
    find_plugin,
    nothing_drawn,
    require,
    require_same,
)

TRAIN, TEST = 30, 15
CLIENTS = 3
OF_A_ROUND = frozenset(
    {
        *("round", "cohort", "failed", "failed_reasons", "clipped", "train_loss"),
        *("bytes_up", "bytes_down", "seconds", "train_seconds", "merge_seconds"),
        *("evaluate_seconds", "client_seconds"),
    }
)
"""The figures that every round has, whatever is measured."""


def check_measure(measured: type[Measure] | str, **fields: object) -> None:
    """Check that a measure keeps its contract, as `Measure` and `Subject` say.

    It looks at a small random encoder, with 30 training and 15 test examples of three classes and
    three clients; one of whole runs also at some rounds, and at another run.

    Parameters
    ----------
    measured : type[Measure] | str
        Its class, its registered name, or its dotted path.
    **fields : object
        Fields of its section that shall differ from their defaults.

    Raises
    ------
    AssertionError
        It does not; the message says what, and where it can be seen.
    ValueError
        There is no such measure, a field is wrong, or a library that it needs is not installed.

    Examples
    --------
        from fedssl.testing import check_measure
        check_measure("rankme")
    """
    plugin = find_plugin(MEASURES, measured, fields)
    check_documented(plugin)
    section = cast(MeasureConfig, MEASURES.read(plugin.section))
    where, chosen = f"measure {plugin.name}", cast(type[Measure], plugin.found)
    check_section(section, where)
    whole = not chosen.of_a_round
    subject = _subject(whole)
    before = clone(subject.encoder.state_dict())
    modes = [module.training for module in subject.encoder.modules()]
    result = measure(section, subject)
    _check_found(where, result)
    require_same(before, subject.encoder.state_dict(), f"{where} changes the encoder")
    require(
        modes == [module.training for module in subject.encoder.modules()],
        f"{where} leaves the encoder in another mode: put train() or eval() back",
    )
    # Only now, since libraries may draw when they are imported.
    with nothing_drawn(where):
        again = measure(section, _subject(whole))
    require(
        result.figures == again.figures and _json(result) == _json(again),
        f"{where}: gives other figures of an equal subject: draw from `subject.generator` alone",
    )
    _check_labels(where, chosen, section, whole)
    if chosen.of_a_round:
        validate(
            EvaluationConfig, {"measures": [plugin.section]}, base=Path(), source="check_measure"
        )


def _check_found(where: str, result: MeasureResult) -> None:
    for name, value in result.figures.items():
        require(
            math.isfinite(value),
            f"{where}: its figure {name} is {value}: leave out what there is none of",
        )
    reserved = sorted(result.figures.keys() & OF_A_ROUND)
    require(not reserved, f"{where}: every round has a figure {reserved[:1]}; call it otherwise")
    with _as(f"{where}: its details are no JSON"):
        _json(result)


def _json(result: MeasureResult) -> str:
    return json.dumps(result.details, allow_nan=False)


@contextmanager
def _as(message: str) -> Iterator[None]:
    """Say what an error means for the contract."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"{message}: {type(error).__name__}: {error}") from error


def _check_labels(where: str, chosen: type[Measure], section: MeasureConfig, whole: bool) -> None:
    """Check what becomes of it where nothing is labelled."""
    subject = _subject(whole, labelled=False)
    if not chosen.labels:
        with _as(f"{where}: fails without labels; say `labels = True`"):
            measure(section, subject)
        return
    try:
        measure(section, subject)
    except ValueError as error:
        require(
            "label" in str(error),
            f"{where}: without labels its error does not say so: {error}; begin with "
            "subject.need_labels()",
        )
    except Exception as error:
        raise AssertionError(
            f"{where}: without labels it fails with {type(error).__name__} in place of a "
            "ValueError that says so; begin with subject.need_labels()"
        ) from error
    else:
        raise AssertionError(f"{where}: can be had without labels; say `labels = False`")


def _encoder(seed: int) -> nn.Module:
    with seeded_initialisation(seed):
        return IMAGES.blueprint().build_encoder()


def _dataset(count: int, labelled: bool, seed: int) -> Dataset:
    names = tuple("abc"[:CLASSES]) if labelled else ()
    targets = labels(count) if labelled else torch.full((count,), -1)
    return Dataset(IMAGES.examples(count, seed), targets, names)


def _subject(whole: bool, labelled: bool = True) -> Subject:
    """Return what a measure looks at, the same each time."""
    blueprint = IMAGES.blueprint()
    splits = Splits(_dataset(TRAIN, labelled, 0), _dataset(TEST, labelled, 1))
    config = EvaluationConfig(knn_k=5)
    subject = Subject(
        encoder=_encoder(0),
        examples=gather(splits, config),
        config=config,
        preparation=blueprint.preparation,
        seed=0,
        view=blueprint.views,
        weak_view=blueprint.weak_views,
        train=splits.train,
        owner=np.arange(TRAIN) % CLIENTS,
        after_update=lambda client: _encoder(client + 2),
    )
    if not whole:
        return subject
    rows = [
        {"round": n, "linear_accuracy": 0.3 + 0.1 * n, "rankme": 2.0 + n, "lidar": 3.0 - n}
        for n in range(3)
    ]
    some = splits.train.take(np.arange(TRAIN // 2))
    other = replace(subject, encoder=_encoder(1), train=some, rounds=rows[:2])
    return replace(subject, rounds=rows, others={"another run": other})
