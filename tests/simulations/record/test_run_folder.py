import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fedssl.partitions import Counts
from simulations import Experiment
from simulations.record.run_folder import RunFolder
from simulations.record.tables import read_partition


def test_the_partition_is_written_as_csv_that_the_report_reads(
    small: Callable[..., Experiment], tmp_path: Path
) -> None:
    names = ["plain", 'a "b", c', "zwölf", "empty"]
    table = Counts((5, 4), np.array([0, 0, 3]), np.array([1, 2, 0]), np.array([7, 1, 1234]))
    folder = RunFolder(tmp_path / "run")
    folder.begin(small(), table, names)
    with folder.partition.open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    assert lines == [
        ["client", "class", "examples"],
        ["0", names[1], "7"],
        ["0", names[2], "1"],
        ["3", names[0], "1234"],
    ]
    read, read_names = read_partition(folder.partition)
    assert read_names == sorted(names[:3])
    assert [(c, read_names[label], n) for c, label, n in read] == [
        (c, names[label], n) for c, label, n in table
    ]
