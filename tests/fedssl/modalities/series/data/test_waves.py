"""The built-in waves."""

import numpy as np
import pytest

from fedssl.modalities import load
from fedssl.modalities.series.data.waves import KINDS, SENSORS, Waves


def test_they_are_what_the_docs_say() -> None:
    splits = load(Waves())
    assert splits.train.examples.shape == (4000, 3, 128)
    assert splits.test.examples.shape == (1200, 3, 128)
    for part in (splits.train, splits.test):
        assert part.class_names == KINDS
        assert part.labels.bincount().min() > len(part) / len(KINDS) * 0.8
        assert np.bincount(part.fields["sensor"]).min() > len(part) / SENSORS * 0.8
        assert part.fetch().isfinite().all()
    series = splits.train.fetch()
    assert abs(series.mean() - Waves().mean[0]) < 0.02
    assert abs(series.std() / Waves().std[0] - 1) < 0.02


def test_they_are_always_the_same() -> None:
    some = load(Waves()).train.fetch()[::1000, 0, ::64].flatten().tolist()
    expected = [2.554985, 2.560276, -1.148729, -0.409118, -0.460823, 1.150623, 0.959819, 0.483743]
    # Another machine's sine may differ in the last bit.
    assert some == pytest.approx(expected, abs=1e-5)


def test_sensors_measure_differently() -> None:
    part = load(Waves()).train
    series, sensors = part.fetch(), part.fields["sensor"]
    offsets = np.array([series[sensors == n].mean((0, 2)).numpy() for n in range(SENSORS)])
    apart = np.abs(offsets[:, None] - offsets).max(2)
    assert apart[~np.eye(SENSORS, dtype=bool)].min() > 0.1
