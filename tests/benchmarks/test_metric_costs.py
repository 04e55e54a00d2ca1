from fedssl.evaluation import MEASURES
from tests.benchmarks import metric_costs


def test_measures_of_features_are_timed() -> None:
    measurements = metric_costs.each_measure(120, 8, times=2)
    assert all(
        measurement.value is not None and measurement.value >= 0 for measurement in measurements
    )
    timed = {
        measurement.name.removeprefix("measure ").split()[0].rstrip(",")
        for measurement in measurements
    }
    assert timed <= MEASURES.keys()
    assert timed > {"linear", "knn", "rankme", "lidar", "harm", "finetune-head"}
