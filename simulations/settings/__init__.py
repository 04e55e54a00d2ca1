"""The config of an experiment: its sections, and checks that need no data."""
