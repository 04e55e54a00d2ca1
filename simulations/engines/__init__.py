"""Engines: where the clients run. Each is a Flower Grid."""
