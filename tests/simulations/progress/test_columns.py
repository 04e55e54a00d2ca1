import io
import re

import pytest
from rich.console import Console
from rich.progress import Progress

from simulations.progress.columns import progress_columns

TEXT = "{task.fields[text]}"


@pytest.mark.parametrize(
    ("before", "after", "time_left", "shown"),
    [
        ("{task.description:<8}", TEXT, True, "rounds   | 3/14 0:00:00 left -:--:-- [b]new"),
        ("{task.description}", "", True, "rounds | 3/14 0:00:00 left -:--:--"),
        ("", "{task.description}", False, "| 3/14 0:00:00 rounds"),
    ],
)
def test_a_bar_has_its_count_and_times_and_the_texts_beside_it(
    before: str, after: str, time_left: bool, shown: str
) -> None:
    file = io.StringIO()
    progress = Progress(
        *progress_columns(before, after, time_left=time_left),
        console=Console(file=file, width=200),
        get_time=lambda: 0.0,
    )
    with progress:
        progress.add_task("rounds", total=14, completed=3, text="[b]new")
    assert re.sub("[━╸╺]+ +", "| ", file.getvalue().strip()) == shown
