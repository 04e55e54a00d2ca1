"""Measure fedssl against references on this machine."""
