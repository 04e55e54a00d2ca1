"""The columns of every progress bar."""

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def progress_columns(
    before: str = "", after: str = "", *, time_left: bool = True
) -> list[ProgressColumn]:
    """Return the columns of a bar with its count and times.

    Parameters
    ----------
    before, after : str
        The text to its left and right, such as ``"{task.description}"``; none where empty.
    time_left : bool (default: True)
        Whether to show the estimated remaining time.
    """
    columns: list[ProgressColumn] = [
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    ]
    if before:
        columns.insert(0, TextColumn(before, markup=False))
    if time_left:
        columns += [TextColumn("left"), TimeRemainingColumn()]
    if after:
        columns.append(TextColumn(after, markup=False))
    return columns
