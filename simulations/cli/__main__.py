"""``python -m simulations.cli``, where the command is not on the path."""

from simulations.cli import app

app()
