"""Compare strategies: a grid of runs, paired by seed, with statistics and a report.

The runs take minutes::

    from pathlib import Path
    from simulations.comparing import Request, compare, make_plan, report

    plan = make_plan(Request(Path("configs/quickstart.yaml"), "fedavg,ldawa", seeds=3))
    compare(plan, Path("runs/first-comparison"), jobs=2)
    page = report(Path("runs/first-comparison"))
"""

from simulations.comparing.grid import Request, make_plan
from simulations.comparing.report import report
from simulations.comparing.run_missing import compare

__all__ = ["Request", "compare", "make_plan", "report"]
