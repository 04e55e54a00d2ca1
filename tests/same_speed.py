"""Is one checkout as fast as another?

    python -m tests.same_speed ../before .                # all, about ten minutes
    python -m tests.same_speed ../before . --only views   # names that begin so

A checkout is a folder with the repository as it is at some commit. Each has a process of its own
that does a short piece of work when it is asked to, a few times, and says the least CPU time that
it took. The two take turns, and so does who is first; the figures are the geometric mean of the
ratio after/before over these pairs, and its 95 % interval (t). Half of the pairs are of another two
processes, since a process can be fast or slow for as long as it lives, by where its memory happens
to lie. What else the machine does makes the interval wide, so leave it alone meanwhile.

Ctrl-C shows what there is until then. It ends with 1 if a piece of work became slower: if its
interval lies above 1.02.
"""

import argparse
import math
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from simulations.comparing.statistics import Estimate, estimate
from tests.tools.checkouts import CheckoutError, Resident

STARTS = 2
"""How many processes each checkout has, one after the other."""
PAIRS = 10
"""How often both do a piece of work in each."""
SLOWER = 1.02
"""What a ratio must be above to be called slower: less is noise on any machine."""


@dataclass(frozen=True)
class Pair:
    """The CPU seconds of a piece of work with both checkouts, one right after the other."""

    before: float
    after: float


def ratio(pairs: Sequence[Pair]) -> Estimate:
    """Return the geometric mean of after/before, and its interval."""
    found = estimate([math.log(pair.after / pair.before) for pair in pairs])
    low, high = (None if v is None else math.exp(v) for v in (found.low, found.high))
    return Estimate(math.exp(found.mean), low, high, found.seeds)


def is_slower(found: Estimate) -> bool:
    """Tell whether a ratio is above what noise gives."""
    return (found.mean if found.low is None else found.low) > SLOWER


def measure(before: Path, after: Path, only: str, found: dict[str, list[Pair]]) -> None:
    """Measure each piece of work whose name begins with ``only``, and put the pairs into ``found``.

    Raises
    ------
    CheckoutError
        A checkout cannot be used, or there is no such work.
    """
    with tempfile.TemporaryDirectory() as logs:
        for start in range(STARTS):
            with ExitStack() as processes:
                old, new = (
                    processes.enter_context(
                        Resident(checkout, "speed.py", Path(logs) / f"{label}.log")
                    )
                    for label, checkout in (("before", before), ("after", after))
                )
                names = [n for n in old.ask({"what": "names"}) if n.startswith(only)]
                if not names:
                    raise CheckoutError(f"--only {only}: no work has a name that begins so")
                told = f"processes {start + 1} of {STARTS}"
                for name in track(names, told, console=Console(stderr=True)):
                    found.setdefault(name, []).extend(_pairs(old, new, name))


def _pairs(old: Resident, new: Resident, name: str) -> Iterator[Pair]:
    question = {"what": "measure", "name": name}
    for turn in range(PAIRS):
        if turn % 2:
            after, before = new.ask(question), old.ask(question)
        else:
            before, after = old.ask(question), new.ask(question)
        yield Pair(before, after)


def show(found: dict[str, list[Pair]], console: Console) -> None:
    """Print a line for each piece of work."""
    table = Table("work", "before, CPU-ms", "after", "after/before", "95 %", "", box=None)
    for name, pairs in found.items():
        times = [statistics.median(getattr(p, k) for p in pairs) for k in ("before", "after")]
        one = ratio(pairs)
        interval = "" if one.low is None else f"{one.low:.3f} to {one.high:.3f}"
        word = "SLOWER" if is_slower(one) else ""
        cells = [*(f"{1000 * t:.1f}" for t in times), f"{one.mean:.3f}", interval, word]
        table.add_row(name, *cells)
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it, and return the exit code."""
    told, _, details = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m tests.same_speed",
        description=told,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("before", type=Path, help="a checkout")
    parser.add_argument("after", type=Path, help="one that must be as fast")
    parser.add_argument("--only", default="", help="how the names of what is measured begin")
    asked = parser.parse_args(arguments)
    found: dict[str, list[Pair]] = {}
    try:
        measure(asked.before, asked.after, asked.only, found)
    except CheckoutError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped: these are the pairs until now", file=sys.stderr)
    show(found, Console())
    return int(any(is_slower(ratio(pairs)) for pairs in found.values()))


if __name__ == "__main__":
    sys.exit(main())
