"""Compare strategies: a grid of runs, paired by seed, and what may be said of it.

>>> from simulations.comparing import Request, compare, report, make_plan
>>> plan = make_plan(Request(Path("configs/quickstart.yaml"), "fedavg,ldawa", seeds=3))
>>> compare(plan, Path("runs/first-comparison"))
>>> findings = report(Path("runs/first-comparison"))
"""
