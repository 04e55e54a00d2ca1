import os

import pytest

from simulations.bench.figure import Target
from simulations.bench.timing import compare, cpu_seconds, in_fresh_process, spread


def test_both_are_measured_in_turn_and_pair_by_pair() -> None:
    asked = []
    ours, theirs = iter([9.0, 1.0, 2.0, 3.0]), iter([9.0, 2.0, 2.0, 1.0])

    def measure(name: str, values: "object") -> float:
        asked.append(name)
        return next(values)  # type: ignore[call-overload,no-any-return]

    figure = compare(
        "f",
        "s",
        lambda: measure("ours", ours),
        lambda: measure("theirs", theirs),
        times=3,
        target=Target(1, at_least=True, of_ratio=True),
    )
    assert asked == ["ours", "theirs", "ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert (figure.value, figure.reference, figure.ratio) == (2, 2, 1)
    assert figure.spread == pytest.approx((2 - 0.75) / 2)
    assert figure.met is True


def test_without_a_warm_up_nothing_is_done_unnoted() -> None:
    count = 0

    def measure() -> float:
        nonlocal count
        count += 1
        return 1.0

    figure = compare("f", "s", measure, measure, times=1, warm=False)
    assert count == 2
    assert figure.spread is None


def test_the_spread_is_that_of_the_middle_half() -> None:
    assert spread([1.0]) is None
    assert spread([2.0, 2.0, 2.0]) == 0
    assert spread([1, 2, 3, 4, 100]) == pytest.approx(1 / 3)


def test_cpu_time_counts_work_and_not_waiting() -> None:
    import time

    waiting = cpu_seconds(lambda: time.sleep(0.2))
    working = cpu_seconds(lambda: sum(range(3_000_000)))
    assert waiting < working


def _divide(a: int, b: int) -> tuple[float, int]:
    return a / b, os.getpid()


def test_a_fresh_process_returns_what_the_function_does_or_raises() -> None:
    result, process = in_fresh_process(_divide, 6, 2)
    assert result == 3
    assert process != os.getpid()
    with pytest.raises(ZeroDivisionError):
        in_fresh_process(_divide, 1, 0)
