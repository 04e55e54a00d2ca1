from fedssl.evaluation import MEASURES
from tests.benchmarks import measuring


def test_measures_of_features_are_timed() -> None:
    figures = measuring.each_measure(120, 8, times=2)
    assert all(figure.value is not None and figure.value >= 0 for figure in figures)
    timed = {figure.name.removeprefix("measure ").split()[0].rstrip(",") for figure in figures}
    assert timed <= MEASURES.keys()
    assert timed > {"linear", "knn", "rankme", "lidar", "harm", "finetune-head"}
