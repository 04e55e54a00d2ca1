"""Run an experiment from its config to its report."""
