"""A contact sheet: examples and the views that clients would train on."""

from pathlib import Path

import torch

from fedssl.base.config_file import ConfigError
from fedssl.base.seeding import generator
from simulations.reports import plots
from simulations.setup.prepare import Prepared

ROWS = 12
"""The number of examples that are shown."""


def draw(prepared: Prepared, path: Path) -> None:
    """Write a PNG picture of examples and their views.

    Parameters
    ----------
    prepared : Prepared
        Its objective says how many views there are.
    path : Path
        The file, replaced as a whole.

    Raises
    ------
    ConfigError
        The modality has no picture of such examples.
    """
    experiment, blueprint = prepared.experiment, prepared.blueprint
    examples = prepared.splits.train.examples
    draws = generator(experiment.seed, "contact sheet")
    # A batch as large as a client's, since some steps depend on it.
    rows = torch.randperm(examples.shape[0], generator=draws)[: experiment.client.batch_size]
    chosen, recipe = examples[rows], blueprint.views
    views = [recipe(chosen, draws, view)[:ROWS] for view in range(1, blueprint.facts.views + 1)]
    try:
        figure = blueprint.modality.sheet(chosen[:ROWS], views, experiment.data)
    except ValueError as error:
        raise ConfigError(f"--picture {path}: {error}; leave it out") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    plots.save(figure, path)
