"""The files of a run's folder: how they are written and read."""
