import os

import pytest

from simulations.bench.measurement import Target
from simulations.bench.timing import (
    compare,
    cpu_seconds,
    in_fresh_process,
    peak_mb,
    resident_mb,
    spread,
)


def test_both_are_measured_in_turn_and_pair_by_pair() -> None:
    asked = []
    ours, theirs = iter([9.0, 1.0, 2.0, 3.0]), iter([9.0, 2.0, 2.0, 1.0])

    def measure(name: str, values: "object") -> float:
        asked.append(name)
        return next(values)  # type: ignore[call-overload,no-any-return]

    measurement = compare(
        "f",
        "s",
        lambda: measure("ours", ours),
        lambda: measure("theirs", theirs),
        times=3,
        target=Target(1, at_least=True, of_ratio=True),
    )
    assert asked == ["ours", "theirs", "ours", "theirs", "theirs", "ours", "ours", "theirs"]
    assert (measurement.value, measurement.reference, measurement.ratio) == (2, 2, 1)
    assert measurement.spread == pytest.approx((2 - 0.75) / 2)
    assert measurement.met is True


def test_without_a_warm_up_nothing_is_done_unnoted() -> None:
    count = 0

    def measure() -> float:
        nonlocal count
        count += 1
        return 1.0

    measurement = compare("f", "s", measure, measure, times=1, warm=False)
    assert count == 2
    assert measurement.spread is None


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


@pytest.mark.slow
def test_a_fresh_process_returns_what_the_function_does_or_raises() -> None:
    result, process = in_fresh_process(_divide, 6, 2)
    assert result == 3
    assert process != os.getpid()
    with pytest.raises(ZeroDivisionError):
        in_fresh_process(_divide, 1, 0)


def _hold_and_give_back() -> list[float]:
    """Return the memory before, while and after holding 50 MB, and the peak."""
    seen = [resident_mb()]
    block = bytearray(50_000_000)
    block[::4096] = b"x" * len(block[::4096])
    seen.append(resident_mb())
    del block
    return [value or 0.0 for value in [*seen, resident_mb(), peak_mb()]]


@pytest.mark.skipif(peak_mb() is None, reason="only Linux tells how much memory a process holds")
@pytest.mark.slow
def test_memory_that_was_given_back_shows_in_the_peak_only() -> None:
    before, held, after, peak = in_fresh_process(_hold_and_give_back)
    assert held > before + 40
    assert after < held - 40
    # The kernel keeps these counts to about a megabyte.
    assert peak > held - 2
