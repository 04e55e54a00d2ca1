"""How the figures of measures are told."""

from simulations.display import describe
from simulations.figures import further, name_of, shown

ROW = {
    "round": 2,
    "cohort": [0, 1],
    "train_loss": 2.5,
    "linear_accuracy": 0.5,
    "rankme": 9.0,
    "lidar": 72.46,
    "worst_class_accuracy": 0.215,
    "class_gap": 0.41,
    "uniformity": -1.2231,
    "bytes_up": 12,
    "seconds": 1.5,
    "train_seconds": 1.25,
}


def test_further_figures_are_those_that_were_asked_for() -> None:
    assert list(further(ROW)) == ["lidar", "worst_class_accuracy", "class_gap", "uniformity"]


def test_shares_are_told_in_per_cent_and_all_else_as_it_is() -> None:
    told = {name_of(key): shown(key, value) for key, value in further(ROW).items()}
    assert told == {
        "lidar": "72.46",
        "worst class accuracy": "21.5 %",
        "class gap": "41.0 %",
        "uniformity": "-1.223",
    }
    line = describe(ROW)
    assert line.startswith("2 clients  loss 2.5000  linear 50.0%  RankMe 9.0  lidar 72.46")
    assert line.endswith("uniformity -1.223")
