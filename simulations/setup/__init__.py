"""The preparation of a run: load and partition the examples, and check the config."""
