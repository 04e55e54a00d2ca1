"""Measure a trained encoder once more: ``fedssl probe``."""
