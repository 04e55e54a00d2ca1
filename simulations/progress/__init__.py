"""The progress of a run: displays, logs and profiles."""
