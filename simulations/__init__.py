"""What a person runs: experiments, from a YAML file or a notebook.

>>> from simulations import load_experiment, run
>>> finished = run(load_experiment("configs/quickstart.yaml"), out="runs/first")
>>> finished.metrics[-1]["linear_accuracy"]
"""

from fedssl.config_file import ConfigError
from simulations.experiment import Experiment, load_experiment
from simulations.reporting import report
from simulations.runner import Run, run
from simulations.server import RunError

__all__ = ["ConfigError", "Experiment", "Run", "RunError", "load_experiment", "report", "run"]
